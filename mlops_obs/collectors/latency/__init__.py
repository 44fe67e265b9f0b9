"""Requests and stage runs: how many, how they ended, how long they took."""

from mlops_obs.collectors.latency.meter import Exemplar, OutcomeMeter, Snapshot

__all__ = ["Exemplar", "OutcomeMeter", "Snapshot"]
