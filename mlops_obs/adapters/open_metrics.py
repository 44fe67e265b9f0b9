"""Recordings as OpenMetrics text, the form in which promtool makes blocks of the past.

Only what everything else derives from is written: the 5-minute counts at every 5 minutes, the hourly ones at every full hour, and what
was left of the budget, for the graphs. The trap is the order: samples of one metric must stand together, and each series rises in
time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mlops_obs import metric_names as names
from mlops_obs.slo import windows as span
from mlops_obs.slo.raw_samples import Floats
from mlops_obs.slo.recordings import Group, Recordings
from mlops_obs.slo.replay import group_labels
from mlops_obs.slo.rules.windows import HOURLY
from mlops_obs.slo.spec import SLO


def recordings_text(slos: Sequence[SLO], recorded: Mapping[str, Recordings]) -> str:
    """Return the recordings of `slos`, by reference, as OpenMetrics."""
    lines: list[str] = []
    for window, called in ((span.BASE, "5m"), (span.HOUR, "1h"), (span.HOUR, HOURLY)):
        for place, name in enumerate((names.SLO_BAD, names.SLO_TOTAL)):
            metric = name.format(window=called)
            lines.append(f"# TYPE {metric} gauge")
            for one, group in _all(slos, recorded):
                lines += _samples(metric, one, group, one.window(group, window)[place], window)
    lines.append(f"# TYPE {names.SLO_BUDGET_REMAINING} gauge")
    for one, group in _all(slos, recorded):
        lines += _samples(names.SLO_BUDGET_REMAINING, one, group, one.remaining(group), span.BASE)
    return "\n".join([*lines, "# EOF", ""])


def _all(slos: Sequence[SLO], recorded: Mapping[str, Recordings]) -> Iterator[tuple[Recordings, Group]]:
    for slo in slos:
        for group in recorded[slo.ref].groups():
            yield recorded[slo.ref], group


def _samples(metric: str, one: Recordings, group: Group, values: Floats, step: int) -> list[str]:
    labels = {**one.slo.labels, names.SERVICE: one.slo.service, names.SLO: one.slo.name, names.TEAM: one.slo.team}
    written = ",".join(
        f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted({**labels, **group_labels(one.slo, group)}.items())
    )
    chosen = (one.at % step == 0) & ~np.isnan(values)
    return [f"{metric}{{{written}}} {value!r} {at}" for at, value in zip(one.at[chosen].tolist(), values[chosen].tolist(), strict=True)]
