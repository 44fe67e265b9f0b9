"""Training-serving skew: whether a feature is the same offline, online and in the model's input, request by request."""

from mlops_obs.collectors.skew.join import Joiner
from mlops_obs.collectors.skew.kinds import Between, Finding, SkewKind
from mlops_obs.collectors.skew.records import Recomputed, Served
from mlops_obs.collectors.skew.sampling import sampled
from mlops_obs.collectors.skew.watch import Settings, SkewWatch

__all__ = ["Between", "Finding", "Joiner", "Recomputed", "Served", "Settings", "SkewKind", "SkewWatch", "sampled"]
