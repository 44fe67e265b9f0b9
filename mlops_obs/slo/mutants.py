"""Wrong versions of a rule file, each wrong in one place: what a generated test must notice, or it is no test.

A mutant changes one number, window, label, operator, function or `for`, or leaves out one condition or one rule. Every mutant still
is a valid rule file, so that a test fails because it looked and not because Prometheus refused to load it. Which of them the tests
notice is measured by `make mutation`; those that mean the same as the original are told apart in `equivalent_mutants.py`.

The trap is to mutate text: `> 0.144` inside an annotation is prose. Only expressions, labels and `for`s are touched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from mlops_obs.durations import format_duration, parse_duration
from mlops_obs.slo.yaml_text import literal, quoted

_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*")
      | (?P<range>\[[^\]]*\])
      | (?P<duration>\b\d+(?:ms|[smhdwy])(?:\d+(?:ms|[smhdwy]))*\b)
      | (?P<number>(?<![\w:.])\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w:.]))
      | (?P<name>[A-Za-z_:][\w:]*)
      | (?P<operator>=~|!~|>=|<=|==|!=|[-+*/%^<>=(){},@])
      | (?P<space>\s+)""",
    re.VERBOSE,
)
_OPERATORS = {
    ">": (">=", "<"),
    ">=": (">", "<"),
    "<": ("<=", ">"),
    "<=": ("<", ">"),
    "==": ("!=",),
    "!=": ("==",),
    "+": ("-",),
    "-": ("+",),
    "*": ("/",),
    "/": ("*",),
}
_WORDS = {
    "and": ("or", "unless"),
    "or": ("and", "unless"),
    "unless": ("and",),
    "sum": ("max",),
    "max": ("sum",),
    "min": ("max",),
    "increase": ("rate", "delta"),
    "rate": ("increase",),
    "sum_over_time": ("max_over_time", "avg_over_time"),
    "count_over_time": ("sum_over_time",),
    "last_over_time": ("min_over_time",),
    "max_over_time": ("min_over_time",),
    "clamp_min": ("clamp_max",),
    "clamp_max": ("clamp_min",),
    "sqrt": ("abs",),
}
_GROUPING = ("by", "without", "on", "ignoring", "group_left", "group_right")
_WINDOW_NAME = re.compile(r"^(?P<stem>\w+:\w+:[a-z_]*?)(?P<window>\d+(?:ms|[smhdw]))$")
_MATCH = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One wrong rule file: characters `start` to `end` of the original are `replacement` in it.

    `group`, `slo` and `rule` say where (`rule` is the record's name, or the alert's with its tier), `kind` what was changed: number,
    window, matcher, grouping, operator, function, condition, label, for or rule. `before` and `after` are the changed words.
    """

    group: str
    slo: str
    rule: str
    kind: str
    before: str
    after: str
    expr: str
    """The rule's expression as it was."""
    start: int
    end: int
    replacement: str
    span: tuple[int, int]
    """Where the whole rule stands, from its first line to the end of its last."""

    def beside(self, text: str, number: int) -> str:
        """Return the wrong rule alone, named `mutant:<number>`, to be evaluated beside the right one."""
        rule = text[self.span[0] : self.start] + self.replacement + text[self.end : self.span[1]]
        first, rest = rule.split("\n", 1)
        return f'{first.partition(": ")[0]}: "mutant:{number}"\n{rest}'

    def apply(self, text: str) -> str:
        """Return the wrong rule file."""
        return text[: self.start] + self.replacement + text[self.end :]

    @property
    def where(self) -> str:
        """Say in one line what was changed."""
        return f"{self.group} / {self.rule}: {self.kind} `{self.before}` -> `{self.after}`"


@dataclass(slots=True)
class _Rule:
    """Where the parts of one rule stand in the text, as (start, end) offsets."""

    group: str
    kind: str
    name: str
    span: tuple[int, int]
    expr: str = ""
    expr_span: tuple[int, int] = (0, 0)
    hold: str = ""
    hold_span: tuple[int, int] = (0, 0)
    labels: tuple[tuple[str, str, int, int], ...] = ()

    @property
    def title(self) -> str:
        return f"{self.name} {self.label('tier')}".strip()

    @property
    def slo(self) -> str:
        return self.label("slo") or self.label("sloth_slo")

    def mutant(self, kind: str, before: str, after: str, span: tuple[int, int], replacement: str) -> Mutant:
        return Mutant(self.group, self.slo, self.title, kind, before, after, self.expr, *span, replacement, self.span)

    def label(self, name: str) -> str:
        return next((value for key, value, _, _ in self.labels if key == name), "")


