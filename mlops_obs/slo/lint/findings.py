"""Other people's alert rules, read before the night they are needed in: which alerts can never fire, and why.

The published burn-rate tables (14.4, 6, 3, 1) ask for more than every request to fail once an objective is below about 93 %, and
no tool says so: a total outage stays silent. `lint` finds those alerts in Sloth's, Pyrra's, kubernetes-mixin's and hand-written
rules, at most one finding an alert. `advise` finds what makes budgets and alerts wrong in other ways; it concerns taste too, so
it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlops_obs.durations import format_duration
from mlops_obs.slo.lint.ratios import named_share, short, windows
from mlops_obs.slo.lint.recordings import Recording, Recordings
from mlops_obs.slo.lint.values import Reader
from mlops_obs.slo.promql_tree import COMPARISONS, Binary, Call, Expr, NumberLiteral, Subquery, VectorSelector, walk

NEVER, PARTLY, ALWAYS, UNREADABLE = "OBS-LINT-001", "OBS-LINT-002", "OBS-LINT-003", "OBS-LINT-004"
MET, SLOW_TO_END, MEAN_OF_RATIOS, NOT_A_NUMBER = "OBS-LINT-011", "OBS-LINT-012", "OBS-LINT-013", "OBS-LINT-014"
NOT_RECORDED = "OBS-LINT-015"
CODES = {
    NEVER: "the alert can never fire",
    PARTLY: "one of the alert's conditions can never be true, another can",
    ALWAYS: "the alert fires whenever there is data",
    UNREADABLE: "the expression is not PromQL",
    MET: "the alert fires although the objective is met",
    SLOW_TO_END: "the alert has no short window, so it goes on long after the end",
    MEAN_OF_RATIOS: "the budget is a mean of ratios: an idle minute counts as much as a busy one",
    NOT_A_NUMBER: "an idle stretch records 0/0, and one such sample makes every sum over it not a number",
    NOT_RECORDED: "the rule reads a recorded series with labels under which no rule records it",
}
"""Every code, in a clause."""
_SEVERITIES = ("severity", "sloth_severity", "grafana_slo_severity", "priority")
_LONG = 3_600


@dataclass(frozen=True, slots=True)
class LintRule:
    """A rule of any Prometheus rule file.

    Attributes:
        group: the group's name.
        name: the alert's name, or the recorded metric.
        is_alert: whether it is an alert.
        labels: the labels that it adds.
        tree: the expression; None if it could not be read.
        problem: what is wrong with the expression if it could not be read.
        place: `file:line`.
    """

    group: str
    name: str
    is_alert: bool
    labels: Mapping[str, str]
    tree: Expr | None
    problem: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one rule; `severity` is the alert's own label (empty if it has none)."""

    code: str
    group: str
    alert: str
    severity: str
    why: str
    place: str


def lint(rules: Sequence[LintRule]) -> list[Finding]:
    """Return the alerts among `rules` that cannot do their work, in order, one finding an alert at most.

    Args:
        rules: all rules that Prometheus loads together; recordings are followed from one to the other.
    """
    reader = _reader(rules)
    findings = []
    for rule in rules:
        if rule.tree is None:
            findings.append(_finding(UNREADABLE, rule, rule.problem))
        elif rule.is_alert:
            values = reader.values(rule.tree)
            if values.never:
                findings.append(_finding(NEVER, rule, f"needs {values.never}"))
            elif values.partly:
                findings.append(_finding(PARTLY, rule, f"one condition needs {values.partly}; the other can fire"))
            elif values.always and values.is_share:
                findings.append(_finding(ALWAYS, rule, f"{short(rule.tree)} holds for every error ratio"))
    return findings


def advise(rules: Sequence[LintRule]) -> list[Finding]:
    """Return what else makes alerts or budgets wrong in `rules`, in order; a rule may have several findings."""
    reader = _reader(rules)
    poisoned = {rule.name for rule in rules if not rule.is_alert and rule.tree is not None and _divides_by_nothing(rule.tree)}
    recorded = {rule.name for rule in rules if not rule.is_alert}
    findings = []
    for rule in rules:
        if rule.tree is None:
            continue
        found = _of_alert(rule.tree, reader) if rule.is_alert else _of_recording(rule.tree, reader, poisoned)
        findings += [_finding(code, rule, why) for code, why in found]
        findings += [_finding(NOT_RECORDED, rule, f"reads {text}") for text in _unwritten(rule.tree, reader, recorded)]
    return findings


