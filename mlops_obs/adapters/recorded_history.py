"""The past of an SLO as the rules recorded it in Prometheus: a month is one query of 8,928 points, not a million samples.

The trap: `query_range` answers at most 11,000 points, so a month in five-minute steps just fits and longer spans are asked in
pieces. Where nothing is recorded (the rules are younger than the question) the raw samples are counted instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlops_obs import metric_names as names
from mlops_obs.adapters.prometheus import PrometheusCounters, selector
from mlops_obs.slo.accounts import SLOT, Act, Fired, Group, Slots
from mlops_obs.slo.counters import Series
from mlops_obs.slo.indicators import Cohorts, source
from mlops_obs.slo.raw_history import RawHistory, acts_in, firings, from_recordings
from mlops_obs.slo.spec import SLO

_PIECE = 10_000 * SLOT  # seconds asked at once
_ALERT_STEP = 60.0


class RecordedHistory:
    """A `History` on Prometheus. `slos` are those that a composite may refer to; `now` in Unix seconds."""

    def __init__(self, prometheus: PrometheusCounters, slos: Sequence[SLO], now: float) -> None:
        self._prometheus, self._now = prometheus, now
        self._raw = RawHistory(prometheus, slos, now)

    def counts(self, slo: SLO, start: float, end: float) -> dict[Group, Slots]:
        """Return the counts of `slo` in [start, end), recorded ones first."""
        if isinstance(source(slo), Cohorts):  # late labels change the past, which no recording knows
            return self._raw.counts(slo, start, end)
        at = {names.SERVICE: slo.service, names.SLO: slo.name}
        bad, total = (
            self._range(selector(name.format(window="5m"), at), start + SLOT, end, SLOT) for name in (names.SLO_BAD, names.SLO_TOTAL)
        )
        return from_recordings(slo, bad, total, start, end) if total else self._raw.counts(slo, start, end)

    def alerts(self, service: str, start: float, end: float) -> list[Fired]:
        """Return what fired, to the minute."""
        return firings(self._range(selector("ALERTS", {names.SERVICE: service, "alertstate": "firing"}), start, end, _ALERT_STEP))

    def acts(self, service: str, start: float, end: float) -> list[Act]:
        """Return what rollout controllers did. Of one kind of act on one revision within a minute, the last."""
        return acts_in(self._range(selector(names.ROLLOUT_ACTION_TIME.name, {names.SERVICE: service}), start, end, _ALERT_STEP), start, end)

    def _range(self, query: str, start: float, end: float, step: float) -> list[Series]:
        """Ask in pieces, and join the pieces of each series."""
        samples: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
        until, piece = min(end, self._now), _PIECE / SLOT * step
        while start <= until:
            for one in self._prometheus.query_range(query, start, min(start + piece - step, until), step):
                samples.setdefault(tuple(sorted(one.labels.items())), []).extend(one.samples)
            start += piece
        return [Series(dict(labels), found) for labels, found in samples.items()]
