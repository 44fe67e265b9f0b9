"""PromQL as a tree of plain values: what the linter reads and the importers compare, without the parser's own types.

The parser lives in the adapters (a vendor library); everything below works on these nodes. Parentheses are not kept: the
tree is the meaning, so two expressions that differ only in white space, brackets or quotes are equal, and `write` puts back
the brackets that the meaning needs. Durations are seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mlops_obs.durations import format_duration

COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
SET_OPERATORS = frozenset({"and", "or", "unless"})


@dataclass(frozen=True, slots=True)
class Matcher:
    """One label matcher; `op` is `=`, `!=`, `=~` or `!~`."""

    label: str
    op: str
    value: str


@dataclass(frozen=True, slots=True)
class NumberLiteral:
    """A number, a duration used as a number included."""

    value: float


@dataclass(frozen=True, slots=True)
class StringLiteral:
    """A string argument, as in `label_replace`."""

    value: str


@dataclass(frozen=True, slots=True)
class VectorSelector:
    """`metric{matchers}`: an instant vector, or with `range` seconds a range vector (`metric[5m]`).

    `metric` is empty if the name is matched otherwise (`{__name__=~"a|b"}`); a plain `__name__="a"` is the metric.
    `at` is `start`, `end`, a Unix time as text, or empty.
    """

    metric: str
    matchers: tuple[Matcher, ...] = ()
    range: float | None = None
    offset: float = 0
    at: str = ""


@dataclass(frozen=True, slots=True)
class Subquery:
    """`expr[range:step]`; `step` is None for the default one."""

    expr: Expr
    range: float
    step: float | None = None
    offset: float = 0
    at: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A function call."""

    function: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Aggregation:
    """`sum by (labels) (expr)`; `parameter` is topk's and quantile's first argument. Neither by nor without: both None."""

    op: str
    expr: Expr
    by: tuple[str, ...] | None = None
    without: tuple[str, ...] | None = None
    parameter: Expr | None = None


@dataclass(frozen=True, slots=True)
class Negation:
    """Unary minus."""

    expr: Expr


@dataclass(frozen=True, slots=True)
class Binary:
    """`left op right`; `on` and `ignoring` are None where not written; `group` is "", "left" or "right"."""

    op: str
    left: Expr
    right: Expr
    returns_bool: bool = False
    on: tuple[str, ...] | None = None
    ignoring: tuple[str, ...] | None = None
    group: str = ""
    include: tuple[str, ...] = ()


Expr = NumberLiteral | StringLiteral | VectorSelector | Subquery | Call | Aggregation | Negation | Binary


def children(node: Expr) -> tuple[Expr, ...]:
    """Return the sub-expressions of `node`, in the order in which they are written."""
    match node:
        case Binary(left=left, right=right):
            return (left, right)
        case Call(args=args):
            return args
        case Aggregation(expr=expr, parameter=parameter):
            return (expr,) if parameter is None else (parameter, expr)
        case Negation(expr=expr) | Subquery(expr=expr):
            return (expr,)
        case _:
            return ()


def walk(tree: Expr) -> Iterator[Expr]:
    """Yield every node of `tree`, parents before children."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(children(node)))


def selectors(tree: Expr) -> list[VectorSelector]:
    """Return every selector in `tree`, in the order in which they are written."""
    return [node for node in walk(tree) if isinstance(node, VectorSelector)]


def write(tree: Expr) -> str:
    """Write `tree` as PromQL on one line, with the brackets that it needs and no others."""
    match tree:
        case NumberLiteral(value=value):
            return repr(value).removesuffix(".0").replace("inf", "Inf").replace("nan", "NaN")
        case StringLiteral(value=value):
            return _quoted(value)
        case VectorSelector():
            return _selector(tree)
        case Subquery(expr=expr, range=length, step=step):
            inner = write(expr) if isinstance(expr, VectorSelector | Call | Aggregation) else f"({write(expr)})"
            return f"{inner}[{format_duration(length)}:{'' if step is None else format_duration(step)}]{_modifiers(tree)}"
        case Call(function=function, args=args):
            return f"{function}({', '.join(write(arg) for arg in args)})"
        case Aggregation(op=op, expr=expr, by=by, without=without, parameter=parameter):
            clause = f" by ({', '.join(by)}) " if by is not None else f" without ({', '.join(without)}) " if without is not None else ""
            inner = write(expr) if parameter is None else f"{write(parameter)}, {write(expr)}"
            return f"{op}{clause}({inner})"
        case Negation(expr=expr):
            return f"-({write(expr)})" if isinstance(expr, Binary) else f"-{write(expr)}"
        case Binary():
            return _binary(tree)


_BINDS = {"or": 1, "and": 2, "unless": 2} | dict.fromkeys(COMPARISONS, 3) | {"+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "atan2": 5, "^": 6}


def _binary(node: Binary) -> str:
    def side(child: Expr, needs: int) -> str:
        weak = (isinstance(child, Binary) and _BINDS[child.op] < needs) or (isinstance(child, Negation) and node.op == "^")
        return f"({write(child)})" if weak else write(child)

    binds = _BINDS[node.op]
    words = [node.op] + (["bool"] if node.returns_bool else [])
    for word, labels in (("on", node.on), ("ignoring", node.ignoring)):
        if labels is not None:
            words.append(f"{word} ({', '.join(labels)})")
    if node.group:
        words.append(f"group_{node.group}" + (f" ({', '.join(node.include)})" if node.include else ""))
    # Operators of one strength group to the left, powers to the right.
    left, right = (binds + 1, binds) if node.op == "^" else (binds, binds + 1)
    return f"{side(node.left, left)} {' '.join(words)} {side(node.right, right)}"


def _selector(node: VectorSelector) -> str:
    plain = re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", node.metric)
    parts = [f"{one.label}{one.op}{_quoted(one.value)}" for one in node.matchers]
    if node.metric and not plain:
        parts.insert(0, f"__name__={_quoted(node.metric)}")
    text = (node.metric if plain else "") + (f"{{{', '.join(parts)}}}" if parts else "")
    return text + ("" if node.range is None else f"[{format_duration(node.range)}]") + _modifiers(node)


def _modifiers(node: VectorSelector | Subquery) -> str:
    at = f" @ {node.at}()" if node.at in ("start", "end") else f" @ {node.at}" if node.at else ""
    sign = "-" if node.offset < 0 else ""
    return at + (f" offset {sign}{format_duration(abs(node.offset))}" if node.offset else "")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