def mutants(text: str) -> list[Mutant]:
    """Return every mutant of `text`, a rule file written by `yaml_text.rule_file`, in the order of the file."""
    rules = _rules(text)
    stems: dict[str, list[str]] = {}
    for rule in rules:
        found = _WINDOW_NAME.match(rule.name)
        if found and rule.name not in stems.setdefault(found["stem"], []):
            stems[found["stem"]].append(rule.name)
    out: list[Mutant] = []
    for rule in rules:
        out += _of_expression(rule, stems)
        out += _of_for(rule)
        out += _of_labels(rule)
        out.append(rule.mutant("rule", rule.name, "", rule.span, ""))
    return out


def without_annotations(text: str) -> str:
    """Return the rule file without the text of its alerts, which is most of the work of an evaluation and no part of a condition."""
    return re.sub(r"^        annotations:\n(?:          .*\n)*", "", text, flags=re.MULTILINE)


def _rules(text: str) -> list[_Rule]:
    """Find the rules by the fixed layout of our emitter."""
    rules: list[_Rule] = []
    group, section, offset = "", "", 0
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        end = offset + len(line)
        body = line.strip()
        if line.startswith("  - name: "):
            group, section = json.loads(body[len("- name: ") :]), ""
        elif line.startswith(("      - record: ", "      - alert: ")):
            kind, _, name = body[2:].partition(": ")
            rules.append(_Rule(group, kind, json.loads(name), (offset, end)))
            section = ""
        elif rules and line.startswith("        "):
            rule = rules[-1]
            rule.span = (rule.span[0], end)
            if line[8] != " ":
                section = body.partition(":")[0]
                if section == "expr":
                    _read_expr(rule, lines, number, offset)
                elif section == "for":
                    rule.hold, rule.hold_span = body[len("for: ") :], (offset, end)
            elif section == "labels":
                key, _, value = body.partition(": ")
                rule.labels = (*rule.labels, (key, json.loads(value), offset, end))
        offset = end
    return rules


def _read_expr(rule: _Rule, lines: list[str], number: int, offset: int) -> None:
    line = lines[number]
    start = offset + len("        expr: ")
    if not line.rstrip().endswith("|-"):
        rule.expr, rule.expr_span = json.loads(line[len("        expr: ") :]), (start, offset + len(line) - 1)
        return
    block = []
    for follower in lines[number + 1 :]:
        if not follower.startswith(" " * 10):
            break
        block.append(follower)
    end = offset + len(line) + sum(map(len, block)) - 1
    rule.expr, rule.expr_span = "".join(one[10:] for one in block).rstrip("\n"), (start, end)


def _of_expression(rule: _Rule, stems: dict[str, list[str]]) -> Iterator[Mutant]:
    seen = {rule.expr}
    for kind, start, end, after in _edits(rule.expr, stems):
        changed = rule.expr[:start] + after + rule.expr[end:]
        if changed in seen:
            continue
        seen.add(changed)
        before = " ".join(rule.expr[start:end].split())
        text = literal(changed, 10) if "\n" in changed else quoted(changed)
        yield rule.mutant(kind, before, " ".join(after.split()), rule.expr_span, text)


def _edits(expr: str, stems: dict[str, list[str]]) -> Iterator[tuple[str, int, int, str]]:
    """Yield (kind, start, end, replacement) for every place of `expr` that can be wrong."""
    tokens = [
        (match.lastgroup or "", match[0], match.start(), match.end()) for match in _TOKEN.finditer(expr) if match.lastgroup != "space"
    ]
    inside = False
    for index, (kind, word, start, end) in enumerate(tokens):
        before = tokens[index - 1] if index else ("", "", 0, 0)
        if word == "{":
            inside = True
            yield from _matchers(tokens, index)
        elif word == "}":
            inside = False
        elif inside:
            continue
        elif kind == "number":
            yield from (("number", start, end, number) for number in _numbers(word))
        elif kind == "range":
            yield from (("window", start, end, window) for window in _ranges(word))
        elif kind == "duration":
            yield from (("window", start, end, window) for window in _durations(word))
        elif kind == "operator" and word in _OPERATORS and before[0] and before[1] not in ("(", ",", *_OPERATORS):
            yield from (("operator", start, end, other) for other in _OPERATORS[word])
        elif kind == "name":
            if word in _GROUPING:
                yield from _grouping(tokens, index)
            elif word in _WORDS:
                yield from (("function" if word not in ("and", "or", "unless") else "operator", start, end, o) for o in _WORDS[word])
            elif word == "bool":
                if _of_a_vector(tokens, index - 1):
                    yield ("operator", start, end, "")
            else:
                yield from (("window", start, end, name) for name in _neighbours(word, stems))
                if "events_bad" in word or "events_total" in word:
                    swapped = word.replace("events_bad", "\0").replace("events_total", "events_bad").replace("\0", "events_total")
                    yield ("metric", start, end, swapped)
    yield from _conditions(expr, tokens)


