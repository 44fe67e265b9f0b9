"""Gates beside errors and slow requests: those that count fill the slices, those with a threshold are read at each look."""

from mlops_obs.rollout.gates.queries import QuerySource
from mlops_obs.rollout.gates.reading import GateReading
from mlops_obs.rollout.gates.watch import GateWatch

__all__ = ["GateReading", "GateWatch", "QuerySource"]
