"""What drift and skew said about the inputs of each revision while the demo ran, read from the metrics as anybody could read them.

The trap: a revision that was rolled back is gone when the demo ends, and its series with it. History is asked, not the present.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mlops_obs.cli.demo.outcome import Named
from mlops_obs.metric_names import DRIFT_ALARMS, FEATURE, KIND, REVISION, SERVICE, SKEW_NAMED, Metric
from mlops_obs.slo.counters import CounterSource

_WAYS: tuple[tuple[str, Metric], ...] = (("drift", DRIFT_ALARMS), ("skew", SKEW_NAMED))


def named(source: CounterSource, service: str, start: float, end: float) -> list[Named]:
    """Return the features that were named in (start, end], each with the first moment, in the order in which they were named.

    Raises:
        TelemetryUnavailable: the metrics did not answer in full.
    """
    found: dict[tuple[str, str, str, str], float] = {}
    for by, metric in _WAYS:
        for series in source.series(metric.name, {SERVICE: service}, start, end):
            times = [at for at, value in series.samples if value > 0]
            if times:
                key = (by, series.labels[REVISION], series.labels[FEATURE], series.labels[KIND])
                found[key] = min(times[0], found.get(key, times[0]))
    return sorted((Named(*key, at) for key, at in found.items()), key=lambda one: (one.at, one.by, one.feature))


def in_words(found: Sequence[Named], revision: str) -> str:
    """Say what was named of `revision`, as "drift: loan_amount (unit); skew: spend_30d (unit)", and of others if anything was."""
    others = sorted({one.revision for one in found} - {revision})
    return ". ".join([_said(found, revision), *(f"Of {other}: {_said(found, other)}" for other in others)])


def _said(found: Iterable[Named], revision: str) -> str:
    mine = [one for one in found if one.revision == revision]
    parts = []
    for by, _ in _WAYS:
        kinds = dict.fromkeys(one.kind for one in mine if one.by == by)
        told = [f"{', '.join(_features(mine, by, kind))} ({kind})" for kind in kinds]
        if told:
            parts.append(f"{by}: {', '.join(told)}")
    return "; ".join(parts) or "nothing was named"


def _features(found: Sequence[Named], by: str, kind: str) -> list[str]:
    return sorted(one.feature for one in found if (one.by, one.kind) == (by, kind))
