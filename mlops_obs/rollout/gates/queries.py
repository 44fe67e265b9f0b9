"""The port for gates that ask a question of their own in PromQL, and the gate that does.

The traps are the answers that are none: an empty vector, several series of which a careless reader takes the last, NaN
(which is neither above nor below anything), an outage. Each of them is no data, and no data holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from mlops_obs.durations import humanize_duration
from mlops_obs.errors import ObsError
from mlops_obs.rollout.evidence.slices import Arms
from mlops_obs.rollout.gates.reading import GateReading
from mlops_obs.rollout.spec.gates import REVISION_MARK, PromqlGate
from mlops_obs.slo.counters import Series

_POINTS = 4  # how many moments of the past must be bad too before a gate fails


@runtime_checkable
class QuerySource(Protocol):
    """A source of metrics that evaluates PromQL: Prometheus and whatever speaks like it. The embedded engine does not."""

    def query(self, promql: str, at: float | None = None) -> Sequence[Series]:
        """Evaluate `promql` at Unix time `at`; each series has one sample. Raises TelemetryUnavailable for any answer that is not whole."""
        ...


def read_promql(gate: PromqlGate, source: object, arms: Arms, now: float) -> GateReading:
    """Ask the query of `gate` about both revisions at `now`, and about the canary at moments of its `for` before.

    It is bad only if it was bad at each of them; a value that is bad now and was good before waits. Raises
    TelemetryUnavailable if the source does not answer.
    """

    def reading(ok: bool | None, words: str, canary: float | None = None, stable: float | None = None) -> GateReading:
        return GateReading(gate.name, canary, stable, ok, words, gate.on_fail, gate.dry_run)

    if not isinstance(source, QuerySource):
        return reading(None, "the embedded engine answers no PromQL; set prometheus: in obs.yaml, or remove the gate")
    try:
        value = _one(source, gate, arms.canary, now)
    except ValueError as error:
        return reading(None, str(error))
    try:
        stable: float | None = _one(source, gate, arms.stable, now)
    except (ObsError, ValueError):
        stable = None  # nothing to compare with
    limits = _limits(gate)
    if not _bad(gate, value):
        return reading(True, f"{value:g} is within {limits}", value, stable)
    try:
        before = [_one(source, gate, arms.canary, now - gate.for_ * part / _POINTS) for part in range(1, _POINTS + 1)]
    except (ObsError, ValueError) as error:
        return reading(None, f"{value:g} is not within {limits}, but for how long cannot be told: {_why(error)}", value, stable)
    if all(_bad(gate, one) for one in before):
        if gate.on_fail == "rollback" and stable is not None and _bad(gate, stable):  # no reason to send anybody back to it
            return reading(
                None, f"{value:g} is not within {limits}, but neither is {stable:g} of {arms.stable}: both suffer", value, stable
            )
        return reading(False, f"{value:g} has not been within {limits} for {humanize_duration(gate.for_)}", value, stable)
    return reading(None, f"{value:g} is not within {limits}, for less than {humanize_duration(gate.for_)} so far", value, stable)


def _one(source: QuerySource, gate: PromqlGate, revision: str, at: float) -> float:
    """Return the one number that the query answers; ValueError, in words, if it answers anything else."""
    escaped = revision.replace("\\", "\\\\").replace('"', '\\"')
    found = source.query(gate.query.replace(REVISION_MARK, escaped), at)
    if not found or not found[0].samples:
        raise ValueError(f"the query has no answer for {revision}")
    if len(found) > 1:
        raise ValueError(f"the query answers {len(found)} series for {revision}; aggregate them to one, for example with sum()")
    value = float(found[0].samples[-1][1])
    if not math.isfinite(value):
        raise ValueError(f"the query answers {value} for {revision}")
    return value


def _bad(gate: PromqlGate, value: float) -> bool:
    return (gate.min is not None and value < gate.min) or (gate.max is not None and value > gate.max)


def _limits(gate: PromqlGate) -> str:
    low, high = "" if gate.min is None else f"{gate.min:g}", "" if gate.max is None else f"{gate.max:g}"
    return f"{low} to {high}" if low and high else f"at least {low}" if low else f"at most {high}"


def _why(error: Exception) -> str:
    return error.what if isinstance(error, ObsError) else str(error)