def _reader(rules: Sequence[LintRule]) -> Reader:
    recordings: dict[str, list[Recording]] = {}
    for rule in rules:
        if not rule.is_alert and rule.tree is not None:
            recordings.setdefault(rule.name, []).append(Recording(rule.name, rule.labels, rule.tree))
    return Reader(Recordings(recordings))


def _finding(code: str, rule: LintRule, why: str) -> Finding:
    severity = next((rule.labels[key] for key in _SEVERITIES if key in rule.labels), "")
    return Finding(code, rule.group, rule.name, severity, why, rule.place)


def _of_alert(tree: Expr, reader: Reader) -> Iterator[tuple[str, str]]:
    burning = [one for one in _conditions(tree) if reader.values(one).is_share]
    for one in burning:
        factor = _factor(one.right)
        if factor is not None and factor < 1:
            yield MET, f"{short(one)} asks for {factor:.4g} times the budget's pace; from 1 on the budget ends early"
            break
    looked_at = {window for one in burning for window in _windows(one.left, reader)}
    if looked_at and min(looked_at) > _LONG and min(looked_at) * 6 > max(looked_at):
        yield SLOW_TO_END, f"its shortest window is {format_duration(min(looked_at))}; add a condition over a twelfth of that"


def _of_recording(tree: Expr, reader: Reader, poisoned: set[str]) -> Iterator[tuple[str, str]]:
    for node in walk(tree):
        if not (isinstance(node, Call) and node.function in ("avg_over_time", "sum_over_time") and node.args):
            continue
        summed = node.args[0]
        over = summed.range if isinstance(summed, VectorSelector | Subquery) else None
        inner = summed.expr if isinstance(summed, Subquery) else summed
        if not isinstance(inner, VectorSelector) or over is None or not reader.values(inner).is_share:
            continue
        if over > _LONG:
            yield MEAN_OF_RATIOS, f"{short(node)} adds up ratios; add up bad and all events, and divide once"
        if inner.metric in poisoned:
            yield (
                NOT_A_NUMBER,
                f"{inner.metric} is 0/0 without traffic, and {format_duration(over)} of {short(node)} with it; divide by (total > 0)",
            )


def _unwritten(tree: Expr, reader: Reader, recorded: set[str]) -> list[str]:
    texts = []
    for node in walk(tree):
        if isinstance(node, VectorSelector) and node.metric in recorded and not reader.recordings.rules_of(node):
            texts.append(short(node))
    return texts


def _conditions(tree: Expr) -> list[Binary]:
    return [node for node in walk(tree) if isinstance(node, Binary) and node.op in COMPARISONS and not node.returns_bool]


def _factor(limit: Expr) -> float | None:
    """Return F of a threshold written as `F * budget` or `F * (1 - objective)`; None if it is written otherwise."""
    if isinstance(limit, Binary) and limit.op == "*" and isinstance(limit.left, NumberLiteral):
        budget = limit.right
        if isinstance(budget, NumberLiteral) and 0 < budget.value < 1:
            return limit.left.value
        if isinstance(budget, Binary) and budget.op == "-" and isinstance(budget.right, NumberLiteral):
            return limit.left.value
    return None


def _windows(tree: Expr, reader: Reader) -> set[float]:
    """Return the windows that `tree` looks at, those of the recordings it reads included."""
    found = windows(tree)
    for node in walk(tree):
        if isinstance(node, VectorSelector) and not named_share(node.metric):
            for one in reader.recordings.rules_of(node):
                found |= windows(one.tree)
    return found


def _divides_by_nothing(tree: Expr) -> bool:
    """Say whether a quotient of counts is recorded whose divisor may be zero."""
    if not (isinstance(tree, Binary) and tree.op == "/"):
        return False
    right = tree.right
    if isinstance(right, Binary) and right.op in (">", "!="):
        return False
    return any(isinstance(node, Call) and node.function in ("rate", "increase") for node in walk(right))
