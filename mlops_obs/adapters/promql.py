"""PromQL that a person wrote: parsed before anything is rendered from it, and errors that say where.

Behind it is promql-parser (Rust). Its traps, all kept in here: it gives no position, it ends the whole process on deep
nesting (so depth is bounded first), it panics on huge times (so they are refused first), it accepts `{a="b" or c="d"}`,
which Prometheus refuses, and it calls Prometheus 2's `holt_winters` unknown.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import promql_parser

from mlops_obs.adapters.promql_place import depth, names_huge_time, place
from mlops_obs.errors import SpecError
from mlops_obs.slo.promql_tree import (
    Aggregation,
    Binary,
    Call,
    Expr,
    Matcher,
    Negation,
    NumberLiteral,
    StringLiteral,
    Subquery,
    VectorSelector,
)

WINDOW = re.compile(r"\{\{-?\s*\.[wW]indow\s*-?\}\}")
"""The placeholder that stands for the window in a query: `{{.window}}`."""
MAX_DEPTH = 400  # the parser's stack ends near 1,200 in a thread with 1 MB
MAX_CHARACTERS = 100_000
_TOO_FAR = "a time in it is longer than any history"
_SAYS_NOTHING = "invalid promql query"
_TODO = "write it as in the Prometheus expression browser"


def tree(text: str, where: str = "") -> Expr:
    """Return the tree of a PromQL expression.

    Args:
        text: the expression; no placeholders.
        where: the place that errors name, as `file:line`.

    Raises:
        SpecError: OBS-PQL-001 if it is not PromQL, with line and column inside the expression.
    """
    problem = _too_large(text)
    if problem:
        raise SpecError("OBS-PQL-001", problem, todo="split it into recording rules", where=where)
    parsed, problem = _parse(text)
    if problem:
        line, column, token = place(text, lambda part: _parse(part)[1])
        at = f"line {line}, column {column}" if "\n" in text else f"column {column}"
        if problem == _SAYS_NOTHING:
            problem = f"{token!r} cannot stand here" if token else "the end is missing"
        raise SpecError("OBS-PQL-001", f"is not PromQL at {at}: {problem}", todo=_TODO, where=where)
    found = _convert(parsed)
    if isinstance(found, str):
        raise SpecError("OBS-PQL-001", f"is not PromQL: {found}", todo=_TODO, where=where)
    return found


def check_selector(text: str, where: str = "") -> VectorSelector:
    """Return the instant vector selector that `text` is, as `metric{label="value"}`.

    Raises:
        SpecError: OBS-PQL-001 if it is not PromQL, OBS-PQL-002 if it is more or less than a selector of one metric.
    """
    found = tree(text, where)
    if isinstance(found, VectorSelector) and found.range is None and not found.offset and not found.at and found.metric:
        return found
    raise SpecError(
        "OBS-PQL-002",
        f"{_short(text)} is not a selector of one metric without range, offset and @",
        todo='write for example http_requests_total{job="api", code=~"5.."}',
        where=where,
    )


def check_expression(text: str, where: str = "", *, windowed: bool = False) -> Expr:
    """Return the tree of an expression that a rule can evaluate: one with an instant vector or a number as its result.

    The placeholder {{.window}} may stand where a duration may, and with `windowed` it has to; in the tree it is 5 minutes.

    Raises:
        SpecError: OBS-PQL-001 if it is not PromQL, OBS-PQL-003 if its result is a range vector or a string, OBS-PQL-004 if
            `windowed` and no {{.window}} is in it.
    """
    # As many characters as the placeholder has, so that columns in errors are those of the text.
    found = tree(WINDOW.sub(lambda match: "5m".rjust(len(match[0]), "0"), text), where)
    if isinstance(found, StringLiteral | Subquery) or (isinstance(found, VectorSelector) and found.range is not None):
        raise SpecError(
            "OBS-PQL-003",
            f"{_short(text)} is a range of samples or a text, which no rule can record",
            todo="put a function around it, as in increase(x[{{.window}}])",
            where=where,
        )
    if windowed and not WINDOW.search(text):
        raise SpecError(
            "OBS-PQL-004",
            f"{_short(text)} has no window, so every alert would look at the same stretch of time",
            todo="write {{.window}} where the duration stands: increase(errors_total[{{.window}}])",
            where=where,
        )
    return found


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= 60 else f"{flat[:57]}...")


def _too_large(text: str) -> str:
    if len(text) > MAX_CHARACTERS:
        return f"has more than {MAX_CHARACTERS} characters"
    if depth(text, MAX_DEPTH) > MAX_DEPTH:
        return f"nests or chains more than {MAX_DEPTH} operators and brackets"
    return ""


@cache
def _extra_functions() -> None:
    vector, matrix, scalar = promql_parser.ValueType.Vector, promql_parser.ValueType.Matrix, promql_parser.ValueType.Scalar
    promql_parser.register_extra_functions([promql_parser.Function("holt_winters", [matrix, scalar, scalar], vector)])


def _parse(text: str) -> tuple[Any, str]:
    """Return the parser's tree, or what it says is wrong. Only for text that is not too deep."""
    _extra_functions()
    if names_huge_time(text):
        return None, _TOO_FAR
    try:
        return promql_parser.parse(text), ""
    except UnicodeError:
        return None, "half of a surrogate pair is no character"
    except (ValueError, OverflowError) as error:
        return None, str(error)
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # how Rust's panics arrive: not even an Exception
            raise
        return None, "the parser gave up"


