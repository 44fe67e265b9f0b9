"""PromQL vector selectors as data: which series are meant, without a PromQL library.

Rules need their text, the Python engine must filter series by the same matchers, and both start from here. The traps are
Prometheus' own: a regular expression is anchored on both sides, and a label that is not there equals the empty text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_SPACE = " \t\r\n"  # no other white space is any in PromQL
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_MATCHER = re.compile(
    r"[ \t\r\n]*(?P<label>[a-zA-Z_][a-zA-Z0-9_]*)[ \t\r\n]*(?P<op>=~|!~|!=|=)[ \t\r\n]*"
    r"(?P<value>\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)[ \t\r\n]*"
)
# Words of the language, in any case of letters. Some could be names of metrics as well; nobody should have to know which.
_KEYWORDS = frozenset(
    ["and", "or", "unless", "atan2", "bool", "by", "without", "on", "ignoring", "group_left", "group_right", "offset", "start", "end",
     "inf", "nan", "sum", "avg", "count", "min", "max", "group", "stddev", "stdvar", "topk", "bottomk", "count_values", "quantile",
     "limitk", "limit_ratio"]
)  # fmt: skip
_END = re.compile(r"[ \t\r\n]*\}")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}


@dataclass(frozen=True, slots=True)
class Selector:
    """Series by name and labels: those that must equal, must not equal, must match and must not match (RE2, anchored)."""

    metric: str
    equal: Mapping[str, str] = field(default_factory=dict)
    unequal: Mapping[str, str] = field(default_factory=dict)
    matching: Mapping[str, str] = field(default_factory=dict)
    not_matching: Mapping[str, str] = field(default_factory=dict)

    def accepts(self, labels: Mapping[str, str]) -> bool:
        """Say whether a series of this metric with `labels` is selected. A label that is not there is empty."""
        return (
            all(labels.get(key, "") == value for key, value in self.equal.items())
            and all(labels.get(key, "") != value for key, value in self.unequal.items())
            and all(re.fullmatch(value, labels.get(key, ""), re.DOTALL) is not None for key, value in self.matching.items())
            and all(re.fullmatch(value, labels.get(key, ""), re.DOTALL) is None for key, value in self.not_matching.items())
        )

    def __str__(self) -> str:
        parts = [
            f"{key}{operator}{quoted(value)}"
            for operator, labels in (("=", self.equal), ("!=", self.unequal), ("=~", self.matching), ("!~", self.not_matching))
            for key, value in labels.items()
        ]
        return f"{self.metric}{{{', '.join(parts)}}}" if parts else self.metric


def quoted(text: str) -> str:
    """Write `text` as a PromQL string in double quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def parse_selector(text: str) -> Selector:
    """Read `metric{label="value", ...}`; the metric's name is required.

    Several `!=` or `!~` on one label are merged into one expression.

    Raises:
        ValueError: `text` is no such selector; the message says what was met instead.
    """
    stripped = text.strip(_SPACE)
    name = _METRIC.match(stripped)
    if name is None or name.group().lower() in _KEYWORDS:
        raise ValueError(f"{stripped[:40]!r} does not begin with a metric name")
    rest = stripped[name.end() :].lstrip(_SPACE)
    matchers = _matchers(rest) if rest else []
    equal: dict[str, str] = {}
    matching: dict[str, str] = {}
    refused: dict[str, list[tuple[str, str]]] = {}
    for label, operator, value in matchers:
        if operator in ("=~", "!~"):
            try:
                re.compile(value)
            except (re.error, OverflowError, RecursionError) as error:
                raise ValueError(f"{label}{operator}{value!r} is not a regular expression: {error}") from None
        if operator.startswith("!"):
            refused.setdefault(label, []).append((operator, value))
            continue
        if label in equal or label in matching:
            raise ValueError(f"the label {label} is matched twice")
        (equal if operator == "=" else matching)[label] = value
    unequal = {label: ones[0][1] for label, ones in refused.items() if len(ones) == 1 and ones[0][0] == "!="}
    not_matching = {
        label: ones[0][1] if len(ones) == 1 else "|".join(f"(?:{value if op == '!~' else re.escape(value)})" for op, value in ones)
        for label, ones in refused.items()
        if label not in unequal
    }
    return Selector(name.group(), equal, unequal, matching, not_matching)


def _matchers(rest: str) -> list[tuple[str, str, str]]:
    if not rest.startswith("{"):
        raise ValueError(f"{rest[:40]!r} stands after the metric name; only {{label matchers}} may")
    at = 1
    found: list[tuple[str, str, str]] = []
    while True:
        if (end := _END.match(rest, at)) and end.end() == len(rest):
            return found
        one = _MATCHER.match(rest, at)
        if one is None:
            raise ValueError(f'{rest[at : at + 40]!r} is not label="value" or a closing brace')
        found.append((one["label"], one["op"], _unquoted(one["value"])))
        at = one.end()
        if rest[at : at + 1] == ",":
            at += 1
        elif rest[at : at + 1] != "}":
            raise ValueError(f"a comma or a closing brace is missing at {rest[at : at + 40]!r}")


def _unquoted(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]

    def plain(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] in "xuU":
            return _character(int(code[1:], 16), code)
        if len(code) == 3:
            return _character(int(code, 8), code)
        if code not in _SIMPLE:
            raise ValueError(f"\\{code} is not an escape of PromQL")
        return _SIMPLE[code]

    return _ESCAPE.sub(plain, text[1:-1])


def _character(number: int, code: str) -> str:
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        raise ValueError(f"\\{code} is not a character")
    return chr(number)
