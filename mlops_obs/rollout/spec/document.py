"""Reading a whole rollout document: bare, or wrapped as the Kubernetes resource; and the place and remedy of every mistake.

All mistakes are told at once. The trap is the echo: a misspelt key is a missing key too, and only its own name helps.
A wrapped document that came from `kubectl get -o yaml` has a `status`; it is left alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from mlops_obs.errors import SpecError
from mlops_obs.rollout.spec.fields import as_duration, durations
from mlops_obs.rollout.spec.gates import GATES
from mlops_obs.rollout.spec.rollout import Rollout, shortest_block
from mlops_obs.rollout.spec.target import TARGETS, Target
from mlops_obs.slo.spec_errors import SpecErrors

GROUP, VERSION, KIND = "mlops-obs.dev", "v1alpha1", "Rollout"
API_VERSION = f"{GROUP}/{VERSION}"
Keys = tuple[int | str, ...]
Locate = Callable[[Keys], str]
_HEAD = ("apiVersion", "kind", "metadata", "spec", "status")
_FLAGS = {"canary": " or pass --revision", "package": " or pass --package"}
_RENAMED = {"least_detectable_odds": "least_detectable_ratio"}  # what a document of an older release says
# What pydantic calls a mistake -> what it is, what to write.
_WORDS = {
    "string_type": ("is not text", "write text, in quotes if it looks like a number"),
    "bool_type": ("is neither true nor false", "write true or false"),
    "bool_parsing": ("is neither true nor false", "write true or false"),
    "int_type": ("is not a whole number", "write for example 20"),
    "int_parsing": ("is not a whole number", "write for example 20"),
    "int_from_float": ("is not a whole number", "write for example 20"),
    "float_type": ("is not a number", "write for example 0.05"),
    "float_parsing": ("is not a number", "write for example 0.05"),
    "finite_number": ("is not a finite number", "write for example 0.05"),
    "tuple_type": ("is not a list", "write for example [20, 50, 100]"),
    "dict_type": ("is not a mapping", "write keys and values"),
    "model_type": ("is not a mapping", "write keys and values"),
    "model_attributes_type": ("is not a mapping", "write keys and values"),
    "path_type": ("is not a path", "write a path as text"),
    "literal_error": ("is not known", "write {expected}"),
    "greater_than": ("is too small", "write more than {gt}"),
    "less_than": ("is too large", "write less than {lt}"),
    "greater_than_equal": ("is too small", "write {ge} or more"),
    "less_than_equal": ("is too large", "write {le} or less"),
    "string_too_short": ("is empty", "write its value"),
    "string_too_long": ("is too long", "write at most {max_length} characters"),
    "too_long": ("is too long", "write at most {max_length} of them"),
}


@dataclass(frozen=True, slots=True)
class RolloutDocument:
    """A document that could be read. `name` and `namespace` are empty if it is bare."""

    spec: Rollout
    name: str = ""
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def wrapped(self) -> bool:
        """Whether the document was a Kubernetes resource."""
        return bool(self.name)


def body_of(document: object) -> tuple[Any, Keys]:
    """Return the mapping with the rollout's keys, and the keys that lead to it: `()` or `("spec",)`."""
    if isinstance(document, Mapping) and _is_wrapped(document):
        return document.get("spec"), ("spec",)
    return document, ()


def parse_document(document: object, locate: Locate = lambda _: "") -> RolloutDocument:
    """Check a rollout document; `locate` tells where a path of keys stands, as `file:line` (the empty path: the document).

    Raises:
        SpecErrors: OBS-ROLL-001 not a mapping, OBS-ROLL-002 unknown key, OBS-ROLL-003 a value is wrong or missing;
            all of them, in file order.
    """
    if not isinstance(document, Mapping):
        todo = "start with service:, canary: and package:"
        raise SpecErrors([SpecError("OBS-ROLL-001", "a rollout is a mapping of keys", where=locate(()), todo=todo)])
    found: list[SpecError] = []
    name = namespace = ""
    labels: Mapping[str, str] = {}
    body, base = body_of(document)
    if base:
        name, namespace, labels = _head(document, locate, found)
        if not isinstance(body, Mapping):
            raise SpecErrors(_in_order([*found, SpecError("OBS-ROLL-001", "spec is missing", where=locate(base), todo="write spec:")]))
    try:
        spec = Rollout.model_validate(body)
    except ValidationError as error:
        raise SpecErrors(_in_order([*found, *_translate(error, base, locate)])) from error
    if found:
        raise SpecErrors(_in_order(found))
    return RolloutDocument(spec, name, namespace, labels)


