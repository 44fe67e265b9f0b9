"""Alarms that keep a budget of false ones: how many, is said in words; which feature, what kind and since when, is said by the alarm."""

from mlops_obs.collectors.drift.alarms.alarm import Alarm, RowSpan
from mlops_obs.collectors.drift.alarms.budget import Budget, Ledger
from mlops_obs.collectors.drift.alarms.detector import Detector, Watched
from mlops_obs.collectors.drift.alarms.normal import Normal

__all__ = ["Alarm", "Budget", "Detector", "Ledger", "Normal", "RowSpan", "Watched"]
