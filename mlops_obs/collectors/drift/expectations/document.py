"""What is agreed about the columns of a table: their types, ranges, names, and how many values may be missing.

    expectations:
      income:  {type: number, missing: 0.02, range: [0, 250000], outside: 0.001, median: [1200, 5400]}
      channel: {type: category, missing: 0, values: [web, branch, app], others: 0.001}

Shares are shares of all rows, from 0 to 1. A key that is left out is not checked. The first version is derived from the reference
(`derive.py`), and is then people's to edit: it is an agreement, and a reference only says how things were.

The trap: `missing: 2` is meant as 2 % and would never fail. Shares above 1 are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

from pydantic import ValidationError, field_validator, model_validator

from mlops_obs.errors import ObsError, SpecError
from mlops_obs.slo.spec_errors import SpecErrors, Strict, meant, mistake

Locate = Callable[[tuple[int | str, ...]], str]
NUMBERS = ("number", "timestamp", "text")
NAMES = ("category", "boolean")
MOST_VALUES = 1_000
_SHARES = ("missing", "invalid", "outside", "others")


class Expectation(Strict):
    """What is expected of one column.

    Args:
        type: what its values are; text is measured by its length, timestamps in Unix seconds.
        missing: share of rows without a value, at most.
        invalid: share of rows with a value of another type, at most.
        range: smallest and largest usual number; `outside` is the share of rows beyond them, at most.
        median: between which numbers the middle value lies.
        values: the names that are known; `others` is the share of rows with another one, at most.
    """

    type: Literal["number", "category", "boolean", "timestamp", "text", "embedding"]
    missing: float | None = None
    invalid: float | None = None
    range: tuple[float, float] | None = None
    outside: float | None = None
    median: tuple[float, float] | None = None
    values: tuple[str, ...] | None = None
    others: float | None = None

    @field_validator(*_SHARES)
    @classmethod
    def _a_share(cls, value: float | None) -> float | None:
        if value is not None and not 0 <= value <= 1:
            raise mistake("OBS-EXP-002", f"{value:g} is no share of the rows", "write 0.02 for 2 %")
        return value

    @field_validator("values", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        # `values: [true, 1]` are names here, whatever YAML makes of them
        return [("true" if one else "false") if isinstance(one, bool) else str(one) for one in value] if isinstance(value, list) else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("range", "median"):
            pair = getattr(self, name)
            if pair is not None and not pair[0] <= pair[1]:
                raise mistake("OBS-EXP-002", f"{name} ends before it begins", "write [smallest, largest]", (name,))
        for name, of, needed in (("range", NUMBERS, "outside"), ("median", NUMBERS, None), ("values", NAMES, "others")):
            if getattr(self, name) is not None and self.type not in of:
                raise mistake("OBS-EXP-002", f"a {self.type} has no {name}", f"leave {name} out", (name,))
            if needed and (getattr(self, name) is None) != (getattr(self, needed) is None):
                raise mistake("OBS-EXP-002", f"{name} and {needed} belong together", f"give both {name} and {needed}, or neither")
        if self.values is not None and len(self.values) > MOST_VALUES:
            raise mistake("OBS-EXP-002", f"more than {MOST_VALUES} values", "leave values out; drift watches such a column", ("values",))
        return self

    def to_json(self) -> dict[str, Any]:
        """Return plain data without what is not checked."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self if value is not None}


class _Document(Strict):
    expectations: dict[str, Expectation]


def parse_expectations(document: object, locate: Locate = lambda _path: "") -> dict[str, Expectation]:
    """Turn a loaded YAML document into expectations by column.

    Raises:
        SpecErrors: OBS-EXP-001 for what is no such document, OBS-EXP-002 for each value that makes no sense; with `file:line`.
    """
    try:
        return _Document.model_validate(document).expectations
    except ValidationError as error:
        raise SpecErrors([_told(one, locate) for one in error.errors()]) from error


def _told(error: Mapping[str, Any], locate: Locate) -> ObsError:
    where = tuple(error["loc"])
    if error["type"] == "OBS":
        (found, *_) = error["ctx"]["found"]
        return SpecError(found.code, f"{'.'.join(map(str, where[1:2]))}: {found.what}", todo=found.todo, where=locate((*where, *found.at)))
    if error["type"] == "extra_forbidden":
        known = list(Expectation.model_fields) if len(where) > 1 else ["expectations"]
        return SpecError("OBS-EXP-001", f"{where[-1]!r} is not known here", todo=meant(str(where[-1]), known), where=locate(where))
    place = ".".join(map(str, where)) or "the document"
    todo = "see `obs drift expectations`, which writes one"
    return SpecError("OBS-EXP-001", f"{place}: {error['msg']}", todo=todo, where=locate(where))


def render_expectations(expectations: Mapping[str, Expectation], heading: str = "") -> str:
    """Write expectations as YAML to edit: a line for each column. The same expectations give the same text."""
    lines = [f"# {one}" for one in heading.splitlines()] + ["expectations:" if expectations else "expectations: {}"]
    for column, expectation in expectations.items():
        parts = ", ".join(f"{name}: {_yaml(value)}" for name, value in expectation.to_json().items())
        lines.append(f"  {_yaml(column)}: {{{parts}}}")
    return "\n".join(lines) + "\n"


def _yaml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, str):
        plain = value.isascii() and value.replace("_", "").isalnum() and value[0].isalpha()
        reserved = value.lower() in {"true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"}
        return value if plain and not reserved else f'"{"".join(map(_escaped, value))}"'
    if isinstance(value, float):
        if value in (float("inf"), float("-inf")):
            return ".inf" if value > 0 else "-.inf"
        text = repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
        return text if "e" not in text or "." in text else text.replace("e", ".0e")
    return str(value)


def _escaped(character: str) -> str:
    """A character inside of double quotes. JSON would write one beyond U+FFFF as two, which YAML reads as two."""
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
