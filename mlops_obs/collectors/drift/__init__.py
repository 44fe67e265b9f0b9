"""Feature drift: sketches of the training table, and windows of live rows scored against them."""

from mlops_obs.collectors.drift.monitor import DriftMonitor
from mlops_obs.collectors.drift.scores import DriftVerdict, FeatureScore
from mlops_obs.collectors.drift.sketch import ReferenceProfile, Sketch

__all__ = ["DriftMonitor", "DriftVerdict", "FeatureScore", "ReferenceProfile", "Sketch"]
