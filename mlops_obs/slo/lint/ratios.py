"""When one count over another is a share, between 0 and 1: what a burn alert compares with its threshold.

Proven where both count one metric and the numerator only adds label matchers, or counts a histogram's bucket; assumed, and
said so, where only the names speak for it (errors over requests). The trap is the opposite: seconds over requests is an
average and may be 30, so a division is no share unless something says that it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from mlops_obs.slo.promql_tree import (
    COMPARISONS,
    Aggregation,
    Binary,
    Call,
    Expr,
    Matcher,
    NumberLiteral,
    VectorSelector,
    children,
    write,
)

_COUNTING = frozenset({"rate", "increase", "irate", "delta", "sum_over_time", "count_over_time"})
_PART_OF = re.compile(
    r"(^|[_:])(err|error|errors|fail|failed|fails|failure|failures|bad|5xx|exception|exceptions|rejected|timeouts?)([_:]|$)"
)
_GOOD_OF = re.compile(r"(^|[_:])(good|success|successes|successful|succeeded|ok)([_:]|$)")
_ALL_OF = re.compile(r"(^|[_:])(total|all|count|requests?|events?|valid|attempts?)([_:]|$)")
_BAD_MATCHER = re.compile(r"5\.\.|5xx|err|fail|bad", re.IGNORECASE)
# A metric whose name says that its value is an error ratio: the field's own conventions.
_NAMED_SHARE = re.compile(
    r":burnrate[0-9]+[smhdwy]$"  # Pyrra, kubernetes-mixin, slo-libsonnet
    r"|^latencytarget:"  # slo-libsonnet
    r"|(^|[_:])(errors?|err|sli_error|slo_errors?\w*|fail\w*|bad|unavailability|availability|sli|success)[_:](\w*[_:])?(ratio|fraction)"
)
_NO_SHARE = re.compile(r"burn_rate|budget|remaining|left|per_second|percent|pct")
_UNIT_METRICS = frozenset({"up", "probe_success"})


@dataclass(frozen=True, slots=True)
class _Count:
    """A summed count: how, of which series, grouped how."""

    metric: str
    matchers: frozenset[Matcher]
    how: tuple[object, ...]
    grouping: tuple[object, ...]


def named_share(metric: str) -> bool:
    """Say whether the name of `metric` says that it is an error ratio or an availability, between 0 and 1."""
    return bool(_NAMED_SHARE.search(metric)) and not _NO_SHARE.search(metric)


def named_unit(metric: str) -> bool:
    """Say whether `metric` is known to stay between 0 and 1 by what it is, as `up`."""
    return metric in _UNIT_METRICS


def share(numerator: Expr, denominator: Expr, is_unit: Callable[[Expr], bool]) -> str | None:
    """Return None if `numerator` / `denominator` is no share, empty text if it is one for sure, or what was assumed.

    Args:
        numerator: any expression.
        denominator: any expression.
        is_unit: whether the values of an expression are between 0 and 1.
    """
    upper, lower = _bare(numerator), _bare(denominator)
    if _proven(upper, lower, is_unit):
        return ""
    if isinstance(upper, Binary) and upper.op == "-" and upper.left == lower and _proven(_bare(upper.right), lower, is_unit):
        return ""
    bad, every = [_count(term) for term in _terms(upper)], _count(lower)
    if every is None or any(one is None or one.how != every.how for one in bad):
        return None
    if all(one is not None and _names_part(one, every) for one in bad):
        return f"takes {bad[0].metric} for a part of {every.metric}"  # type: ignore[union-attr]
    return None


def windows(tree: Expr) -> set[float]:
    """Return the windows in seconds that `tree` reads, from its ranges and from names such as `x:burnrate1h`."""
    found: set[float] = set()
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        waiting.extend(children(node))
        if isinstance(node, VectorSelector):
            if node.range is not None:
                found.add(node.range)
            elif named := re.search(r"[a-z_]([0-9]+)(m|h|d|w)$", node.metric):
                found.add(float(named[1]) * {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}[named[2]])
    return found


def _bare(node: Expr) -> Expr:
    """Return `node` without filters for zero and without zeros that stand in for what is missing."""
    match node:
        case Binary(op=">" | ">=" | "!=", left=left, right=NumberLiteral(value=0.0), returns_bool=False):
            return _bare(left)
        case Binary(op="or", left=left, right=right) if _is_zero(right):
            return _bare(left)
        case Call(function="clamp_min" | "clamp_max", args=(inner, NumberLiteral())):
            return _bare(inner)
        case Aggregation(expr=Binary(op="or", left=left, right=right)) if _is_zero(right):
            return Aggregation(node.op, left, node.by, node.without, node.parameter)
        case _:
            return node


def _is_zero(node: Expr) -> bool:
    match node:
        case NumberLiteral(value=value):
            return value == 0
        case Call(function="vector", args=(inner,)):
            return _is_zero(inner)
        case Binary(op="*", left=left, right=right):
            return _is_zero(left) or _is_zero(right)
        case Binary(op="or", left=left, right=right):
            return _is_zero(left) and _is_zero(right)
        case _:
            return False


def _terms(node: Expr) -> list[Expr]:
    if isinstance(node, Binary) and node.op == "+":
        return [*_terms(_bare(node.left)), *_terms(_bare(node.right))]
    return [node]


def _count(node: Expr) -> _Count | None:
    """Return `node` as a count of series of one metric; None if it is something else."""
    node, grouping = _bare(node), ()
    if isinstance(node, Aggregation):
        if node.op != "sum":
            return None
        grouping = (node.by, node.without)  # type: ignore[assignment]
        node = _bare(node.expr)
    how: tuple[object, ...] = ()
    if isinstance(node, Call):
        if node.function not in _COUNTING or not node.args:
            return None
        how, node = (node.function,), node.args[0]
    if not isinstance(node, VectorSelector) or not node.metric:
        return None
    if not how and not re.search(r"(_total|_count|_bucket|increase[0-9]*[smhdw]?|count[0-9]*[smhdw]?)$", node.metric):
        return None
    return _Count(node.metric, frozenset(node.matchers), (*how, node.range, node.offset, node.at), grouping)


def _proven(upper: Expr, lower: Expr, is_unit: Callable[[Expr], bool]) -> bool:
    if _counts_filtered(upper, lower):
        return True
    one, every = _count(upper), _count(lower)
    if one is None or every is None or one.grouping != every.grouping:
        return False
    matchers = _without_infinity(every.matchers)
    same = one.metric == every.metric or (
        one.metric.endswith("_bucket") and every.metric in (one.metric, one.metric.removesuffix("_bucket") + "_count")
    )
    if not same or not one.matchers >= matchers:
        return False
    if one.how == every.how:
        return one.matchers != every.matchers or one.metric != every.metric
    sums = ("sum_over_time", *one.how[1:]), ("count_over_time", *one.how[1:])
    return (one.how, every.how) == sums and is_unit(VectorSelector(one.metric, tuple(one.matchers)))


def _counts_filtered(upper: Expr, lower: Expr) -> bool:
    """Say whether it is count(x > limit) over count(x)."""
    if not (isinstance(upper, Aggregation) and isinstance(lower, Aggregation) and upper.op == lower.op == "count"):
        return False
    filtered = upper.expr
    return (
        (upper.by, upper.without) == (lower.by, lower.without)
        and isinstance(filtered, Binary)
        and filtered.op in COMPARISONS
        and not filtered.returns_bool
        and filtered.left == lower.expr
    )


def _without_infinity(matchers: frozenset[Matcher]) -> frozenset[Matcher]:
    return frozenset(one for one in matchers if not (one.label == "le" and one.value in ("+Inf", "")))


def _names_part(one: _Count, every: _Count) -> bool:
    if one == every or not (_ALL_OF.search(every.metric) or one.metric == every.metric):
        return False
    named = _PART_OF.search(one.metric) or _GOOD_OF.search(one.metric)
    return bool(named) or any(_BAD_MATCHER.search(matcher.value) for matcher in one.matchers - every.matchers)


def short(node: Expr, width: int = 70) -> str:
    """Write `node` in at most `width` characters, for a sentence."""
    text = write(node)
    return text if len(text) <= width else f"{text[: width - 3]}..."
