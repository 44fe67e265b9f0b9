"""What an SLO means, in pure Python: the second engine, which must agree with the Prometheus rules.

It serves machines without Prometheus, backtests and reports. Counts come from raw samples, windows are exact, *now* is
an argument. No data is a value: a service without traffic is healthy (idle), one whose counters are gone is unknown,
and unknown neither fires a burn alert nor clears the budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from mlops_obs import metric_names as names
from mlops_obs.durations import humanize_duration
from mlops_obs.slo import annotations as words
from mlops_obs.slo import platform_alerts as platform
from mlops_obs.slo.annotations import Facts, Links
from mlops_obs.slo.counters import CounterSource, Series, newest, sum_increase
from mlops_obs.slo.indicators import Selector, counters
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.tiers import Tier, burns, plan_tiers

HOUR, WEEK = 3_600, 7 * 86_400
Group = tuple[str, ...]  # values of `group_by`; () is the service as a whole


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


@dataclass(slots=True)
class _Counts:
    """The counters of one SLO, read once per needed depth and summed per group."""

    slo: SLO
    source: CounterSource
    now: float
    _depth: float = 0
    _total: list[Series] = field(default_factory=list)
    _part: list[Series] = field(default_factory=list)

    def _load(self, seconds: float) -> None:
        if seconds <= self._depth:
            return
        counted = counters(self.slo)
        self._total = _read(self.source, counted.total, self.now - seconds - 600, self.now)
        part = counted.bad or counted.good
        assert part is not None  # noqa: S101 - an indicator counts bad events or good ones
        self._part = _read(self.source, part, self.now - seconds - 600, self.now)
        self._depth = seconds

    def groups(self) -> list[Group]:
        """Return the groups seen in the last hour, the service as a whole first; nothing if it is not seen."""
        self._load(HOUR)
        alive = [one for one in self._total if sum(1 for at, _ in one.samples if at >= self.now - HOUR) > 1]
        labels = {tuple(one.labels.get(label, "") for label in self.slo.group_by) for one in alive} if self.slo.group_by else set()
        return [*([()] if alive else []), *sorted(group for group in labels if any(group))]

    def window(self, seconds: float, group: Group) -> tuple[float, float]:
        """Return bad and all events of `group` in the last `seconds`."""
        self._load(seconds)
        start = self.now - seconds
        total = sum_increase(self._of(self._total, group), start, self.now)
        part = sum_increase(self._of(self._part, group), start, self.now)
        if counters(self.slo).bad is not None:
            return part, total
        # A bucket that is not there is no evidence that every request was slow.
        return (max(total - part, 0.0), total) if self._of(self._part, group) else (0.0, 0.0)

    def history(self, group: Group) -> float:
        """Return the seconds for which `group` has been counted, an hour at least and the period at most."""
        self._load(self.slo.period_seconds)
        start = self.now - self.slo.period_seconds
        first = min((one.samples[0][0] for one in self._of(self._total, group) if one.samples), default=self.now)
        return max(self.now - max(first, start), float(HOUR))

    def newest(self) -> float | None:
        """Return when the total was last sampled."""
        return newest(self._total)

    def _of(self, series: Iterable[Series], group: Group) -> list[Series]:
        return [one for one in series if not group or tuple(one.labels.get(label, "") for label in self.slo.group_by) == group]


def firing_alerts(slos: Sequence[SLO], source: CounterSource, now: float, links: Links | None = None) -> list[FiringAlert]:
    """Return what fires at `now` (Unix seconds), with the names, labels and annotations of the Prometheus rules.

    Raises:
        TelemetryUnavailable: `source` did not answer in full. What fired before then still fires, as far as anybody knows.
    """
    links = links or Links()
    alerts: list[FiringAlert] = []
    for slo in slos:
        counts = _Counts(slo, source, now)
        for group in counts.groups():
            for tier in _burning(counts, group):
                labels = words.alert_labels(slo, tier.severity, tier.name) | _labels(slo, group)
                annotations = words.burn_annotations(slo, tier, _facts(counts, group, tier), links)
                alerts.append(FiringAlert(words.alert_name(slo), labels, annotations))
    return [*alerts, *_absent(slos, source, now, links), *_platform(source, now, links)]


def slo_status(slo: SLO, source: CounterSource, now: float) -> list[GroupStatus]:
    """Return where `slo` stands at `now`: the service as a whole, then each group. One unknown status if its counters are gone.

    Raises:
        TelemetryUnavailable: `source` did not answer in full.
    """
    counts = _Counts(slo, source, now)
    found = []
    for group in counts.groups():
        tiers = tuple(tier.name for tier in _burning(counts, group))
        stale = now - (counts.newest() or 0.0) > words.ABSENT_FOR_SECONDS
        verdict = Verdict.UNKNOWN if stale else Verdict.BURNING if tiers else Verdict.HEALTHY
        hour_bad, hour_total = counts.window(HOUR, group)
        burn = hour_bad / hour_total / float(slo.budget) if hour_total > 0 else None
        bad, total = counts.window(slo.period_seconds, group)
        left = _remaining(counts, group)
        exhaustion = left * slo.period_seconds / burn if burn and left > 0 else 0.0 if left <= 0 else None
        ratio = bad / total if total > 0 else None
        found.append(GroupStatus(slo, _labels(slo, group), verdict, bad, total, ratio, burn, left, exhaustion, tiers))
    return found or [GroupStatus(slo, {}, Verdict.UNKNOWN, 0.0, 0.0, None, None, 1.0, None)]


def _burning(counts: _Counts, group: Group) -> list[Tier]:
    """Return the tiers that burn. The short window is looked at first: it needs less history and is mostly calm."""
    slo, found = counts.slo, []
    for tier in plan_tiers(slo):
        bad, total = counts.window(tier.short, group)
        if bad > float(tier.threshold) * total and burns(*counts.window(tier.long, group), tier, slo.min_bad_events):
            found.append(tier)
    return found


def _remaining(counts: _Counts, group: Group) -> float:
    """Share of the period's budget that is left; history shorter than the period is projected (see prometheus_rules)."""
    slo = counts.slo
    bad, total = counts.window(slo.period_seconds, group)
    if total <= 0:
        return 1.0
    return 1 - bad / total * counts.history(group) / float(slo.budget * slo.period_seconds)