def wrap(spec: Rollout, name: str, namespace: str = "", labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the Kubernetes resource of `spec`, only with what differs from the defaults."""
    metadata: dict[str, Any] = (
        {"name": name} | ({"namespace": namespace} if namespace else {}) | ({"labels": dict(labels)} if labels else {})
    )
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": plain(spec)}


def plain(spec: Rollout) -> dict[str, Any]:
    """Return the document of `spec` as people write it: durations as text, and only what differs from the defaults."""
    out = _as_written(spec)
    if spec.block == shortest_block(spec.slice):
        del out["block"]
    for index, gate in enumerate(spec.gates):
        out["gates"][index] = _as_written(gate)
    return out


def _as_written(model: BaseModel) -> dict[str, Any]:
    times = durations(type(model))
    written = model.model_dump(mode="json", exclude_defaults=True)
    return {key: as_duration(value) if key in times and value is not None else value for key, value in written.items()}


def _is_wrapped(document: Mapping[Any, Any]) -> bool:
    return "apiVersion" in document or "kind" in document or ("spec" in document and "metadata" in document)


def _head(document: Mapping[Any, Any], locate: Locate, found: list[SpecError]) -> tuple[str, str, Mapping[str, str]]:
    """Check what stands around `spec`; return the resource's name, namespace and labels."""
    for key in document:
        if key not in _HEAD:
            where = " (it belongs below spec)" if key in Rollout.model_fields else ""
            found.append(_unknown(str(key), _HEAD, locate((str(key),)), where))
    for key, needed in (("apiVersion", API_VERSION), ("kind", KIND)):
        if document.get(key) != needed:
            found.append(SpecError("OBS-ROLL-003", f"{key} is {document.get(key)!r}", where=locate((key,)), todo=f"write {key}: {needed}"))
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(metadata, Mapping) or not isinstance(name, str) or not name:
        found.append(SpecError("OBS-ROLL-003", "metadata.name is missing", where=locate(("metadata",)), todo="write metadata: {name: ...}"))
        return "", "", {}
    labels = metadata.get("labels")
    return name, str(metadata.get("namespace") or ""), {str(k): str(v) for k, v in labels.items()} if isinstance(labels, Mapping) else {}


def _translate(error: ValidationError, base: Keys, locate: Locate) -> list[SpecError]:
    # A default that depends on a wrong key is no mistake of its own.
    problems = [one for one in error.errors(include_url=False) if one["type"] != "default_factory_not_called"]
    misspelt = {
        (*one["loc"][:-1], *near)
        for one in problems
        if one["type"] == "extra_forbidden" and (near := _near(str(one["loc"][-1]), _known(one["loc"])))
    }
    return [_explain(one, base, locate) for one in problems if not (one["type"] == "missing" and tuple(one["loc"]) in misspelt)]


def _explain(problem: Mapping[str, Any], base: Keys, locate: Locate) -> SpecError:
    keys = _written(problem["loc"])
    kind, leaf = problem["type"], str(keys[-1]) if keys else ""
    context: Mapping[str, Any] = problem.get("ctx", {})
    shown = _path(keys)
    if kind == "extra_forbidden":
        return _unknown(shown, _known(problem["loc"]), locate((*base, *keys)))
    if kind == "missing":
        flag = _FLAGS.get(leaf, "") if len(keys) == 1 else ""
        return SpecError("OBS-ROLL-003", f"{shown} is missing", where=locate((*base, *keys[:-1])), todo=f"add {leaf}: ...{flag}")
    if kind == "OBS":
        at = (*keys, *context["at"])
        plain_words = len(at) == 1 and context["what"].startswith(str(at[0]))  # `steps must rise` needs no `steps:` before it
        what = context["what"] if plain_words else f"{_path(at)}: {context['what']}"
        return SpecError("OBS-ROLL-003", what.removeprefix(": "), where=locate((*base, *at)), todo=context["todo"])
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        given = f"type {context['tag']!r} is not known" if "tag" in context else "type is missing"
        near = _near(str(context.get("tag", "")), tuple(GATES))
        todo = f"did you mean {near[0]}?" if near else f"write type: {', '.join(GATES)}"
        return SpecError("OBS-ROLL-003", f"{shown}: {given}", where=locate((*base, *keys, "type")), todo=todo)
    what, todo = _WORDS.get(kind, (str(problem["msg"]).lower(), "correct the value"))
    return SpecError(
        "OBS-ROLL-003",
        f"{shown}: {_shown(problem['input'])}{what}".removeprefix(": "),
        where=locate((*base, *keys)),
        todo=todo.format(**context),
    )


def _written(loc: Sequence[int | str]) -> Keys:
    """Drop what is not a key of the document: pydantic puts the type of a gate into the path."""
    keys = list(loc)
    if len(keys) > 2 and keys[0] == "gates" and keys[2] in GATES:
        del keys[2]
    return tuple(keys)


def _known(loc: Sequence[int | str]) -> tuple[str, ...]:
    """Return the keys that are known where `loc` ends."""
    model: type[BaseModel] = Rollout
    if len(loc) > 3 and loc[0] == "gates":
        model = GATES[str(loc[2])]
    elif len(loc) == 2 and loc[0] == "target":
        model = Target
    elif len(loc) == 3 and loc[0] == "target":
        model = TARGETS[str(loc[1])]
    return tuple(one.alias or name for name, one in model.model_fields.items())


def _near(key: str, known: Sequence[str]) -> list[str]:
    return [_RENAMED[key]] if key in _RENAMED else difflib.get_close_matches(key, known, n=1)


def _unknown(key: str, known: Sequence[str], where: str, hint: str = "") -> SpecError:
    leaf = key.rpartition(".")[2]
    near = _near(leaf, known)
    todo = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
    return SpecError("OBS-ROLL-002", f"unknown key {key}{hint}", where=where, todo=todo)


def _path(keys: Keys) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def _shown(value: object) -> str:
    """Write a wrong value as a person wrote it, shortened, with a space behind; nothing for what is empty, a list or a mapping."""
    if value is None or isinstance(value, Mapping | list | tuple):
        return ""
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    text = text if len(text) <= 40 else f"{text[:37]}..."
    return f"{text!r} " if isinstance(value, str) else f"{text} "


def _in_order(found: Sequence[SpecError]) -> list[SpecError]:
    def line(error: SpecError) -> int:
        number = error.where.rpartition(":")[2]
        return int(number) if number.isdigit() else 0

    return sorted(found, key=line)
