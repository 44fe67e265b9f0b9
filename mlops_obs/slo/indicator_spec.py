"""What `indicator:` may say in a spec: which events count, and which of them are bad.

One flat model with a table of the fields each type has, so that a field in the wrong type is told as such and not as
unknown. What the fields may hold is checked in `indicator_checks.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from pydantic import ValidationInfo, field_validator, model_validator

from mlops_obs import metric_names as names
from mlops_obs.durations import parse_duration
from mlops_obs.slo.indicator_checks import article, check_counters, check_expressions, check_latency, in_milliseconds
from mlops_obs.slo.spec_errors import Mistake, Strict, meant, mistake, mistakes, seconds

Kind = Literal[
    "availability", "latency", "freshness", "materialisation", "drift", "expectations", "skew", "quality", "training", "boolean", "ratio",
    "composite",
]  # fmt: skip
PROMQL_FIELDS = ("total", "bad", "good", "ratio", "metric", "histogram")
STAGES = (names.STAGE_FEATURES, names.STAGE_TRAIN, names.STAGE_SERVE, names.STAGE_INGRESS)
PHASES = ("data_wait", "compute", "optimizer", "checkpoint", "evaluate", "restart", "other")
USEFUL = ("compute", "optimizer")
HOUR, DAY = 3_600, 86_400
_REFERENCE = re.compile(r"[a-z0-9][-a-z0-9]{0,62}(/[a-z0-9][-a-z0-9]{0,62})?")

# Per type: the fields it must have, and those it may have.
FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "availability": ((), ("stage", "total", "bad", "good")),
    "latency": (("threshold",), ("stage", "histogram", "buckets", "native")),
    "freshness": ((), ("feature_view",)),
    "materialisation": ((), ("table",)),
    "drift": ((), ()),
    "expectations": ((), ()),
    "skew": ((), ()),
    "quality": (("maturity",), ("cohort",)),
    "training": ((), ("useful",)),
    "boolean": (("metric",), ()),
    "ratio": ((), ("bad", "total", "ratio", "unit")),
    "composite": (("of",), ()),
}
_GROUPS = {"freshness": (names.FEATURE_VIEW,), "materialisation": (names.TABLE,)}
_EXAMPLES = {
    "threshold": "threshold: 250ms",
    "maturity": "maturity: 3d, the time after which labels are complete",
    "metric": 'metric: probe_success{job="blackbox"}',
    "of": "of: [freshness, training, availability], upstream first",
}


class Indicator(Strict):
    """Which events count, and which of them are bad.

    `availability`: requests that ended in an error of ours; or any counters, as selectors: `total` with `bad` or `good`.
    `latency`: requests slower than `threshold`, a bucket bound of the instrumentation; or of any `histogram` (a selector
    by its base name) whose bounds are listed in `buckets` (in the histogram's unit), or which is `native`.
    `freshness`: online feature reads that were late or missing. `materialisation`: expected materialisations of upstream tables that
    were. `drift`: scored windows that drifted. `expectations`: checks of live windows that failed. `skew`: values that differ between
    offline, online and the model's input. `quality`:
    labelled predictions that were wrong, counted by `cohort` of predictions and believed once `maturity` has passed.
    `training`: seconds of allocated training time outside the `useful` phases. `boolean`: samples of the gauge `metric`
    that are 0 and not 1. `ratio`: PromQL with `{{.window}}`: `bad` and `total`, which count `events` or are a `rate` per
    second; or an error `ratio` alone. `composite`: a chain of SLOs (`slo` or `service/slo`), upstream first.

    `stage` is where requests are counted (what the caller saw: `ingress`).
    """

    type: Kind
    stage: str = names.STAGE_INGRESS
    threshold: str | None = None
    histogram: str | None = None
    buckets: tuple[Decimal, ...] = ()
    native: bool = False
    feature_view: str | None = None
    table: str | None = None
    maturity: str | None = None
    cohort: str = "1h"
    useful: tuple[str, ...] = USEFUL
    metric: str | None = None
    total: str | None = None
    bad: str | None = None
    good: str | None = None
    ratio: str | None = None
    unit: Literal["events", "rate"] = "events"
    of: tuple[str, ...] = ()

    @field_validator("stage")
    @classmethod
    def _known_stage(cls, value: str) -> str:
        if value not in STAGES:
            raise mistake("OBS-SLO-005", f"stage {value!r} is not one of {', '.join(STAGES)}", meant(value, STAGES))
        return value

    @field_validator("threshold", "maturity", "cohort")
    @classmethod
    def _durations(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None:
            seconds(value, info.field_name or "")
        return value

    @field_validator("cohort")
    @classmethod
    def _whole_cohorts(cls, value: str) -> str:
        length = parse_duration(value)
        if not 300 <= length <= DAY or length % 300 or DAY % length or (HOUR % length and length % HOUR):
            raise mistake(
                "OBS-SLO-005",
                f"cohort {value} does not divide hours or the day",
                "write 5m, 10m, 15m, 20m, 30m, 1h, 2h, 3h, 4h, 6h, 12h or 1d",
            )
        return value

    @field_validator("maturity")
    @classmethod
    def _sane_maturity(cls, value: str | None) -> str | None:
        if value is not None and parse_duration(value) > 90 * DAY:
            raise mistake("OBS-SLO-005", f"maturity {value} is longer than 90d", "nobody can be paged that late; use an earlier label")
        return value

    @field_validator("buckets")
    @classmethod
    def _rising_buckets(cls, value: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
        if any(not bound.is_finite() or bound <= 0 for bound in value) or list(value) != sorted(set(value)):
            raise mistake("OBS-SLO-005", "buckets are not positive numbers that rise", "copy the values of `le` without +Inf")
        return value

    @field_validator("useful")
    @classmethod
    def _known_phases(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or set(PHASES) <= set(value):
            raise mistake("OBS-SLO-005", "useful names no phase or all of them", f"known: {', '.join(PHASES)}")
        wrong = [
            Mistake("OBS-SLO-005", f"{one!r} is not a phase of training", meant(one, PHASES), (i,))
            for i, one in enumerate(value)
            if one not in PHASES
        ]
        if wrong:
            raise mistakes(wrong)
        return value

    @field_validator("of")
    @classmethod
    def _plain_references(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        check_references(value, "of")
        if 0 < len(set(value)) < 2 or len(set(value)) != len(value):
            raise mistake("OBS-SLO-005", "of needs two different SLOs at least", "list each stage once, upstream first")
        return value

    @model_validator(mode="after")
    def _fields_fit_the_type(self) -> Indicator:
        found: list[Mistake] = []
        required, optional = FIELDS[self.type]
        whose = f"{article(self.type)} indicator"
        for name in required:
            if not getattr(self, name):
                found.append(Mistake("OBS-SLO-004", f"{whose} needs a {name}", f"write for example {_EXAMPLES[name]}"))
        for name in sorted(self.model_fields_set - {"type", *required, *optional}):
            found.append(Mistake("OBS-SLO-005", f"{whose} has no {name}", f"remove {name}", (name,)))
        if not found:
            found = [*check_counters(self), *check_latency(self), *check_expressions(self)]
        if found:
            raise mistakes(found)
        return self

    @property
    def threshold_seconds(self) -> float | None:
        """The latency threshold in seconds, None for other indicators."""
        return None if self.threshold is None else float(parse_duration(self.threshold))

    @property
    def bound(self) -> Decimal:
        """The latency threshold in the histogram's own unit: milliseconds if its name says so, else seconds."""
        exact = parse_duration(self.threshold or "1s") * (1000 if in_milliseconds(self.histogram) else 1)
        return Decimal(f"{exact.normalize():f}")

    @property
    def custom(self) -> bool:
        """True if the series are named in the spec and not those of the toolkit's own instrumentation."""
        return bool(self.total or self.histogram or self.metric or self.bad or self.ratio)


def check_references(value: Sequence[str], field: str) -> None:
    """Raise the mistakes of a list of SLO references (`slo` or `service/slo`)."""
    wrong = [
        Mistake("OBS-SLO-005", f"{field}: {one!r} is not the name of an SLO", "write slo, or service/slo", (index,))
        for index, one in enumerate(value)
        if not _REFERENCE.fullmatch(one)
    ]
    if wrong:
        raise mistakes(wrong)


def group_labels(indicator: Indicator) -> tuple[str, ...] | None:
    """Return the labels by which the events of `indicator` can be grouped; None if any label may be (series named in the spec)."""
    if indicator.type == "composite":
        return ()
    if indicator.custom:
        return None
    return _GROUPS.get(indicator.type, (names.REVISION,))
