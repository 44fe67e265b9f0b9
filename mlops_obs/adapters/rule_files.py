"""Rule files of any origin: Prometheus rule files, PrometheusRule manifests and lists of them, several documents in one file.

What people lint was written by a tool or by hand years ago, so nothing is taken for granted: what is no rule file is one clear
error, an expression that is not PromQL is kept as such, and every rule knows its line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlops_obs.adapters.promql import tree
from mlops_obs.adapters.yaml_documents import Document, parse_documents
from mlops_obs.errors import ObsError, SpecError
from mlops_obs.slo.lint.findings import LintRule
from mlops_obs.slo.spec import SpecErrors

_MAX_BYTES = 50_000_000
_SUFFIXES = ("*.yaml", "*.yml")


def load_rules(paths: Sequence[Path]) -> list[LintRule]:
    """Return the rules in `paths`, in order; a folder stands for its YAML files that hold rules.

    Raises:
        SpecErrors: OBS-LINT-020 for every file that cannot be read or holds no rules, and every rule that is none.
    """
    rules: list[LintRule] = []
    errors: list[ObsError] = []
    for path in paths:
        listed = sorted(one for suffix in _SUFFIXES for one in path.rglob(suffix)) if path.is_dir() else [path]
        found = 0
        for one in listed:
            try:
                mine = _of_file(one)
            except SpecErrors as error:
                errors += error.errors
                continue
            except SpecError as error:
                errors.append(error)
                continue
            if mine is None and not path.is_dir():
                errors.append(_error("holds no rules", "name a file with `groups:`, or a PrometheusRule manifest", str(one)))
            found += len(mine or ())
            rules += mine or ()
        if path.is_dir() and not found and not errors:
            errors.append(_error("holds no rule files", "name a folder with rule files", str(path)))
    if errors:
        raise SpecErrors(errors)
    return rules


def _of_file(path: Path) -> list[LintRule] | None:
    """Return the rules in a file; None if it is YAML of another kind."""
    rules: list[LintRule] = []
    errors: list[SpecError] = []
    holds_rules = False
    for document in parse_documents(_text(path), str(path)):
        for groups, keys in _groups(document.value):
            holds_rules = True
            for number, group in enumerate(groups):
                _read_group(document, (*keys, number), group, rules, errors)
    if errors:
        raise SpecErrors(errors)
    return rules if holds_rules else None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_BYTES + 1)
        if len(raw) > _MAX_BYTES:
            raise _error(f"is larger than {_MAX_BYTES} bytes", "split it", str(path))
        return raw.decode("utf-8")
    except OSError as error:
        raise _error(f"cannot be read: {error.strerror}", "check the path", str(path)) from error
    except UnicodeDecodeError as error:
        raise _error("is not UTF-8 text", "save it as UTF-8", str(path)) from error


def _groups(value: object) -> list[tuple[list[Any], tuple[int | str, ...]]]:
    """Return every list of groups in a document, with its path of keys: at the top, in a `spec`, in the items of a list."""
    if not isinstance(value, dict):
        return []
    if isinstance(value.get("groups"), list):
        return [(value["groups"], ("groups",))]
    spec = value.get("spec")
    if isinstance(spec, dict) and isinstance(spec.get("groups"), list):
        return [(spec["groups"], ("spec", "groups"))]
    items = value.get("items")
    if isinstance(items, list):
        return [(groups, ("items", n, *keys)) for n, item in enumerate(items) for groups, keys in _groups(item)]
    return []


def _read_group(document: Document, keys: tuple[int | str, ...], group: Any, rules: list[LintRule], errors: list[SpecError]) -> None:
    listed = group.get("rules") if isinstance(group, dict) else None
    if not isinstance(listed, list):
        if not (isinstance(group, dict) and "rules" in group and listed is None):  # an empty group is allowed
            errors.append(_error("a group has no list of rules", "write rules: with a list", document.locate(keys)))
        return
    for number, rule in enumerate(listed):
        place = document.locate((*keys, "rules", number))
        is_alert = isinstance(rule, dict) and isinstance(rule.get("alert"), str)
        name = rule.get("alert" if is_alert else "record") if isinstance(rule, dict) else None
        if not isinstance(name, str) or not isinstance(rule, dict) or "expr" not in rule:
            errors.append(_error("a rule has no alert or record, or no expr", "write alert: or record:, and expr:", place))
            continue
        labels = rule.get("labels")
        texts = {str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {}
        rules.append(_rule(str(group.get("name", "")), name, is_alert, texts, str(rule["expr"]), place))


def _rule(group: str, name: str, is_alert: bool, labels: dict[str, str], expr: str, place: str) -> LintRule:
    try:
        return LintRule(group, name, is_alert, labels, tree(expr), "", place)
    except SpecError as error:
        return LintRule(group, name, is_alert, labels, None, error.what, place)


def _error(what: str, todo: str, where: str) -> SpecError:
    return SpecError("OBS-LINT-020", what, todo=todo, where=where)
