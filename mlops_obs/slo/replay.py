"""The alerts of an SLO at every evaluation of a stretch of history: what Prometheus would have fired, minute by minute.

Conditions repeat the generated rules operation by operation, so that a minute on the edge falls on the same side. An alert is a
small state machine: a condition that holds begins to be pending, and fires once it has held for the alert's `for`; one evaluation
without it begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlops_obs.errors import SpecError
from mlops_obs.slo import annotations as words
from mlops_obs.slo import windows as span
from mlops_obs.slo.cohorts import record_cohorts
from mlops_obs.slo.indicators import Cohorts, Counters, Parts, Samples, source
from mlops_obs.slo.raw_samples import Flavour, Floats, Times
from mlops_obs.slo.recordings import Counts, Group, Read, Recordings, composed, in_slices, record
from mlops_obs.slo.spec import SLO, SpecErrors
from mlops_obs.slo.tiers import Tier, Z, bound_is_on, least_bad_events, plan_tiers

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class AlertHistory:
    """One alert over time: `labels` are without `alertname`, `firing` and `burn` (NaN where unknown) have one entry per evaluation."""

    name: str
    labels: Mapping[str, str]
    firing: Bools
    burn: Floats

    def stretches(self, at: Times) -> list[tuple[int, int]]:
        """Return (first, last) evaluation times in Unix seconds of every stretch in which it fired."""
        edges = np.flatnonzero(np.diff(np.concatenate(([False], self.firing, [False])).astype(np.int8)))
        return [(int(at[a]), int(at[z - 1])) for a, z in edges.reshape(-1, 2)]


def replay(slos: Sequence[SLO], read: Read, at: Times, flavour: Flavour = "prometheus-2") -> list[AlertHistory]:
    """Return every alert of `slos` that fires at any evaluation.

    Args:
        slos: the objectives; those that a composite names are among them.
        read: gives the raw samples of a selector, from an hour before `at[0]` on. Nothing is recorded before `at[0]`.
        at: the evaluations in Unix seconds, evenly spaced and at most 5 minutes apart.
        flavour: whose ranges and extrapolation are repeated.

    Raises:
        SpecErrors: OBS-SLO-051 for what only a PromQL engine can count.
    """
    recorded = record_all(slos, read, at, flavour)
    return alerts_of(slos, recorded)


def record_all(
    slos: Sequence[SLO], read: Read, at: Times, flavour: Flavour = "prometheus-2", *, more_windows: Sequence[int] = ()
) -> dict[str, Recordings]:
    """Return the recordings of each SLO by its reference; see `replay`. `more_windows`, of an hour at most, are recorded as well."""
    found: dict[str, Recordings] = {}
    windows = sorted({*more_windows, *raw_windows(slos)})
    waiting = list(slos)
    while waiting:
        left = []
        for slo in waiting:
            match source(slo):
                case Counters() | Samples() as kind:
                    events = record(slo, kind, read, at, windows, flavour)
                    found[slo.ref] = events if slo.budgeting == "occurrences" else in_slices(events)
                case Cohorts() as kind:
                    found[slo.ref] = record_cohorts(slo, kind, read, at, flavour)
                case Parts() as kind if all("/".join(one) in found for one in kind.of):
                    found[slo.ref] = composed(slo, [found["/".join(one)] for one in kind.of], windows)
                case _:
                    left.append(slo)
        if len(left) == len(waiting):
            raise SpecErrors([_unreadable(slo) for slo in left])
        waiting = left  # composites, whose stages are there now
    return found


def raw_windows(slos: Sequence[SLO]) -> set[int]:
    """Return the windows of an hour at most that the tiers of `slos` look at."""
    return {window for slo in slos for tier in plan_tiers(slo) for window in (tier.long, tier.short) if span.is_raw(window)}


def _unreadable(slo: SLO) -> SpecError:
    return SpecError(
        "OBS-SLO-051",
        f"the events of {slo.ref} cannot be counted from raw samples",
        todo="replay it from a Prometheus, or give the stages of a composite as well",
    )


def alerts_of(slos: Sequence[SLO], recorded: Mapping[str, Recordings]) -> list[AlertHistory]:
    """Return every alert that fires at any evaluation, from recordings by reference.

    What was recorded does not depend on tiers, so SLOs with other tiers may be judged by the same recordings.
    """
    found: list[AlertHistory] = []
    for slo in slos:
        mine = recorded[slo.ref]
        for tier in plan_tiers(slo):
            found += burn_alerts(slo, mine, tier)
        found += policy_alerts(slo, mine)
    for slo in words.watched(slos):
        absent = absent_alert(slo, recorded[slo.ref])
        if absent.firing.any():
            found.append(absent)
    return found


def held(condition: Bools, at: Times, seconds: float) -> Bools:
    """Return when an alert with `for: seconds` fires: its condition has held since an evaluation at least so long ago."""
    if not seconds or not condition.any():
        return condition
    began = condition & ~np.concatenate(([False], condition[:-1]))
    since = np.maximum.accumulate(np.where(began, np.arange(len(at)), -1))
    return condition & (at - at[np.maximum(since, 0)] >= seconds)


def burning(tier: Tier, long: Counts, short: Counts, *, least: int, bound: bool) -> Bools:
    """Say at every evaluation whether `tier` burns, from the counts of its two windows.

    Args:
        tier: the condition.
        long: bad and all events of the long window.
        short: the same of the short window.
        least: so many bad events must be in the long window.
        bound: compare the Wilson lower bound of the error ratio, not the ratio itself.
    """
    threshold, z = float(tier.threshold), float(Z)
    bad, total = long
    with np.errstate(invalid="ignore"):
        holds = (total > 0) & (short[0] > threshold * short[1]) & (bad >= least)
        if not bound:
            return holds & (bad > threshold * total)
        if not holds.any():
            return holds
        spread = np.zeros(len(total))
        np.divide(bad * (total - bad), total, out=spread, where=holds)
        margin = z * np.sqrt(np.maximum(spread, 0) + float(Z * Z / 4))
        return holds & (bad + float(Z * Z / 2) - margin > threshold * (total + float(Z * Z)))


def burn_alerts(slo: SLO, recorded: Recordings, tier: Tier) -> list[AlertHistory]:
    """Return the alert of `tier` for the service as a whole and each group, those that ever fired."""
    found = []
    least, bound = least_bad_events(slo, tier), bound_is_on(slo, tier)
    for group in recorded.groups():
        long, short = recorded.window(group, tier.long), recorded.window(group, tier.short)
        firing = held(burning(tier, long, short, least=least, bound=bound), recorded.at, tier.hold)
        if firing.any():
            labels = words.alert_labels(slo, tier.severity, tier.name) | group_labels(slo, group)
            found.append(AlertHistory(words.alert_name(slo), labels, firing, burn_rate(slo, long)))
    return found


def policy_alerts(slo: SLO, recorded: Recordings) -> list[AlertHistory]:
    """Return a ticket for every step of the budget policy that was ever reached, about the service as a whole."""
    found: list[AlertHistory] = []
    if not slo.budget_policy or () not in recorded.groups():
        return []
    left = recorded.remaining(())
    for step in slo.budget_policy:
        with np.errstate(invalid="ignore"):
            firing = left < float(step.below)
        if firing.any():
            labels = words.alert_labels(slo, "ticket", words.policy_tier(step))
            found.append(AlertHistory(words.BUDGET_LOW, labels, firing, np.full(len(left), np.nan)))
    return found


def absent_alert(slo: SLO, recorded: Recordings) -> AlertHistory:
    """Return TelemetryAbsent: counted within the last week, and the counter is gone for 5 minutes."""
    gone = recorded.seen(span.WEEK) & ~recorded.alive
    labels = words.alert_labels(slo, "page" if "page" in slo.severities else "ticket", words.TIER_ABSENT)
    firing = held(gone, recorded.at, words.ABSENT_FOR_SECONDS)
    return AlertHistory(words.TELEMETRY_ABSENT, labels, firing, np.full(len(firing), np.nan))


def burn_rate(slo: SLO, counts: Counts) -> Floats:
    """Return how many times too fast `counts` spend the budget; NaN without events."""
    bad, total = counts
    with np.errstate(invalid="ignore"):
        ratio: Floats = np.divide(bad, total, out=np.full(len(total), np.nan), where=total > 0)
        return ratio / float(slo.budget)


def group_labels(slo: SLO, group: Group) -> dict[str, str]:
    """Return the labels of `group`; a label that a series does not have is left out, as Prometheus does."""
    return {label: value for label, value in zip(slo.group_by, group, strict=False) if value}
