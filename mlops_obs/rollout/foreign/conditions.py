"""Argo's conditions as bounds: `len(result) == 0 || result[0] >= 0.95` is `min: 0.95`, and says that no data passes.

Conditions there are expressions of a language with functions; what people write is a comparison or two, with guards against
empty answers. Those are read, anything else is refused in words: a condition that is half understood is a gate that passes.

The trap is the guard. `len(result) == 0 ||` makes an outage of Prometheus a success, and `isNaN` makes an idle canary one.
Here no data holds, whatever was written, and the difference is reported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,2})?"
_ONE = r"result(?:\s*\[\s*0\s*\])?"
_VALUE = rf"(?:{_ONE}|(?:asFloat|float)\(\s*{_ONE}\s*\)|default\(\s*{_ONE}\s*,\s*(?P<default>{_NUMBER}|\"[^\"]*\"|'[^']*')\s*\))"
_LEFT = re.compile(rf"{_VALUE}\s*(?P<op><=|>=|==|<|>)\s*(?P<number>{_NUMBER})")
_RIGHT = re.compile(rf"(?P<number>{_NUMBER})\s*(?P<op><=|>=|==|<|>)\s*{_VALUE}")
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "=="}
_NO_DATA = re.compile(rf"len\(\s*result\s*\)\s*==\s*0|result\s*==\s*nil|is(?:NaN|Nil|Inf)\(\s*{_ONE}\s*\)|{_ONE}\s*==\s*nil")
_DATA = re.compile(rf"len\(\s*result\s*\)\s*(?:>\s*0|>=\s*1|!=\s*0)|(?:!|not\s+)\s*is(?:NaN|Nil|Inf)\(\s*{_ONE}\s*\)|{_ONE}\s*!=\s*nil")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The values for which a condition holds: from `low` to `high`, None where there is no bound.

    `open_` says that a bound itself is not among them; `no_data` what the condition says of no answer (None: nothing).
    """

    low: Decimal | None = None
    high: Decimal | None = None
    open_: bool = False
    no_data: bool | None = None


def success_bounds(text: str) -> Bounds | str:
    """Return the good values of a success condition, or why it cannot be carried."""
    either, no_data = _either(text)
    if len(either) != 1:
        return "several values are good for it, and a gate has one range" if either else "it looks at nothing but whether there is data"
    return _all_of(either[0], no_data)


def failure_bounds(text: str) -> Bounds | str:
    """Return the good values by a failure condition: those for which it does not hold; or why it cannot be carried."""
    either, no_data = _either(text)
    low = high = None
    open_ = False
    for part in either:
        bad = _all_of(part, None)
        if isinstance(bad, str):
            return bad
        if (bad.low is None) == (bad.high is None):
            return "a range of values is bad for it, and a gate has one range of good ones"
        # `result > 5` is bad, so 5 is good; `result >= 5` is bad, so 5 is not.
        open_ = open_ or not bad.open_
        low = bad.high if bad.low is None else low
        high = bad.low if bad.high is None else high
        no_data = bad.no_data if no_data is None else no_data
    if low is None and high is None:
        return "it looks at nothing but whether there is data"
    if low is not None and high is not None and low > high:
        return "every value is bad for it"
    return Bounds(low, high, open_, None if no_data is None else not no_data)


def _either(text: str) -> tuple[list[str], bool | None]:
    """Return the alternatives of a condition that look at the value, and True if no data is one of them."""
    parts = [_bare(part) for part in _bare(text).split("||")]
    guards = [part for part in parts if _NO_DATA.fullmatch(part)]
    return [part for part in parts if part not in guards], True if guards else None


def _all_of(text: str, no_data: bool | None) -> Bounds | str:
    """Return the values for which all comparisons of a conjunction hold."""
    low = high = None
    open_ = False
    for part in (_bare(one) for one in text.split("&&")):
        if _DATA.fullmatch(part):
            no_data = False
            continue
        found = _LEFT.fullmatch(part) or _RIGHT.fullmatch(part)
        if found is None:
            return f"`{part[:60]}` is no comparison of the result with a number"
        number, op = Decimal(found["number"]), found["op"] if found.re is _LEFT else _TURNED[found["op"]]
        if found["default"] is not None:
            no_data = _default_is_good(found["default"], op, number)
        open_ = open_ or op in ("<", ">")
        if op in (">", ">=", "=="):
            low = number if low is None else max(low, number)
        if op in ("<", "<=", "=="):
            high = number if high is None else min(high, number)
    if low is None and high is None:
        return "it looks at nothing but whether there is data"
    if low is not None and high is not None and low > high:
        return "no value is good for it"
    return Bounds(low, high, open_, no_data)


def _default_is_good(text: str, op: str, number: Decimal) -> bool:
    """Say whether the value that stands for no data passes the comparison."""
    try:
        value = Decimal(text.strip("\"'"))
    except ArithmeticError:
        return False
    return {"<": value < number, "<=": value <= number, ">": value > number, ">=": value >= number, "==": value == number}[op]


def _bare(text: str) -> str:
    """Drop spaces and the brackets around the whole."""
    text = text.strip()
    while text.startswith("(") and text.endswith(")") and _whole(text):
        text = text[1:-1].strip()
    return text


def _whole(text: str) -> bool:
    """Say whether the first bracket is closed by the last one."""
    depth = 0
    for index, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return index == len(text) - 1
    return False
