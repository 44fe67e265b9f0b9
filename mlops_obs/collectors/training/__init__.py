"""Training runs: steps, loss and where the wall time goes."""

from mlops_obs.collectors.training.meter import PHASES, TrainingMeter

__all__ = ["PHASES", "TrainingMeter"]
