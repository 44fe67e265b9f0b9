"""Feature freshness: how old the features are that a model was given."""

from mlops_obs.collectors.freshness.meter import FreshnessMeter

__all__ = ["FreshnessMeter"]
