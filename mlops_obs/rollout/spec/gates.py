"""What may stand under `gates:` of a rollout, beside the questions after errors and slow requests that are always asked.

Two kinds, and the difference is what they may do. Gates that *count* (latency, slo, quality, counters) go through the
sequential test and share the rollout's error rate: they condemn. Gates that compare a number with a *threshold* (drift,
gpu_cost, promql) prove nothing about harm, so they only hold a step up, unless a promql gate is told to roll back.

The trap of every threshold: a query that has no answer. No data holds; it never passes and never fails.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from mlops_obs.rollout.spec.fields import PlainName, Seconds, SecondsOrZero, Strict, no_truth, wrong

REVISION_MARK = "{{revision}}"
_MARK = re.compile(r"\{\{\s*(.*?)\s*\}\}")
RESERVED = frozenset({"errors", "slow", "traffic"})  # the tests that every rollout has


class _Gate(Strict):
    name: PlainName = Field(description="how the gate is called in the evidence; unique in the rollout")
    dry_run: bool = Field(False, description="measured and recorded, decides nothing")

    @field_validator("margin", "min_labels", "max_psi", "max_ratio", "min", "max", mode="before", check_fields=False)
    @classmethod
    def _truth_is_no_number(cls, value: object) -> object:
        return no_truth(value)

    @field_validator("name")
    @classmethod
    def _not_a_test_of_ours(cls, name: str) -> str:
        if name in RESERVED:
            raise wrong(f"{name!r} is the name of a test that every rollout has", "choose another name")
        return name


class LatencyGate(_Gate):
    """The whole latency distribution of canary against stable: the average of the evidence over the histogram's bounds."""

    type: Literal["latency"]


class SloGate(_Gate):
    """Bad and total events of an SLO of the service, counted by revision."""

    type: Literal["slo"]
    slo: PlainName = Field(description="name of an SLO of the service; its indicator must count events with a label `revision`")


class QualityGate(_Gate):
    """Predictions whose labels arrive later, paired by cohort; a cohort speaks once, when it is mature."""

    type: Literal["quality"]
    margin: float = Field(0.02, gt=0, lt=1, description="how many more wrong predictions, as a share, are still acceptable")
    min_labels: int = Field(50, ge=1, le=100_000, description="labels that a cohort needs in each arm before it says anything")
    cohort: Seconds = Field(3600.0, description="length of a cohort, as the quality collector counts them")
    maturity: SecondsOrZero = Field(0.0, description="how long after its end a cohort waits for late labels")


class DriftGate(_Gate):
    """Inputs or outputs of the canary against those of stable in the same minutes; holds when the drift stays high."""

    type: Literal["drift"]
    max_psi: float = Field(0.2, gt=0, description="largest population stability index of the canary above that of stable")
    feature: str = Field("", description="one feature; empty: the worst of all of them")
    for_: Seconds = Field(60.0, alias="for", description="how long it must be exceeded")


class GpuCostGate(_Gate):
    """GPU-seconds for each request, canary against stable."""

    type: Literal["gpu_cost"]
    max_ratio: float = Field(1.2, gt=0, description="largest ratio canary/stable")
    for_: Seconds = Field(60.0, alias="for", description="how long it must be exceeded")


class PromqlGate(_Gate):
    """A PromQL query of your own, with {{revision}} where the canary's name belongs; the answer must stay between min and max."""

    type: Literal["promql"]
    query: str = Field(min_length=1, max_length=4096, description="instant query that answers one number; {{revision}} becomes the canary")
    min: float | None = Field(None, description="smallest good value")
    max: float | None = Field(None, description="largest good value")
    for_: Seconds = Field(60.0, alias="for", description="how long it must be outside of them")
    on_fail: Literal["hold", "rollback"] = Field("hold", description="what to do then; no data always holds")

    @field_validator("query")
    @classmethod
    def _asks_for_the_canary(cls, query: str) -> str:
        marks = set(_MARK.findall(query))
        if marks - {"revision"}:
            raise wrong(f"{{{{{min(marks - {'revision'})}}}}} is not known in a query", f"{REVISION_MARK} is the only mark")
        if not marks:
            raise wrong("the query does not say whose value it is", f'write {REVISION_MARK} in it, for example revision="{REVISION_MARK}"')
        return _MARK.sub(REVISION_MARK, query)

    @model_validator(mode="after")
    def _has_a_bound(self) -> PromqlGate:
        if self.min is None and self.max is None:
            raise wrong("neither min nor max is given, so the gate would always pass", "write max: or min:")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise wrong(f"min {self.min:g} is above max {self.max:g}, so the gate could never pass", "swap them", "min")
        return self


class CountersGate(_Gate):
    """Two counters of your own with a label `revision`: bad events and all of them. Tested sequentially, like errors."""

    type: Literal["counters"]
    bad: str = Field(min_length=1, max_length=4096, description='vector selector of the bad events, for example my_bad_total{app="x"}')
    total: str = Field(min_length=1, max_length=4096, description="vector selector of all events")
    margin: float = Field(0.05, gt=0, lt=1, description="how many more bad events, as a share, are still acceptable")


Gate = Annotated[
    LatencyGate | SloGate | QualityGate | DriftGate | GpuCostGate | PromqlGate | CountersGate,
    Field(discriminator="type"),
]
CountingGate = LatencyGate | SloGate | QualityGate | CountersGate
GATES: dict[str, type[_Gate]] = {
    "latency": LatencyGate, "slo": SloGate, "quality": QualityGate, "drift": DriftGate,
    "gpu_cost": GpuCostGate, "promql": PromqlGate, "counters": CountersGate,
}  # fmt: skip


def counts(gate: Gate) -> bool:
    """Return whether `gate` brings counts for the sequential test; others compare a number with a threshold."""
    return isinstance(gate, CountingGate)
