"""Quality of predictions whose labels arrive later: counted by cohort, weighed by the label clock, watched for concept drift."""

from mlops_obs.collectors.quality.cohorts import QualityMeter
from mlops_obs.collectors.quality.maturation import Maturation
from mlops_obs.collectors.quality.performance import Performance, PerformanceSettings, Predictions, measure

__all__ = ["Maturation", "Performance", "PerformanceSettings", "Predictions", "QualityMeter", "measure"]
