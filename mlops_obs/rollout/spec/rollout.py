"""What a person writes to ship a revision: a bare YAML document, or the `spec` of a Rollout in Kubernetes.

The trap: a typo in a safety setting that is silently ignored. Unknown keys are refused with the nearest known one,
and every limit is checked before anything is deployed. Documents are read in `document.py`; the parts are in
`gate_spec.py` and `target_spec.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from mlops_obs.metric_names import LATENCY_BUCKETS, STAGE_INGRESS
from mlops_obs.rollout.spec.fields import Seconds, SecondsOrZero, Strict, durations, no_truth, wrong
from mlops_obs.rollout.spec.gates import Gate
from mlops_obs.rollout.spec.target import Target

__all__ = ["WARM_UP", "Gate", "Rollout", "Seconds", "Target", "parse_rollout"]

BLOCK = 60.0  # seconds; minutes differ from each other more than seconds within one do
WARM_UP = 120.0  # seconds; a cold cache is warm, a lazy model loaded
_TRAFFIC = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*/\s*([smhd])")
_PER = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Rollout(Strict):
    """One rollout of one revision. Durations are written as `10s` and held in seconds."""

    model_config = ConfigDict(title="Rollout")

    service: str = Field(min_length=1, description="service whose revision is shipped; the label `service` of its metrics")
    canary: str = Field(min_length=1, description="revision to ship; the label `revision` of its metrics")
    package: str = Field(min_length=1, description="model package of the canary: a folder or URI that the target understands")
    digest: str = Field("", max_length=256, description="digest of the package; one that was rolled back before is refused")
    target: Target | None = Field(None, description="platform that splits the traffic; without it, the target of obs.yaml")
    steps: tuple[int, ...] = Field((20, 50, 100), max_length=100, description="percent of traffic for the canary, step by step")
    pace: Literal["steps", "auto"] = Field("steps", description="take the steps as written, or choose each by evidence and budget")
    step_duration_min: Seconds = Field(10.0, description="shortest time at a step")
    manual_gates: tuple[int, ...] = Field((), max_length=100, description="weights that are entered only after `obs rollout promote`")
    alpha: float = Field(0.01, gt=0, lt=0.5, description="chance that a healthy canary is ever rolled back, over all tests and all looks")
    alpha_accept: float = Field(0.05, gt=0, lt=0.5, description="chance, per test and step, of accepting a canary worse by the margin")
    least_detectable_ratio: float = Field(2.0, gt=1, le=1000, description="smallest ratio canary/stable of bad requests to be found")
    tolerated_ratio: float | None = Field(
        None, ge=1, le=1000, description="ratio that is still no harm; without it, the square root of least_detectable_ratio"
    )
    noise_log_sd: float = Field(0.8, ge=0, le=3, description="largest minute-to-minute log deviation of the canary's own noise")
    non_inferiority_margin: float = Field(0.05, gt=0, lt=1, description="how many more failed requests, as a share, are still acceptable")
    slow_margin: float = Field(0.1, gt=0, lt=1, description="the same for slow requests; wider, since a slow answer is still an answer")
    latency_threshold: Seconds = Field(0.25, description="slower than this is slow; one of the histogram's bounds")
    deadline: Seconds = Field(1800.0, description="time for the whole rollout")
    on_inconclusive: Literal["hold", "rollback"] = Field("hold", description="what to do when the deadline passes without a verdict")
    stage: str = Field(STAGE_INGRESS, min_length=1, description="stage whose requests are judged")
    slice: Seconds = Field(2.0, description="width of the time slices in which canary and stable are compared")
    block: Seconds = Field(
        default_factory=lambda data: shortest_block(data.get("slice", 0.0)),
        description="time after which noise starts anew; at least one slice; without it 60s, or the slice if that is longer",
    )
    stale_after: Seconds = Field(10.0, description="evidence whose newest sample is older than this is unknown")
    warm_up: SecondsOrZero | None = Field(None, description="canary's first seconds, in which only gross harm counts; without it 2m")
    gross_ratio: float = Field(2.0, ge=1, le=1000, description="gross harm: so many times the tolerated ratio")
    watch: Seconds | None = Field(None, description="after 100 %: how long the old revision stays warm and late harm is rolled back")
    watch_weight: int = Field(0, ge=0, le=50, description="percent that stable keeps during the watch, to compare with")
    dry_run: bool = Field(False, description="judge and record everything, never touch the traffic")
    gates: tuple[Gate, ...] = Field((), max_length=32, description="what is asked beside errors and slow requests")
    expected_requests: str | None = Field(None, max_length=32, description="the service's traffic, e.g. 20/s; for lint, power, pace auto")
    max_budget_spend: float | None = Field(
        0.1, gt=0, le=1, description="pace auto: share of the remaining error budget that the canary may spend"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        may_be = isinstance(value, bool) and (info.field_name == "dry_run" or info.field_name in durations(cls))
        return value if may_be else no_truth(value)  # durations refuse it in their own words

    @field_validator("steps")
    @classmethod
    def _rise_to_100(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if not steps or steps[-1] != 100 or steps[0] < 1 or any(a >= b for a, b in pairwise(steps)):
            raise wrong("steps must rise and end at 100", "write for example [20, 50, 100]")
        return steps

    @field_validator("latency_threshold")
    @classmethod
    def _is_a_bucket(cls, threshold: float) -> float:
        if threshold not in LATENCY_BUCKETS:
            near = min(LATENCY_BUCKETS, key=lambda bound: abs(bound - threshold))
            raise wrong(f"{threshold:g} s is not a bound of the latency histogram; the nearest is {near:g} s", f"write {near:g}s")
        return threshold

    @field_validator("expected_requests")
    @classmethod
    def _is_a_rate(cls, text: str | None) -> str | None:
        if text is not None and not _per_second(text):
            raise wrong(f"{text!r} is not requests per time", "write for example 20/s, 600/m or 5000/h")
        return text

    @field_validator("tolerated_ratio", "block", "manual_gates", "watch_weight")
    @classmethod
    def _fits_its_neighbour(cls, value: object, info: ValidationInfo) -> object:
        """Check a key against one that stands before it; one that is itself wrong is not held against it."""
        known = info.data
        if info.field_name == "tolerated_ratio" and isinstance(value, float) and value > known.get("least_detectable_ratio", math.inf):
            least = known["least_detectable_ratio"]
            raise wrong(f"{value:g} tolerates what least_detectable_ratio {least:g} wants found", f"write at most {least:g}")
        if info.field_name == "block" and isinstance(value, float) and value < known.get("slice", 0.0):
            raise wrong(f"a block of {value:g} s is shorter than a slice", f"write {known['slice']:g}s or more")
        if info.field_name == "manual_gates" and isinstance(value, tuple) and known.get("pace") == "steps":
            steps = known.get("steps", value)
            stray = [weight for weight in value if weight not in steps]
            if stray:
                raise wrong(f"{stray[0]} is no step, so nobody would be asked", f"choose from {', '.join(map(str, steps))}")
        if info.field_name == "watch_weight" and value and "watch" in known and known["watch"] is None:
            raise wrong("watch_weight means nothing without a watch", "write watch: 30m, or remove it")
        return value

    @field_validator("manual_gates")
    @classmethod
    def _are_weights(cls, weights: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 1 <= weight <= 100 for weight in weights):
            raise wrong("a weight is a percentage from 1 to 100", "write for example [50, 100]")
        return tuple(sorted(set(weights)))

    @field_validator("gates")
    @classmethod
    def _named_once(cls, gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
        for index, gate in enumerate(gates):
            if any(gate.name == other.name for other in gates[:index]):
                raise wrong(f"two gates are called {gate.name!r}", "rename one", index, "name")
        return gates

    @model_validator(mode="after")
    def _watch_can_be_judged(self) -> Rollout:
        if self.watch is not None and self.watch_weight and self.watch < self.slice:
            raise wrong("the watch is shorter than one slice", f"write {self.slice:g}s or more", "watch")
        return self

    @property
    def tolerated(self) -> float:
        """The ratio canary/stable of bad requests up to which a canary is not harmful: the null of every test."""
        return self.tolerated_ratio if self.tolerated_ratio is not None else math.sqrt(self.least_detectable_ratio)

    @property
    def warm_up_seconds(self) -> float:
        """How long only gross harm counts, in seconds of canary traffic."""
        return WARM_UP if self.warm_up is None else self.warm_up

    @property
    def requests_per_second(self) -> float | None:
        """The expected traffic in requests per second; None if the spec does not say."""
        return _per_second(self.expected_requests) if self.expected_requests else None


def shortest_block(width: float) -> float:
    """Return the length of a block in seconds where the spec does not say it, for slices of `width` seconds."""
    return max(BLOCK, width)


def _per_second(text: str) -> float | None:
    found = _TRAFFIC.fullmatch(text.strip())
    rate = float(found[1]) / _PER[found[2]] if found else 0.0
    return rate or None


def parse_rollout(document: object, locate: Callable[[str], str] = lambda _: "") -> Rollout:
    """Check a bare or wrapped document; `locate` tells where a top-level key stands, as `file:line` (the empty key: the document).

    Raises:
        SpecErrors: every mistake, see `document.read_rollout`.
    """
    from mlops_obs.rollout.spec.document import parse_document  # it needs the models of this module

    return parse_document(document, lambda keys: locate(str(keys[0]) if keys else "")).spec
