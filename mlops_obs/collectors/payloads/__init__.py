"""Payload logs of model servers as a source of rows: events of requests and responses, joined by their id, in bounded memory."""

from mlops_obs.collectors.payloads.events import Event, EventError, events_of
from mlops_obs.collectors.payloads.meter import PayloadMeter
from mlops_obs.collectors.payloads.pairing import Pair, Pairing

__all__ = ["Event", "EventError", "Pair", "Pairing", "PayloadMeter", "events_of"]