def _convert(node: Any) -> Expr | str:
    """Return our tree of the parser's, or what Prometheus would refuse in it."""
    try:
        return _node(node)
    except _RefusedError as error:
        return str(error)
    except (OverflowError, ValueError):
        return _TOO_FAR


class _RefusedError(Exception):
    """The parser accepts it and Prometheus does not."""


def _node(node: Any) -> Expr:
    match node:
        case promql_parser.ParenExpr():
            return _node(node.expr)
        case promql_parser.NumberLiteral():
            return NumberLiteral(node.val)
        case promql_parser.StringLiteral():
            return StringLiteral(node.val)
        case promql_parser.VectorSelector():
            return _selector(node, None)
        case promql_parser.MatrixSelector():
            return _selector(node.vector_selector, node.range.total_seconds())
        case promql_parser.SubqueryExpr():
            step = node.step.total_seconds() if node.step else None
            return Subquery(_node(node.expr), _seconds(node.range), step, _seconds(node.offset), _at(node.at))
        case promql_parser.Call():
            return Call(node.func.name, tuple(_node(arg) for arg in node.args))
        case promql_parser.AggregateExpr():
            return _aggregation(node)
        case promql_parser.UnaryExpr():
            return Negation(_node(node.expr))
        case promql_parser.BinaryExpr():
            return _binary(node)
    raise _RefusedError(f"{type(node).__name__} is no expression")


def _selector(node: Any, range_seconds: float | None) -> VectorSelector:
    if node.matchers.or_matchers:
        raise _RefusedError("`or` between label matchers is VictoriaMetrics' own; use a regular expression or two selectors")
    metric, matchers = node.name or "", []
    for one in node.matchers.matchers:
        op = _MATCHES[str(one.op).rpartition(".")[2]]
        if one.name == "__name__" and op == "=" and not metric:
            metric = one.value
        else:
            matchers.append(Matcher(one.name, op, one.value))
    return VectorSelector(metric, tuple(matchers), range_seconds, _seconds(node.offset), _at(node.at))


_MATCHES = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}


def _aggregation(node: Any) -> Aggregation:
    by = without = None
    if node.modifier is not None:
        labels = tuple(node.modifier.labels)
        by, without = (labels, None) if str(node.modifier.type).endswith("By") else (None, labels)
    parameter = None if node.param is None else _node(node.param)
    return Aggregation(str(node.op), _node(node.expr), by, without, parameter)


def _binary(node: Any) -> Binary:
    left, right, modifier = _node(node.lhs), _node(node.rhs), node.modifier
    if modifier is None:
        return Binary(str(node.op), left, right)
    on = ignoring = None
    if modifier.matching is not None:
        labels = tuple(modifier.matching.labels)
        on, ignoring = (labels, None) if str(modifier.matching.type).endswith("Include") else (None, labels)
    group = {"ManyToOne": "left", "OneToMany": "right"}.get(str(modifier.card).rpartition(".")[2], "")
    return Binary(str(node.op), left, right, modifier.return_bool, on, ignoring, group, tuple(modifier.group_labels or ()))


def _seconds(offset: Any) -> float:
    return 0.0 if offset is None else float(offset.total_seconds())


def _at(at: Any) -> str:
    if at is None:
        return ""
    kind = str(at.type).rpartition(".")[2]
    return f"{at.at.timestamp():.3f}".rstrip("0").rstrip(".") if kind == "At" else kind.lower()
