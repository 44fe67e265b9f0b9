"""What a person writes to ship a revision.

The trap: a typo in a safety setting that is silently ignored. Unknown keys are refused with the nearest known one,
and every limit is checked before anything is deployed.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from mlops_obs.durations import parse_duration
from mlops_obs.errors import SpecError
from mlops_obs.metric_names import LATENCY_BUCKETS, STAGE_INGRESS


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("write a duration such as 10s or 250ms")
    if isinstance(value, str):
        try:
            return float(parse_duration(value))
        except SpecError as error:
            raise ValueError(f"{error.what}; {error.todo}") from error
    if not 0 < value < math.inf:
        raise ValueError("a duration is positive and finite")
    return float(value)


Seconds = Annotated[float, BeforeValidator(_seconds)]


class Rollout(BaseModel):
    """One rollout of one revision. Durations are written as `10s` and held in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    service: str = Field(min_length=1)
    canary: str = Field(min_length=1, description="revision to ship")
    package: str = Field(min_length=1, description="model package of the canary: a folder or URI that the target understands")
    steps: tuple[int, ...] = Field((20, 50, 100), description="percent of traffic for the canary, step by step")
    step_duration_min: Seconds = Field(10.0, description="shortest time at a step")
    alpha: float = Field(0.01, gt=0, lt=0.5, description="chance that a healthy canary is ever rolled back, over all tests and all looks")
    alpha_accept: float = Field(0.05, gt=0, lt=0.5, description="chance, per test and step, of accepting a canary worse by the margin")
    least_detectable_odds: float = Field(2.0, ge=1, description="odds ratio canary/stable that is still tolerated")
    non_inferiority_margin: float = Field(0.05, gt=0, lt=1, description="how many more failed requests, as a share, are still acceptable")
    slow_margin: float = Field(0.1, gt=0, lt=1, description="the same for slow requests; wider, since a slow answer is still an answer")
    latency_threshold: Seconds = Field(0.25, description="slower than this is slow; one of the histogram's bounds")
    deadline: Seconds = Field(1800.0, description="time for the whole rollout")
    on_inconclusive: Literal["hold", "rollback"] = Field("hold", description="what to do when the deadline passes without a verdict")
    stage: str = Field(STAGE_INGRESS, description="stage whose requests are judged")
    slice: Seconds = Field(2.0, description="width of the time slices in which canary and stable are compared")
    stale_after: Seconds = Field(10.0, description="evidence whose newest sample is older than this is unknown")
    warm_up: Seconds | None = Field(None, description="leave out the canary's first seconds of traffic")

    @field_validator("steps")
    @classmethod
    def _rise_to_100(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if not steps or steps[-1] != 100 or steps[0] < 1 or any(a >= b for a, b in pairwise(steps)):
            raise ValueError("steps must rise and end at 100, for example [20, 50, 100]")
        return steps

    @field_validator("latency_threshold")
    @classmethod
    def _is_a_bucket(cls, threshold: float) -> float:
        if threshold not in LATENCY_BUCKETS:
            near = min(LATENCY_BUCKETS, key=lambda bound: abs(bound - threshold))
            raise ValueError(f"{threshold:g} s is not a bound of the latency histogram; the nearest is {near:g} s")
        return threshold


def parse_rollout(document: object, locate: Callable[[str], str] = lambda _: "") -> Rollout:
    """Check a rollout document; `locate` tells where a key stands, as `file:line` (the empty key: the document).

    Raises:
        SpecError: OBS-ROLL-001 not a mapping, OBS-ROLL-002 unknown key, OBS-ROLL-003 a value is wrong or missing.
    """
    if not isinstance(document, dict):
        raise SpecError(
            "OBS-ROLL-001", "a rollout is a mapping of keys", where=locate(""), todo="start with service:, canary: and package:"
        )
    try:
        return Rollout.model_validate(document)
    except ValidationError as error:
        problems = error.errors()
        # A misspelt key is also a missing one; its own name is the better hint.
        raise _explain(next((one for one in problems if one["type"] == "extra_forbidden"), problems[0]), locate) from error


def _explain(problem: Mapping[str, Any], locate: Callable[[str], str]) -> SpecError:
    key = str(problem["loc"][0]) if problem["loc"] else ""
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, Rollout.model_fields, n=1)
        todo = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(Rollout.model_fields)}"
        return SpecError("OBS-ROLL-002", f"unknown key {key}", where=locate(key), todo=todo)
    if problem["type"] == "missing":
        flag = {"canary": " or pass --revision", "package": " or pass --package"}.get(key, "")
        return SpecError("OBS-ROLL-003", f"{key} is missing", where=locate(""), todo=f"add {key}: ...{flag}")
    said = str(problem["msg"]).removeprefix("Value error, ")
    return SpecError("OBS-ROLL-003", f"{key}: {said}", where=locate(key), todo="correct the value")
