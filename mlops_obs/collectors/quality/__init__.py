"""Quality of predictions whose labels arrive later, counted by cohort."""

from mlops_obs.collectors.quality.cohorts import QualityMeter

__all__ = ["QualityMeter"]
