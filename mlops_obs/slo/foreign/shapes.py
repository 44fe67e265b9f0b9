"""Recognising counters in other people's PromQL, so that an import gains exact counts instead of opaque expressions.

`sum(rate(x[{{.window}}]))` over the window is the number of events that `x` counted; as a selector it also gives grouping, the
alert on absent telemetry and the embedded engine. Only shapes that mean exactly the same are taken; the rest stays an expression.
"""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal, InvalidOperation

from mlops_obs.durations import format_duration
from mlops_obs.slo.selectors import Selector, parse_selector

_WINDOW = r"\{\{ *\.window *\}\}"
_COUNTER = re.compile(rf"sum\s*\(\s*(?:rate|increase)\s*\((?P<selector>.*?)\[\s*{_WINDOW}\s*\]\s*\)\s*\)", re.DOTALL)
_RANGE = re.compile(r"\[\s*((?:[0-9]+(?:ms|[smhdwy]))+)\s*\]")
_FUNCTION = re.compile(r"\b(i?rate|increase)\s*\(")
_MOST = 20_000  # characters of an expression that is looked into


def counted(expression: str) -> Selector | None:
    """Return the counter whose events `expression` counts over its window, None if it is not that simple."""
    text = _bare(expression)
    found = _COUNTER.fullmatch(text) if len(text) < _MOST else None
    return selector_or_none(found["selector"]) if found else None


def selector_or_none(text: str) -> Selector | None:
    """Return `text` as a selector, None if it is anything else."""
    try:
        return parse_selector(text)
    except (ValueError, RecursionError):
        return None


def difference(expression: str) -> tuple[Selector, Selector] | None:
    """Return (all, good) of `sum(rate(all)) - sum(rate(good))`, None if it is not that."""
    text = _bare(expression)
    if len(text) >= _MOST:
        return None
    for minus in list(re.finditer("-", text))[:50]:
        left, right = counted(text[: minus.start()]), counted(text[minus.end() :])
        if left is not None and right is not None:
            return left, right
    return None


def histogram(total: Selector, good: Selector) -> dict[str, object] | None:
    """Return a latency indicator if `good` is a bucket of the histogram that `total` counts, else None."""
    base = total.metric.removesuffix("_count")
    le = good.equal.get("le")
    if le is None and len(alternatives := _le_numbers(good.matching.get("le", ""))) == 1:
        le = alternatives[0]
    if total.metric == base or good.metric != f"{base}_bucket" or le is None:
        return None
    try:
        bound = Decimal(le).normalize()
    except InvalidOperation:
        return None
    stripped = replace(
        good,
        metric=total.metric,
        equal={key: value for key, value in good.equal.items() if key != "le"},
        matching={key: value for key, value in good.matching.items() if key != "le"},
    )
    # Pyrra asks native and classic histograms apart by le="" on the total; no series of `_count` has the label otherwise.
    whole = replace(total, equal={key: value for key, value in total.equal.items() if (key, value) != ("le", "")})
    seconds = bound / 1000 if re.search(r"_(milliseconds|ms)$", base) else bound
    if stripped != whole or not bound.is_finite() or bound <= 0 or bound != round(bound, 6) or seconds * 1000 % 1:
        return None
    return {
        "type": "latency",
        "histogram": str(replace(whole, metric=base)),
        "threshold": format_duration(seconds),
        "buckets": [Decimal(format(bound, "f"))],
    }


def expression_unit(*expressions: str) -> str:
    """Return `events`, `rate`, or an empty text if the functions in `expressions` do not say."""
    found = {"rate" if name.endswith("rate") else "events" for text in expressions for name in _FUNCTION.findall(text)}
    return found.pop() if len(found) == 1 else ""


def with_window(expression: str) -> str | None:
    """Return `expression` with its one fixed range as `{{.window}}`; None if it has none or several lengths."""
    lengths = set(_RANGE.findall(expression))
    return _RANGE.sub("[{{.window}}]", expression) if len(lengths) == 1 else None


def _le_numbers(pattern: str) -> list[str]:
    """Return the numbers that `1|1.0` or `1([.]0)?` stands for, without repetition of one value."""
    plain = re.sub(r"\(\[?\\?\.\]?0\)\?$", "", pattern)
    parts = plain.split("|")
    try:
        return [str(value) for value in dict.fromkeys(Decimal(part).normalize() for part in parts)]
    except InvalidOperation:
        return []


def _bare(text: str) -> str:
    """Strip white space and brackets that go around the whole of `text`."""
    text = text.strip()
    while text.startswith("(") and text.endswith(")") and _closes_at(text) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def _closes_at(text: str) -> int:
    depth, quote, at = 0, "", 0
    while at < len(text):
        char = text[at]
        if quote:
            if char == "\\" and quote != "`":
                at += 1
            elif char == quote:
                quote = ""
        elif char in "\"'`":
            quote = char
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    return -1