def _of_a_vector(tokens: list[tuple[str, str, int, int]], index: int) -> bool:
    """Say whether the comparison at `index` has a function of a vector on its left: of two scalars it must say `bool`."""
    at = index - 1
    while at > 1 and tokens[at][0] == "number":  # `year(x) % 4 == bool 0`
        at -= 2
    depth = 0
    while at > 0:
        depth += (tokens[at][1] == ")") - (tokens[at][1] == "(")
        if depth == 0:
            break
        at -= 1
    return tokens[at][1] == "(" and at > 0 and tokens[at - 1][0] == "name" and tokens[at - 1][1] not in ("time", "scalar", *_WORDS)


def _numbers(word: str) -> list[str]:
    value = Decimal(word)
    if value == value.to_integral_value() and value < 100:
        return [f"{value + 1:f}"] + ([f"{value - 1:f}"] if value > 0 else [])
    return [f"{(value * factor).normalize():f}" for factor in (Decimal("1.1"), Decimal("0.9"))]


def _ranges(word: str) -> list[str]:
    window, colon, step = word[1:-1].partition(":")
    out = [f"[{one}{colon}{step}]" for one in _durations(window)]
    return out + ([f"[{window}:{one}]" for one in _durations(step)[:1]] if step else [])


def _durations(word: str) -> list[str]:
    """Return twice and half the duration; whole seconds, as short ones would be no window."""
    seconds = int(parse_duration(word))
    return [format_duration(seconds * 2), *([format_duration(seconds // 2)] if seconds >= 120 else [])]


def _neighbours(word: str, stems: dict[str, list[str]]) -> list[str]:
    """Return the same recorded count of the next shorter and the next longer window."""
    found = _WINDOW_NAME.match(word)
    family = stems.get(found["stem"], []) if found else []
    if word not in family:
        return []
    at = family.index(word)
    return [family[other] for other in (at - 1, at + 1) if 0 <= other < len(family)]


def _matchers(tokens: list[tuple[str, str, int, int]], index: int) -> Iterator[tuple[str, int, int, str]]:
    at = index + 1
    while at + 2 < len(tokens) and tokens[at][1] != "}":
        (_, _, start, _), (_, operator, op_start, op_end), (_, value, value_start, end) = tokens[at : at + 3]
        yield ("matcher", op_start, op_end, _MATCH[operator])
        yield ("matcher", value_start, end, value[:-1] + 'x"')
        comma = tokens[at + 3][1] == ","
        if comma:
            yield ("matcher", start, tokens[at + 4][2], "")
        elif tokens[at - 1][1] == ",":
            yield ("matcher", tokens[at - 1][2], end, "")
        at += 4 if comma else 3


def _grouping(tokens: list[tuple[str, str, int, int]], index: int) -> Iterator[tuple[str, int, int, str]]:
    """Leave one label out of `by (a, b)`, or the whole clause where that is still PromQL."""
    if index + 1 >= len(tokens) or tokens[index + 1][1] != "(":
        return
    close = next(at for at in range(index, len(tokens)) if tokens[at][1] == ")")
    names = [tokens[at] for at in range(index + 2, close) if tokens[at][0] == "name"]
    if tokens[index][1] in ("by", "without", "on", "ignoring"):
        joined = close + 1 < len(tokens) and tokens[close + 1][1] in ("group_left", "group_right")
        if not joined:
            yield ("grouping", tokens[index][2], tokens[close][3], "")
    for name in names if len(names) > 1 else []:
        others = ", ".join(other[1] for other in names if other is not name)
        yield ("grouping", tokens[index + 1][2], tokens[close][3], f"({others})")


def _conditions(expr: str, tokens: list[tuple[str, str, int, int]]) -> Iterator[tuple[str, int, int, str]]:
    """Leave out one operand of the outermost `and`, `or` and `unless`."""
    depth, cuts = 0, []
    for kind, word, start, _ in tokens:
        depth += (word in "({" and kind == "operator") - (word in ")}" and kind == "operator")
        if depth == 0 and word in ("and", "or", "unless") and kind == "name":
            cuts.append(start)
    for at, cut in enumerate(cuts):
        yield ("condition", cut, cuts[at + 1] if at + 1 < len(cuts) else len(expr), "")


def _of_for(rule: _Rule) -> Iterator[Mutant]:
    if rule.kind != "alert":
        return
    if rule.hold:
        for other in [*_durations(rule.hold), ""]:
            yield rule.mutant("for", rule.hold, other or "0s", rule.hold_span, f"        for: {other}\n" if other else "")
        return
    at = rule.expr_span[1] + 1
    yield rule.mutant("for", "0s", "5m", (at, at), "        for: 5m\n")


def _of_labels(rule: _Rule) -> Iterator[Mutant]:
    for key, value, start, end in rule.labels:
        line = f"          {key}: {quoted(value + 'x')}\n"
        yield rule.mutant("label", f"{key}={value}", f"{key}={value}x", (start, end), line)
        if len(rule.labels) > 1:
            yield rule.mutant("label", f"{key}={value}", "", (start, end), "")
