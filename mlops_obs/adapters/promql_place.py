"""Where in an expression the mistake is: found by asking the parser about parts of it, since it does not say.

Two questions. Can the first tokens still become an expression? The first that cannot be continued is the place of a mistake
in the form (`sum(x) by by`). If the form is right, the mistake is in a type or a name (`rate(x)`), and the place is the
smallest bracketed part that is wrong by itself. Both only in the error path, on text of bounded size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|\#[^\n]*)
  | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
  | (?P<word>[A-Za-z_:][A-Za-z0-9_:]*)
  | (?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)[A-Za-z0-9_.]*)
  | (?P<open>[({\[])
  | (?P<close>[)}\]])
  | (?P<operator>==|!=|>=|<=|=~|!~|[-+*/%^<>=@,:])
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSES = {"(": ")", "{": "}", "[": "]"}
_NESTS = frozenset({"and", "or", "unless", "atan2", "-", "+", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<="})
# What may come next, whatever the state: nothing, an operand, a range, the rest of a matcher, of a clause, of a call.
_CONTINUATIONS = (
    "",
    " x",
    " 1",
    ' "x"',
    '="x"',
    ' x="x"',
    " 5m",
    ":5m",
    " (x)",
    " (x) x",
    "(x) (x)",
    "(x) (x[5m])",
    " x[5m]",
    " end()",
    "()",
)
_FORM = (
    "invalid promql query",
    "unexpected",
    "unclosed",
    "unterminated",
    "unknown escape",
    "no expression",
    "invalid syntax",
    "bad number",
)
_OPERATOR_WORDS = frozenset({"and", "or", "unless", "atan2", "bool", "by", "without", "on", "ignoring", "group_left", "group_right"})
_NESTING_TEXTS = ("(", "[", "{", "+", "-", "*", "/", "%", "^", "=", "<", ">", "and", "or", "unless", "atan2")
_MAY_BE_HUGE = re.compile(r"[0-9]{13}|[0-9][eE]|inf|nan", re.IGNORECASE)
_HUGE_SECONDS = 1e15
_MOST_TOKENS = 400


def depth(text: str, enough: int) -> int:
    """Return an upper bound of how deep the tree of `text` is: its operators, and its deepest brackets; a rough one up to `enough`."""
    most = sum(map(text.count, _NESTING_TEXTS))
    if most <= enough:
        return most
    operators = brackets = deepest = 0
    for kind, token, _, _ in _tokens(text):
        if token in _NESTS:
            operators += 1
        elif kind == "open":
            brackets += 1
            deepest = max(deepest, brackets)
        elif kind == "close":
            brackets -= 1
    return operators + deepest


def names_huge_time(text: str) -> bool:
    """Say whether a range, step, offset or @ in `text` is a plain number that no clock reaches: the parser panics on it."""
    if not _MAY_BE_HUGE.search(text):
        return False
    after_time_sign = False
    for kind, token, _, _ in _tokens(text):
        if after_time_sign and kind in ("number", "word"):
            try:
                if not abs(float(token)) < _HUGE_SECONDS:
                    return True
            except ValueError:
                pass  # a duration with a unit; the parser checks those
        after_time_sign = token in ("[", ":", "@", "offset") or (after_time_sign and token in ("-", "+"))
    return False


def place(text: str, problem_of: Callable[[str], str]) -> tuple[int, int, str]:
    """Return line and column, from 1, of the mistake in `text`, and the token there (empty at the end of `text`).

    Args:
        text: an expression that is wrong.
        problem_of: what is wrong with a piece of text; empty if nothing is.
    """
    tokens = list(_tokens(text))[:_MOST_TOKENS]
    offset = _wrong_form(text, tokens, problem_of) if _is_form(problem_of(text)) else _wrong_part(text, tokens, problem_of)
    before = text[:offset]
    token = next((found for _, found, start, _ in tokens if start == offset), "")
    return before.count("\n") + 1, offset - before.rfind("\n"), token


_Token = tuple[str, str, int, int]


def _tokens(text: str) -> Iterator[_Token]:
    """Yield kind, text, start and end of every token but white space and comments."""
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "space":
            yield match.lastgroup or "", match[0], match.start(), match.end()


def _is_form(problem: str) -> bool:
    return problem.startswith(_FORM)


def _wrong_form(text: str, tokens: list[_Token], problem_of: Callable[[str], str]) -> int:
    """Return where the first token begins with which no expression can go on; the end of `text` if one is merely missing."""
    low, high = 0, len(tokens)  # tokens[:low] can be continued, tokens[:high + 1] may not
    while low < high:
        middle = (low + high) // 2
        if _can_go_on(text[: tokens[middle][3]], tokens[: middle + 1], problem_of):
            low = middle + 1
        else:
            high = middle
    return tokens[low][2] if low < len(tokens) else len(text.rstrip())


def _can_go_on(prefix: str, tokens: list[_Token], problem_of: Callable[[str], str]) -> bool:
    closers: list[str] = []
    for kind, token, _, _ in tokens:
        if kind == "open":
            closers.append(_CLOSES[token])
        elif kind == "close" and (not closers or closers.pop() != token):
            return False
    end = "".join(reversed(closers))
    return any(not _is_form(problem_of(f"{prefix}{more}{end}")) for more in _CONTINUATIONS)


def _wrong_part(text: str, tokens: list[_Token], problem_of: Callable[[str], str]) -> int:
    """Return where the smallest bracketed part begins that is wrong by itself, its function's name included."""
    problem, smallest, opened = problem_of(text), (0, len(text)), []
    for index, (kind, token, _, end) in enumerate(tokens):
        if kind == "open":
            opened.append(index)
        elif kind == "close" and opened:
            first = opened.pop()
            if first and tokens[first - 1][0] == "word" and tokens[first - 1][1] not in _OPERATOR_WORDS:
                first -= 1
            start = tokens[first][2]
            if token != "]" and end - start < smallest[1] - smallest[0] and problem_of(text[start:end]) == problem:  # noqa: S105
                smallest = (start, end)
    return smallest[0] + len(text[smallest[0] :]) - len(text[smallest[0] :].lstrip())
