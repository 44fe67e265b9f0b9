"""What an SLO means, in pure Python: the second engine, which must agree with the Prometheus rules.

It serves machines without Prometheus, backtests and reports. Counts come from raw samples, windows are exact, *now* is
an argument. No data is a value: a service without traffic is healthy (idle), one whose counters are gone is unknown,
and unknown neither fires a burn alert nor clears the budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mlops_obs import metric_names as names
from mlops_obs.durations import humanize_duration
from mlops_obs.errors import SpecError
from mlops_obs.slo import annotations as words
from mlops_obs.slo import platform_alerts as platform
from mlops_obs.slo.annotations import Facts, Links
from mlops_obs.slo.counted_windows import Group
from mlops_obs.slo.counters import CounterSource, newest
from mlops_obs.slo.counting import Counting, counting, read, readable
from mlops_obs.slo.indicators import watched_series
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.spec_errors import SpecErrors
from mlops_obs.slo.tiers import Tier, bound_is_on, burns, least_bad_events, plan_tiers
from mlops_obs.slo.windows import HOUR, WEEK

MINUTE = 60


class Verdict(StrEnum):
    """Healthy (idle included), burning, or unknown because the counters are not there."""

    HEALTHY = "healthy"
    BURNING = "burning"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class FiringAlert:
    """An alert that fires now; `labels` are without `alertname`."""

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """Where one group of an SLO stands. Ratios are None where there was no event.

    `bad` and `total` count the period's events; `burn_rate` is over the last hour (1 spends exactly the budget);
    `budget_remaining` is a share of the period's budget, negative once overspent; `seconds_to_exhaustion` is None while
    nothing burns.
    """

    slo: SLO
    group: Mapping[str, str]
    verdict: Verdict
    bad: float
    total: float
    error_ratio: float | None
    burn_rate: float | None
    budget_remaining: float
    seconds_to_exhaustion: float | None
    tiers: tuple[str, ...] = ()


def firing_alerts(slos: Sequence[SLO], source: CounterSource, now: float, links: Links | None = None) -> list[FiringAlert]:
    """Return what fires at `now` (Unix seconds), with the names, labels and annotations of the Prometheus rules.

    A tier with a `for` fires if it burned at every minute of that time; nothing has to be remembered between two calls.

    Raises:
        TelemetryUnavailable: `source` did not answer in full. What fired before then still fires, as far as anybody knows.
    """
    links = links or Links()
    alerts: list[FiringAlert] = []
    for slo in slos:
        counts = counting(slo, source, now, _by_ref(slos))
        for group in counts.groups():
            about = _About(slo, counts, group, source, now)
            for tier in _burning(slo, counts, group):
                if not _held(slo, source, now, _by_ref(slos), group, tier):
                    continue
                labels = words.alert_labels(slo, tier.severity, tier.name) | _labels(slo, group)
                annotations = words.burn_annotations(slo, tier, about.facts(tier), links)
                alerts.append(FiringAlert(words.alert_name(slo), labels, annotations))
            alerts += _policy(about, links) if not group else []
    return [*alerts, *_absent(slos, source, now, links), *_platform(source, now, links)]


def slo_status(slo: SLO, source: CounterSource, now: float, others: Sequence[SLO] = ()) -> list[GroupStatus]:
    """Return where `slo` stands at `now`: the service as a whole, then each group. One unknown status if its counters are gone.

    `others` are the SLOs that a composite names.

    Raises:
        TelemetryUnavailable: `source` did not answer in full.
    """
    counts = counting(slo, source, now, _by_ref([*others, slo]))
    found = []
    for group in counts.groups():
        tiers = tuple(tier.name for tier in _burning(slo, counts, group))
        stale = now - (counts.newest() or 0.0) > words.ABSENT_FOR_SECONDS
        verdict = Verdict.UNKNOWN if stale else Verdict.BURNING if tiers else Verdict.HEALTHY
        found.append(_status(slo, counts, group, verdict, tiers))
    # Telemetry that is gone does not fill the budget up again: what was counted of the period still stands.
    return found or [_status(slo, counts, (), Verdict.UNKNOWN, ())]


def _status(slo: SLO, counts: Counting, group: Group, verdict: Verdict, tiers: tuple[str, ...]) -> GroupStatus:
    hour_bad, hour_total = counts.window(HOUR, group)
    burn = hour_bad / hour_total / float(slo.budget) if hour_total > 0 else None
    bad, total = counts.period(group)
    left = counts.remaining(group)
    exhaustion = left * slo.period_seconds / burn if burn and left > 0 else 0.0 if left <= 0 else None
    ratio = bad / total if total > 0 else None
    return GroupStatus(slo, _labels(slo, group), verdict, bad, total, ratio, burn, left, exhaustion, tiers)


def check_readable(slos: Sequence[SLO]) -> None:
    """Refuse SLOs whose events only a PromQL engine can count.

    Raises:
        SpecErrors: OBS-SLO-050, one for each of them.
    """
    errors = [
        SpecError(
            "OBS-SLO-050",
            f"SLO {slo.ref} is counted by PromQL, which only a Prometheus server can evaluate",
            todo="monitor it with a Prometheus, or name counters (of a composite: all its stages) in the specs",
        )
        for slo in slos
        if not readable(slo, _by_ref(slos))
    ]
    if errors:
        raise SpecErrors(errors)


def _by_ref(slos: Sequence[SLO]) -> dict[tuple[str, str], SLO]:
    return {(slo.service, slo.name): slo for slo in slos}


def _burning(slo: SLO, counts: Counting, group: Group) -> list[Tier]:
    """Return the tiers that burn now, whatever their `for`."""
    return [tier for tier in plan_tiers(slo) if _burns(slo, counts, group, tier)]


def _burns(slo: SLO, counts: Counting, group: Group, tier: Tier) -> bool:
    """Say whether `tier` burns. The short window is looked at first: it needs less history and is mostly calm."""
    bad, total = counts.window(tier.short, group)
    if bad <= float(tier.threshold) * total:
        return False
    return burns(*counts.window(tier.long, group), tier, least_bad_events(slo, tier), bound=bound_is_on(slo, tier))


def _held(slo: SLO, source: CounterSource, now: float, others: dict[tuple[str, str], SLO], group: Group, tier: Tier) -> bool:
    """Say whether a tier that burns now has burned at every minute of its `for`. Most tiers have none."""
    return all(_burns(slo, counting(slo, source, now - ago, others), group, tier) for ago in range(tier.hold, 0, -MINUTE))


@dataclass(frozen=True, slots=True)
class _About:
    """What is said of one group of an SLO."""

    slo: SLO
    counts: Counting
    group: Group
    source: CounterSource
    now: float

    def facts(self, tier: Tier) -> Facts:
        ratio = _ratio(self.counts.window(tier.long, self.group))
        return self._said(ratio, ratio, self.counts.remaining(self.group))

    def policy_facts(self, left: float) -> Facts:
        """Return what is said of a budget that runs low: the pace of the last hour, the error ratio of the period."""
        return self._said(_ratio(self.counts.window(HOUR, self.group)), _ratio(self.counts.period(self.group)), left)

    def _said(self, pace: float, ratio: float, left: float) -> Facts:
        slo, labels = self.slo, _labels(self.slo, self.group)
        burn = pace / float(slo.budget)
        revision = labels.get(names.REVISION, "")
        lasts = humanize_duration(left * slo.period_seconds / burn) if burn else "nothing burns now"
        return Facts(
            burn_rate=f"{burn:.1f}",
            error_ratio=f"{ratio * 100:.4g}%",
            budget_left=f"{left * 100:.4g}%" if left > 0 else "exhausted",
            time_to_exhaustion=lasts if left > 0 else "exhausted",
            revision=revision or "all",
            who=" ".join([slo.service, *filter(None, self.group)]),
            action_taken=action_taken(slo.service, self.source, self.now),
            dashboard_revision=revision or "$__all",
            from_ms=f"{(self.now - HOUR) * 1000:.0f}",
            to_ms=f"{self.now * 1000:.0f}",
        )


def _ratio(counted: tuple[float, float]) -> float:
    bad, total = counted
    return bad / total if total > 0 else 0.0


def _policy(about: _About, links: Links) -> list[FiringAlert]:
    """Return a ticket for every step of the budget policy that is reached. Only an SLO with a policy is read a whole period deep."""
    slo, alerts = about.slo, []
    if not slo.budget_policy:
        return []
    left = about.counts.remaining(about.group)
    for step in slo.budget_policy:
        if left < float(step.below):
            labels = words.alert_labels(slo, "ticket", words.policy_tier(step)) | _labels(slo, about.group)
            texts = words.policy_annotations(slo, step, about.policy_facts(left), links)
            alerts.append(FiringAlert(words.BUDGET_LOW, labels, texts))
    return alerts


def action_taken(service: str, source: CounterSource, now: float) -> str:
    """Say what was last done about `service` in the past hour: `rolled back v3 14 s ago`, or `none yet`."""
    done = [
        (one.samples[-1][1], one.labels)
        for one in source.series(names.ROLLOUT_ACTION_TIME.name, {names.SERVICE: service}, now - words.ABSENT_FOR_SECONDS, now)
        if one.samples and one.labels.get(names.ACTION) in words.REMEDIES and 0 <= now - one.samples[-1][1] <= words.REMEDY_MEMORY_SECONDS
    ]
    if not done:
        return "none yet"
    at, labels = max(done, key=lambda pair: pair[0])
    return f"{words.REMEDIES[labels[names.ACTION]]} {labels.get(names.REVISION, '')} {now - at:.0f} s ago"


def _platform(source: CounterSource, now: float, links: Links) -> list[FiringAlert]:
    alerts = []
    for one in platform.PLATFORM_ALERTS:
        for series in platform.holding(one, source, now):
            service, revision = platform.who(series.labels), series.labels.get(names.REVISION, "")
            facts = _no_numbers(service, revision or series.labels.get("canary", ""), source, now)
            texts = words.platform_annotations(one.name, platform.summary(one, series.labels), one.meaning, service, facts, links)
            alerts.append(FiringAlert(one.name, platform.platform_labels(series.labels), texts))
    return alerts


def _no_numbers(service: str, revision: str, source: CounterSource, now: float) -> Facts:
    return Facts(
        burn_rate="unknown",
        error_ratio="unknown",
        budget_left="unknown",
        time_to_exhaustion="unknown",
        revision=revision or "all",
        who=service,
        action_taken=action_taken(service, source, now),
        dashboard_revision=revision or "$__all",
        from_ms=f"{(now - HOUR) * 1000:.0f}",
        to_ms=f"{now * 1000:.0f}",
    )


def _absent(slos: Sequence[SLO], source: CounterSource, now: float, links: Links) -> list[FiringAlert]:
    alerts = []
    for slo in words.watched(slos):
        watched = watched_series(slo)
        if watched is None or newest(read(source, watched, now - words.ABSENT_FOR_SECONDS, now)) is not None:
            continue
        if newest(read(source, watched, now - WEEK, now)) is None:
            continue  # never seen here: not deployed yet, or a wrong spec, which `obs slo status` shows as unknown
        facts = _no_numbers(slo.service, "", source, now)
        labels = words.alert_labels(slo, "page" if "page" in slo.severities else "ticket", words.TIER_ABSENT)
        alerts.append(FiringAlert(words.TELEMETRY_ABSENT, labels, words.absent_annotations(slo, watched.metric, facts, links)))
    return alerts


def _labels(slo: SLO, group: Group) -> dict[str, str]:
    return {label: value for label, value in zip(slo.group_by, group, strict=False) if value}
