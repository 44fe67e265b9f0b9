"""Freshness: how old the features are that a model was given, and the tables that they are made from."""

from mlops_obs.collectors.freshness.meter import FreshnessMeter
from mlops_obs.collectors.freshness.schedule import Materialisations, Observation, Schedule
from mlops_obs.collectors.freshness.stale import Stale, stale_features
from mlops_obs.collectors.freshness.values import ValueMeter

__all__ = ["FreshnessMeter", "Materialisations", "Observation", "Schedule", "Stale", "ValueMeter", "stale_features"]
