"""What values an expression can take, whatever happens: intervals, computed over the tree as Prometheus folds its constants.

A burn alert compares an error ratio with a threshold; a ratio ends at 1, so `> 1.44` is never true. The intervals follow
recorded series to the rule that records them, since there the division is that makes a ratio. They are wide wherever nothing
is known: an alert is called dead only if it is, or if the names of its metrics mean what they mean everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mlops_obs.slo.lint.intervals import Values, divided, power, times, within
from mlops_obs.slo.lint.ratios import named_share, named_unit, share, short
from mlops_obs.slo.lint.recordings import Recording, Recordings
from mlops_obs.slo.promql_tree import (
    COMPARISONS,
    Aggregation,
    Binary,
    Call,
    Expr,
    Negation,
    NumberLiteral,
    Subquery,
    VectorSelector,
    walk,
)

_INF = math.inf


_POSITIVE = frozenset({"rate", "increase", "irate", "count_over_time", "changes", "resets", "histogram_count", "time"})
_KEEPS = frozenset(
    {
        "avg_over_time",
        "min_over_time",
        "max_over_time",
        "last_over_time",
        "label_replace",
        "label_join",
        "sort",
        "sort_desc",
        "scalar",
        "vector",
    }
)
_UNIT_CALLS = frozenset({"histogram_fraction", "absent", "absent_over_time", "present_over_time"})
_KEEPING_AGGREGATIONS = frozenset({"min", "max", "avg", "quantile", "topk", "bottomk"})


@dataclass(slots=True)
class Reader:
    """Reads expressions, following `recordings`."""

    recordings: Recordings
    _memo: dict[int, Values] = field(default_factory=dict)
    _open: set[int] = field(default_factory=set)

    def values(self, node: Expr) -> Values:
        """Return what values `node` can take."""
        match node:
            case NumberLiteral(value=value):
                return Values(value, value, series=1, labels=frozenset())
            case VectorSelector():
                return self._selected(node)
            case Call():
                return self._called(node)
            case Aggregation():
                return self._aggregated(node)
            case Negation(expr=expr):
                inner = self.values(expr)
                return replace(inner, low=-inner.high, high=-inner.low, is_share=False)
            case Subquery(expr=expr):
                return self.values(expr)
            case Binary(op=op) if op in COMPARISONS:
                return self._compared(node)
            case Binary(op="and" | "or" | "unless"):
                return self._combined(node)
            case Binary():
                return self._computed(node)
            case _:
                return Values()

    def is_unit(self, node: Expr) -> bool:
        """Say whether the values of `node` are between 0 and 1."""
        found = self.values(node)
        return found.low >= 0 and found.high <= 1

    def _selected(self, node: VectorSelector) -> Values:
        named = _by_name(node.metric)
        wanted = {one.label: one.value for one in node.matchers if one.op == "="}
        found = self.recordings.rules_of(node)
        if not found:
            return named
        each = [self._recorded(one, wanted) for one in found]
        series = sum(one.series for one in each)
        known = [one.labels for one in each if one.labels is not None]
        labels = frozenset().union(*known) if len(known) == len(each) else None
        copies = sum(one.copies for one in each)
        low, high = min(one.low for one in each), max(one.high for one in each)
        if math.isinf(high) and named.is_share and not any(_in_percent(one.tree) for one in found):
            # The rule does not prove what the name says.
            return replace(named, series=series, copies=copies, labels=labels)
        assumed = tuple(dict.fromkeys(text for one in each for text in one.assumed))
        is_share = named.is_share or any(one.is_share for one in each)
        return Values(low, high, series=series, copies=copies, labels=labels, is_share=is_share, assumed=assumed)

    def _recorded(self, one: Recording, wanted: Mapping[str, str]) -> Values:
        key = id(one)
        if key in self._open:
            return Values()  # a rule that reads itself
        if key not in self._memo:
            self._open.add(key)
            self._memo[key] = self.values(one.tree)
            self._open.discard(key)
        found = self._memo[key]
        if found.labels is not None and found.labels <= wanted.keys() | one.labels.keys():
            return replace(found, series=min(found.series, 1), labels=frozenset())
        return found

    def _called(self, node: Call) -> Values:
        args = [self.values(arg) for arg in node.args]
        first = args[0] if args else Values()
        match node.function:
            case name if name in _UNIT_CALLS:
                return Values(0 if name == "histogram_fraction" else 1, 1)
            case name if name in _KEEPS:
                return replace(first, partly="", always=False)
            case name if name in _POSITIVE:
                return replace(first, low=0, high=_INF, partly="", is_share=False, always=False)
            case "clamp_min" if len(args) > 1:
                return replace(first, low=max(first.low, args[1].low), high=max(first.high, args[1].high))
            case "clamp_max" if len(args) > 1:
                return replace(first, low=min(first.low, args[1].low), high=min(first.high, args[1].high))
            case "clamp" if len(args) > 2:
                return replace(first, low=max(first.low, args[1].low), high=max(min(first.high, args[2].high), args[1].low))
            case "sum_over_time":
                return Values(0 if first.low >= 0 else -_INF, 0 if first.high <= 0 else _INF, never=first.never, labels=first.labels)
            case _:
                return Values(never=first.never)

    def _aggregated(self, node: Aggregation) -> Values:
        inner = self.values(node.expr)
        labels: frozenset[str] | None = frozenset()
        if node.by is not None:
            labels = frozenset(node.by)
        elif node.without is not None:
            labels = None if inner.labels is None else inner.labels - frozenset(node.without)
        series = inner.series if labels is None or labels else 1
        kept = replace(inner, series=min(series, inner.series), copies=1, labels=labels)
        if node.op in _KEEPING_AGGREGATIONS:
            return kept
        if node.op == "sum":
            # Those that fall together: all of them, or where the labels that tell them apart stay, the rules' copies.
            many = inner.copies if inner.labels is not None and labels is not None and inner.labels <= labels else inner.series
            low = inner.low * many if inner.low < 0 else inner.low
            high = inner.high * many if inner.high > 0 else inner.high
            return replace(kept, low=low, high=high, is_share=inner.is_share and many == 1)
        low = 1 if node.op in ("count", "group") else -_INF
        return replace(kept, low=low, high=1 if node.op == "group" else _INF, is_share=False, assumed=())

    def _combined(self, node: Binary) -> Values:
        left, right = self.values(node.left), self.values(node.right)
        assumed = tuple(dict.fromkeys(left.assumed + right.assumed))
        if node.op == "unless":
            return left
        if node.op == "and":
            never, partly = left.never or right.never, left.partly or right.partly
            both = left.is_share or right.is_share
            return replace(left, never=never, partly=partly, is_share=both, always=left.always and right.always, assumed=assumed)
        either = Values(
            min(left.low, right.low),
            max(left.high, right.high),
            series=left.series + right.series,
            is_share=left.is_share or right.is_share,
            always=left.always or right.always,
            assumed=assumed,
            partly=left.partly or right.partly,
        )
        if left.never and right.never:
            return replace(either, never=left.never if left.never == right.never else f"{left.never}; {right.never}", partly="")
        if left.never or right.never:
            alive = right if left.never else left
            return replace(either, low=alive.low, high=alive.high, partly=left.never or right.never)
        return either

    def _compared(self, node: Binary) -> Values:
        found = self._compared_counts(node)
        if found is not None:
            return found
        left, right, op = self.values(node.left), self.values(node.right), node.op
        compared, limit, subject = left, right, node.left
        if isinstance(node.left, NumberLiteral) and not isinstance(node.right, NumberLiteral):
            compared, limit, subject, op = right, left, node.right, _MIRRORED[op]
        return _condition(node, op, compared, limit, subject, left.never or right.never)

    def _compared_counts(self, node: Binary) -> Values | None:
        """Return what `errors > 0.144 * requests` can be: errors / requests > 0.144."""
        if node.op not in (">", ">="):
            return None
        constant, rest = self._product(node.right)
        if rest is None or constant <= 0:
            return None
        assumed = share(node.left, rest, self.is_unit)
        if assumed is None:
            return None
        counted = Values(0, 1, is_share=True, assumed=(assumed,) if assumed else ())
        limit = Values(constant, constant)
        subject = Binary("/", node.left, rest)
        return replace(_condition(node, node.op, counted, limit, subject, ""), low=0, high=_INF)

    def _product(self, node: Expr) -> tuple[float, Expr | None]:
        """Split a product into its constant and the one factor that is none; (0, None) if there are several."""
        found = self.values(node)
        if found.low == found.high:
            return found.low, None
        if isinstance(node, Binary) and node.op in ("*", "/"):
            (left, a), (right, b) = self._product(node.left), self._product(node.right)
            if b is None and a is not None and right:
                return (left * right if node.op == "*" else left / right), a
            if a is None and b is not None and node.op == "*":
                return left * right, b
            return 0.0, None
        return 1.0, node

    def _computed(self, node: Binary) -> Values:
        left, right = self.values(node.left), self.values(node.right)
        never = left.never or right.never
        side = left if node.group == "left" else right if node.group == "right" else None
        series, labels = (side.series, side.labels) if side else _matched(left, right, node)
        assumed = tuple(dict.fromkeys(left.assumed + right.assumed))
        shape = Values(never=never, series=series, labels=labels, assumed=assumed)
        if node.op == "/":
            if (text := self._as_share(node)) is not None:
                return replace(shape, low=0, high=1, is_share=True, assumed=(*assumed, text) if text else assumed)
            factor, counted = _scaled(node.left)  # 100 * errors / requests
            if factor != 1 and (text := share(counted, node.right, self.is_unit)) is not None:
                return replace(shape, low=0, high=factor, is_share=True, assumed=(*assumed, text) if text else assumed)
            return replace(within(shape, divided(left, right)), is_share=left.is_share and right.low == right.high)
        if node.op == "+":
            return within(shape, (left.low + right.low, left.high + right.high))
        if node.op == "-":
            is_share = left.low == left.high == 1 and right.is_share
            return replace(within(shape, (left.low - right.high, left.high - right.low)), is_share=is_share)
        if node.op == "*":
            ends = [times(a, b) for a in (left.low, left.high) for b in (right.low, right.high)]
            constant = left.low == left.high or right.low == right.high
            return replace(shape, low=min(ends), high=max(ends), is_share=constant and (left.is_share or right.is_share))
        if node.op == "^" and left.low == left.high and right.low == right.high:
            return within(shape, power(left.low, right.low))
        return shape

    def _as_share(self, node: Binary) -> str | None:
        match node.left, node.right:
            case Call(function="sum_over_time", args=(summed,)), Call(function="count_over_time", args=(counted,)) if summed == counted:
                return "" if self.is_unit(summed) else None
            case _:
                return share(node.left, node.right, self.is_unit)


_MIRRORED = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "==": "==", "!=": "!="}


def _condition(node: Binary, op: str, compared: Values, limit: Values, subject: Expr, never: str) -> Values:
    """Return what is left of `compared` after the filter `op limit`."""
    low, high, why, always = compared.low, compared.high, "", False
    what = "an error ratio" if compared.is_share and compared.high == 1 else "its value"
    ends = f"{short(subject)} {op} {limit.low:.6g}: {what} is"
    if op in (">", ">="):
        possible = compared.high > limit.low or (op == ">=" and compared.high == limit.low) or limit.low == -_INF
        always = compared.low > limit.high or (op == ">=" and compared.low == limit.high > -_INF)
        why, low = "" if possible else f"{ends} at most {compared.high:.6g}", max(low, limit.low)
    elif op in ("<", "<="):
        possible = compared.low < limit.high or (op == "<=" and compared.low == limit.high) or limit.high == _INF
        always = compared.high < limit.low or (op == "<=" and compared.high == limit.low < _INF)
        ends = f"{short(subject)} {op} {limit.high:.6g}: {what} is"
        why, high = "" if possible else f"{ends} at least {compared.low:.6g}", min(high, limit.high)
    elif op == "==" and (compared.high < limit.low or compared.low > limit.high):
        why = f"{ends} between {compared.low:.6g} and {compared.high:.6g}"
    if node.returns_bool:
        return Values(0, 0 if why else 1, never=never, series=compared.series, labels=compared.labels)
    if why and compared.assumed:
        why += f" (this {' and '.join(compared.assumed)})"
    found = replace(compared, low=low, high=max(low, high), never=never or why, always=always and not compared.never)
    return replace(found, assumed=tuple(dict.fromkeys(compared.assumed + limit.assumed)))


def _scaled(node: Expr) -> tuple[float, Expr]:
    """Split a positive number off a product: (100, errors) of `100 * errors`; 1 where there is none."""
    match node:
        case Binary(op="*", left=NumberLiteral(value=factor), right=rest) | Binary(op="*", left=rest, right=NumberLiteral(value=factor)):
            return (factor, rest) if 0 < factor < _INF else (1.0, node)
        case _:
            return 1.0, node


def _in_percent(tree: Expr) -> bool:
    return any(isinstance(node, NumberLiteral) and node.value == 100 for node in walk(tree))


def _by_name(metric: str) -> Values:
    if named_unit(metric):
        return Values(0, 1)
    if named_share(metric):
        return Values(0, 1, series=1, is_share=True, assumed=(f"takes {metric} for one error ratio, as its name says",))
    if metric.endswith(("_total", "_count", "_bucket")):
        return Values(low=0)
    return Values()


def _matched(left: Values, right: Values, node: Binary) -> tuple[float, frozenset[str] | None]:
    """Return series and labels of a one-to-one match; a number beside a vector leaves the vector's."""
    if isinstance(node.right, NumberLiteral):
        return left.series, left.labels
    if isinstance(node.left, NumberLiteral):
        return right.series, right.labels
    if node.on is not None:
        return min(left.series, right.series), frozenset(node.on)
    known = left.labels if left.labels is not None else right.labels
    return min(left.series, right.series), known
