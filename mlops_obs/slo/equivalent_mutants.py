"""Mutants that mean the same as the original, each with the reason: no test can tell them apart, so none is asked to.

The trap is to be generous: what merely is hard to test is no equivalent and stays in the score.
"""

from __future__ import annotations

import re

from mlops_obs.slo.mutants import Mutant

JOINED = (
    "the other side of the operation selects the service and the SLO too, and one-to-one matching drops every series that only one side has"
)
INHERITED = "the recorded series that the rule reads carry the label already, and the rule keeps it"
COUNTED = "a window with the bad events that the condition below it demands has more than one event"
ALONE = "it adds up one series, the service as a whole"
ON_THE_HOUR = "the count on the full hour is recorded either way, and only that one is read"
SINCE_THE_HOUR = "a condition on the start of the hour drops every earlier point"
PRESENT = "only its presence is asked for, and the counts of all windows are there together"
_IDS = re.compile(r'^,? ?(service|slo)="[^"]*",?$')
_ALERT_JOIN = re.compile(r"^slo:events_bad:\S+\{[^}]*\} / \(")
_RATIO = re.compile(r"^slo:events_bad:\S+\{[^}]*\} / \(slo:events_total:\S+\{[^}]*\} > 0\)$")
_ONE_SERIES = re.compile(r"^sum \(slo:[^\s(){}]+\{[^}]*\}\)(?: / [\d.]+)?$")
_NEW_LABELS = re.compile(r"^vector\(|\b(?:sum|count|avg|max|min)(?: by \([^)]*\))? \(|\bincrease\(|_over_time\([a-z]+_")


def equivalent(mutant: Mutant) -> str:
    """Return why `mutant` means the same as the original; empty if it does not."""
    dropped, expr, change = not mutant.after, mutant.expr, (mutant.before, mutant.after)
    one_to_one = bool(_ALERT_JOIN.match(expr) or _RATIO.match(expr))
    if mutant.kind == "matcher" and dropped and _IDS.match(mutant.before) and one_to_one:
        return JOINED
    if mutant.kind == "label" and dropped and mutant.before.partition("=")[0] in ("service", "slo", "team") and _derived(mutant):
        return INHERITED
    if mutant.kind == "function" and change == ("sum", "max") and _ONE_SERIES.match(expr):
        return ALONE
    if _ALERT_JOIN.match(expr) and "\nand " in expr and change in ((">", ">="), ("0", "1")) and _guards_total(mutant):
        return COUNTED
    if mutant.rule.endswith("1h_hourly") and change == ("300", "270") and "+ 270)" in mutant.replacement:
        return ON_THE_HOUR
    if mutant.rule.endswith("1h_hourly") and mutant.kind == "condition":
        return ON_THE_HOUR
    if mutant.rule.endswith("_running_hour") and change in (("[59m59s999ms:5m]", "[7198s:5m]"), ("[59m59s999ms:5m]", "[7199998ms:5m]")):
        return SINCE_THE_HOUR
    if mutant.rule.startswith("TelemetryAbsent") and mutant.kind == "window" and mutant.before.startswith("slo:events_total:"):
        return PRESENT
    return ""


def _derived(mutant: Mutant) -> bool:
    """Say whether the rule's value is a recorded series of the SLO with its labels, and not a new vector; so are those of burn alerts."""
    alert = bool(_ALERT_JOIN.match(mutant.expr)) and "\nand " in mutant.expr
    shown = mutant.rule.startswith(("TelemetryAbsent", "ErrorBudgetLow"))  # the recorded count that was there, the budget that is left
    return alert or shown or (mutant.rule.startswith("slo:") and "slo:" in mutant.expr and not _NEW_LABELS.search(mutant.expr))


def _guards_total(mutant: Mutant) -> bool:
    """Say whether one of the `total > 0` was changed, and nothing else."""
    return mutant.replacement.replace('\\"', '"').count("> 0)") == mutant.expr.count("> 0)") - 1
