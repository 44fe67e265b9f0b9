"""Looks at the gates of a rollout that compare a number with a threshold.

The trap: a slow source must not delay the protection of the service, so readings are kept for a while, and whatever goes
wrong in one gate is that gate's missing data and nobody else's.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlops_obs.errors import ObsError, TelemetryUnavailable
from mlops_obs.rollout.evidence.slices import Arms
from mlops_obs.rollout.gates.comparing import read_drift, read_gpu_cost, read_quality
from mlops_obs.rollout.gates.counting import why_uncounted
from mlops_obs.rollout.gates.queries import read_promql
from mlops_obs.rollout.gates.reading import GateReading
from mlops_obs.rollout.spec.gates import CountersGate, DriftGate, Gate, GpuCostGate, PromqlGate, QualityGate, SloGate
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.slo.counters import CounterSource
from mlops_obs.slo.spec import SLO

REFRESH = 15.0  # seconds for which a reading is good enough


class GateWatch:
    """Reads the gates of one rollout; after the first look at most one gate is read anew per look.

    Gates that count are the judge's, who cannot say why one never speaks; those that never will are told here.
    """

    def __init__(self, spec: Rollout, source: CounterSource, slos: Sequence[SLO] = ()) -> None:
        self._spec, self._source = spec, source
        by_name = {slo.name: slo for slo in slos if slo.service == spec.service}
        self._mute = tuple(
            GateReading(gate.name, None, None, None, f"it has no data: {why}", dry_run=gate.dry_run)
            for gate in spec.gates
            if isinstance(gate, SloGate | CountersGate) and (why := why_uncounted(gate, by_name))
        )
        self._gates = [gate for gate in spec.gates if isinstance(gate, DriftGate | GpuCostGate | PromqlGate | QualityGate)]
        self._away = ""  # why the source does not answer in this look
        self._known: dict[str, tuple[float, float, GateReading]] = {}  # read when, for the step that began when

    def look(self, arms: Arms, began_at: float | None, step_started_at: float | None, now: float) -> tuple[GateReading, ...]:
        """Return a reading of each gate with a threshold and of each that cannot count; none before the canary has traffic. Never raises.

        Args:
            arms: who is compared.
            began_at: when the canary first got traffic (Unix seconds); None: not yet.
            step_started_at: when the target showed this step; None: it has not yet.
            now: Unix seconds.
        """
        if began_at is None:
            return ()
        since = began_at if step_started_at is None else step_started_at
        due = [gate for gate in self._gates if gate.name not in self._known or self._known[gate.name][1] != since]
        old = [gate for gate in self._gates if gate not in due and not 0 <= now - self._known[gate.name][0] < REFRESH]
        self._away = ""
        for gate in due or sorted(old, key=lambda one: self._known[one.name][0])[:1]:
            # A source that does not answer takes its whole timeout for each question; one such wait per look is enough.
            reading = self._mute_reading(gate, self._away) if self._away else self._read(gate, arms, began_at, since, now)
            self._known[gate.name] = (now, since, reading)
        return (*(self._known[gate.name][2] for gate in self._gates), *self._mute)

    def _read(self, gate: Gate, arms: Arms, began_at: float, since: float, now: float) -> GateReading:
        try:
            if isinstance(gate, PromqlGate):
                return read_promql(gate, self._source, arms, now)
            if isinstance(gate, DriftGate):
                return read_drift(gate, self._source, self._spec, arms, since, now)
            if isinstance(gate, GpuCostGate):
                return read_gpu_cost(gate, self._source, self._spec, arms, since, now)
            if isinstance(gate, QualityGate):
                return read_quality(gate, self._source, self._spec, arms, began_at, now)
            raise ValueError(f"a gate of type {gate.type} has no threshold")
        except TelemetryUnavailable as error:
            self._away = why = error.what
        except ObsError as error:
            why = error.what
        except Exception as error:  # noqa: BLE001 - a surprise in one gate is that gate's missing data
            why = f"unexpected {type(error).__name__}: {error}"
        return self._mute_reading(gate, why)

    def _mute_reading(self, gate: Gate, why: str) -> GateReading:
        on_fail = gate.on_fail if isinstance(gate, PromqlGate) else "hold"
        return GateReading(gate.name, None, None, None, why, on_fail, gate.dry_run)
