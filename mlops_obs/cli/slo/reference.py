"""`obs slo reference`: the reference in `slo/README.md`, made from the compiler and from its own source.

The codes are read out of the source with Python's parser, not from a list: a list is one edit behind at every commit.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from mlops_obs.errors import SpecError

_CODE = re.compile(r"OBS-([A-Z]+)-[0-9]{3}")
# Whose codes a reader of slo/README.md can meet.
FAMILIES = ("BT", "DUR", "EXP", "HIST", "IMP", "LINT", "PAGE", "PQL", "REP", "SLO")


def reference(
    readme: Annotated[Path, typer.Option(help="The file with the markers.")] = Path("slo/README.md"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if the file is not current.")] = False,
) -> None:
    """Write the reference of fields, kinds, series, labels, alerts and error codes between its markers."""
    import yaml

    from mlops_obs.adapters.files import write_atomically
    from mlops_obs.slo.reference import examples, render_reference, with_reference
    from mlops_obs.slo.rules.prometheus_rules import render_rules

    try:
        text = readme.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise SpecError("OBS-REP-007", f"cannot be read: {reason}", where=str(readme), todo="check --readme") from error
    rules = yaml.load(render_rules(examples()), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe loaders
    current = with_reference(text, render_reference(rules, error_codes()))
    if check and current != text:
        raise SpecError(
            "OBS-REP-008", "the reference is not current", where=str(readme), todo="run obs slo reference and commit the result"
        )
    if current != text:
        write_atomically(readme, current)
    typer.echo(f"{readme} {'was written' if current != text else 'is current'}")


def error_codes(families: Sequence[str] = FAMILIES) -> dict[str, list[str]]:
    """Return what each code of `families` says, read from the source of this package; `...` stands for what varies.

    Findings of `obs slo lint` are no errors and stand in a table of their own there.
    """
    from mlops_obs.slo.lint.findings import CODES

    root = Path(__file__).resolve().parents[2]
    found: dict[str, list[str]] = {code: [said] for code, said in CODES.items() if "LINT" in families}
    for path in sorted(root.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for code, said in codes_in(source) if "OBS-" in source else ():
            family = _CODE.fullmatch(code)
            if family and family[1] in families and said not in found.setdefault(code, []):
                found[code].append(said)
    return {
        code: sorted(one for one in said if len(re.findall(r"[a-z]{2,}", one)) > 1) or ["see the message"] for code, said in found.items()
    }


def codes_in(source: str) -> Iterator[tuple[str, str]]:
    """Yield (code, what it says) of each call whose first argument is a code; empty where the text is made elsewhere."""
    tree = ast.parse(source)
    scopes: list[ast.AST] = [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))]
    seen: set[int] = set()
    for scope in reversed(scopes):  # the innermost function first: its names are meant
        texts = {
            target.id: _text(node.value)
            for node in ast.walk(scope)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(scope):
            if not isinstance(node, ast.Call) or id(node) in seen or not node.args:
                continue
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and _CODE.fullmatch(first.value):
                seen.add(id(node))
                what = node.args[1] if len(node.args) > 1 else None
                yield first.value, texts.get(what.id, "") if isinstance(what, ast.Name) else _text(what)


def _text(node: ast.AST | None) -> str:
    """Return a literal text with `...` for what varies."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "..." for part in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return ""
