"""Feature drift: sketches of the training table, and windows of live rows scored against them."""

from mlops_obs.collectors.drift.monitor import DriftMonitor
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.results import Verdict

__all__ = ["DriftMonitor", "ReferenceProfile", "Verdict"]