def _facts(counts: _Counts, group: Group, tier: Tier) -> Facts:
    slo, labels = counts.slo, _labels(counts.slo, group)
    bad, total = counts.window(tier.long, group)
    ratio = bad / total
    burn = ratio / float(slo.budget)
    left = _remaining(counts, group)
    revision = labels.get(names.REVISION, "")
    return Facts(
        burn_rate=f"{burn:.1f}",
        error_ratio=f"{ratio * 100:.4g}%",
        budget_left=f"{left * 100:.4g}%" if left > 0 else "exhausted",
        time_to_exhaustion=humanize_duration(left * slo.period_seconds / burn) if left > 0 else "exhausted",
        revision=revision or "all",
        who=" ".join([slo.service, *group]),
        action_taken=action_taken(slo.service, counts.source, counts.now),
        dashboard_revision=revision or "$__all",
        from_ms=f"{(counts.now - HOUR) * 1000:.0f}",
        to_ms=f"{counts.now * 1000:.0f}",
    )


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
        total = counters(slo).total
        if newest(_read(source, total, now - words.ABSENT_FOR_SECONDS, now)) is not None:
            continue
        if newest(_read(source, total, now - WEEK, now)) is None:
            continue  # never seen here: not deployed yet, or a wrong spec, which `obs slo status` shows as unknown
        facts = _no_numbers(slo.service, "", source, now)
        labels = words.alert_labels(slo, "page" if "page" in slo.severities else "ticket", words.TIER_ABSENT)
        alerts.append(FiringAlert(words.TELEMETRY_ABSENT, labels, words.absent_annotations(slo, total.metric, facts, links)))
    return alerts


def _labels(slo: SLO, group: Group) -> dict[str, str]:
    return {label: value for label, value in zip(slo.group_by, group, strict=False) if value}


def _read(source: CounterSource, one: Selector, start: float, end: float) -> list[Series]:
    found = source.series(one.metric, one.equal, start, end)
    return [series for series in found if all(series.labels.get(key, "") != value for key, value in one.unequal.items())]
