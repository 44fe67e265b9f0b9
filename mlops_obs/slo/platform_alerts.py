"""Alerts about the platform itself, as data: both engines make theirs from it.

They are tickets. A dead collector or a rollout that waits hurts no user tonight, and a page that needs no action
teaches people to ignore pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter

from mlops_obs import metric_names as names
from mlops_obs.slo.counters import CounterSource, Series

PLATFORM_TEAM, PLATFORM_SLO = "platform", "platform"
UP = "up"  # written by every scraper, ours included
GONE_SECONDS = 60  # a series without a sample for so long has ended; Prometheus marks that at the next scrape


@dataclass(frozen=True, slots=True)
class PlatformAlert:
    """Fires when `metric` has been `value` for `hold` seconds.

    `{label}` in `summary` is filled from the series, `{who}` by its service or job.
    """

    name: str
    metric: str
    value: int
    hold: int
    summary: str
    meaning: str
    equal: Mapping[str, str] = field(default_factory=dict)
    unequal: Mapping[str, str] = field(default_factory=dict)
    ours_by: str = ""  # a metric of every process of ours: a shared Prometheus scrapes those of other people too


PLATFORM_ALERTS = (
    PlatformAlert(
        "CollectorDown",
        names.COLLECTOR_UP.name,
        0,
        300,
        "{who}: the {collector} collector cannot read its source ({reason})",
        "A collector cannot read its source. Its process is up and its other metrics are sound.",
        unequal={names.REASON: "no_driver"},  # a machine without a GPU is no fault
    ),
    PlatformAlert(
        "InstrumentationDown",
        UP,
        0,
        300,
        "{who}: metrics of {instance} cannot be scraped",
        "A process that is still listed for scraping does not answer its /metrics: it hangs, the network is in between, "
        "or it died where nobody takes dead processes off the list.",
        ours_by=names.COLLECTOR_UP.name,
    ),
    PlatformAlert(
        "DriftAlarm",
        names.DRIFT_ALARM.name,
        1,
        60,
        "{who}: {feature} of {revision} is not what the model learnt from ({kind})",
        "A feature has changed by more than chance and the tolerated drift explain. False alarms of a model are kept within the budget "
        "that its team has stated, so this is worth reading.",
    ),
    PlatformAlert(
        "RolloutOnHold",
        names.ROLLOUT_PHASE.name,
        1,
        600,
        "{who}: the rollout of {canary} is on hold",
        "The evidence is missing or undecided, so traffic stays as it is until a person looks.",
        equal={names.PHASE: "Holding"},
    ),
    PlatformAlert(
        "RolloutBlind",
        names.ROLLOUT_ATTRIBUTION.name,
        1,
        300,
        "{who}: the rollout of {canary} has had no evidence that it can trust for 5 minutes",
        "Metrics of the rollout are missing, stale, partial or contradict themselves, so it holds: without evidence it neither raises "
        "traffic nor rolls back.",
        equal={names.ATTRIBUTION: "telemetry"},
    ),
    PlatformAlert(
        "RolloutTrafficMismatch",
        names.ROLLOUT_TRAFFIC_MISMATCH.name,
        1,
        300,
        "{who}: {canary} does not get the share of the requests that was declared",
        "The requests that arrive are not split as the target says it splits them, so canary and stable cannot be compared.",
    ),
    PlatformAlert(
        "RolloutWayBackLost",
        names.ROLLOUT_WAY_BACK.name,
        0,
        120,
        "{who}: {stable} could not take all traffic back from {canary}",
        "The old revision could not serve all requests now: it is gone, not ready, or there is no room for it. A rollback would fail.",
    ),
    PlatformAlert(
        "RolloutNoticeUndelivered",
        names.ROLLOUT_NOTICE_STUCK.name,
        1,
        300,
        "{who}: what the rollout of {canary} has to say reaches nobody",
        "The pager, webhook or Grafana does not take the notices of the controller. It acts all the same and goes on trying.",
    ),
)


def holding(alert: PlatformAlert, source: CounterSource, now: float) -> list[Series]:
    """Return the series for which `alert` has held without a break for its whole `hold`."""
    found = source.series(alert.metric, alert.equal, now - alert.hold - GONE_SECONDS, now)
    return [
        one for one in found if all(one.labels.get(key, "") != value for key, value in alert.unequal.items()) and _held(alert, one, now)
    ]


def _held(alert: PlatformAlert, one: Series, now: float) -> bool:
    before = [value for at, value in one.samples if at <= now - alert.hold]
    since = [value for at, value in one.samples if at > now - alert.hold]
    if not (before and since) or now - one.samples[-1][0] > GONE_SECONDS:
        return False  # too young, or over: what has recovered or left the list is no longer sampled
    return before[-1] == alert.value and all(value == alert.value for value in since)


def platform_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of a platform alert on a series with `labels`."""
    return {
        **labels,
        names.SERVICE: who(labels),
        names.SLO: PLATFORM_SLO,
        names.TEAM: PLATFORM_TEAM,
        names.SEVERITY: "ticket",
        names.TIER: "ticket-quick",
    }


def who(labels: Mapping[str, str]) -> str:
    """Return whose series it is: the service, else the scrape job."""
    return labels.get(names.SERVICE) or labels.get("job") or "unknown"


def summary(alert: PlatformAlert, labels: Mapping[str, str]) -> str:
    """Return the summary for a series with `labels`."""
    return alert.summary.format_map(_Blank({**labels, "who": who(labels)}))


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""


def fields(alert: PlatformAlert) -> Sequence[str]:
    """Return the labels that the summary names, `who` excepted."""
    return [key for _, key, _, _ in Formatter().parse(alert.summary) if key and key != "who"]
