"""Instrument any stage of the ML life cycle in two lines:

    from mlops_obs.lifecycle import instrument
    telemetry = instrument(service="credit-risk", revision="v2")

    model = telemetry.wrap(model)                    # a KServe model, a Ray Serve class, any function
    with telemetry.request() as request: ...         # or one request by hand
    with telemetry.stage() as run: run.rows(n)       # a job
    meter = telemetry.training()                     # a training loop

This is the API only. What receives it is found through the entry point group `mlops_obs.telemetry`, as the OpenTelemetry API
finds its SDK. If there is none, or it fails to start, programs run on, uninstrumented, and one warning says so: telemetry that
cannot start must never be the reason why a model does not.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points

from mlops_obs.lifecycle.api import Connect, Headers, Request, StageRun, Telemetry, TrainingMeter
from mlops_obs.lifecycle.noop import NoopTelemetry
from mlops_obs.metric_names import STAGE_SERVE

__all__ = ["Connect", "Headers", "NoopTelemetry", "Request", "StageRun", "Telemetry", "TrainingMeter", "instrument", "use"]

ENTRY_POINT_GROUP = "mlops_obs.telemetry"
_log = logging.getLogger("mlops_obs")
_found: list[Connect] = []  # empty until the first call: looking entry points up reads the disk
_used: list[Connect] = []  # overrides, newest last


def instrument(
    service: str,
    revision: str,
    stage: str = STAGE_SERVE,
    reference: bytes | None = None,
    feature_names: Sequence[str] = (),
    client_errors: Sequence[type[BaseException]] = (),
) -> Telemetry:
    """Return the telemetry handle of one (service, revision, stage). Never raises; call it as often as you like.

    Args:
        service: what the SLO is about, e.g. `credit-risk`.
        revision: the model version that answers, e.g. `v2`. Bounded: never a request or customer id.
        stage: `features`, `train`, `serve` or `ingress`.
        reference: the drift reference of the model package (`ReferenceProfile.to_bytes()`); rows given to `features` are compared with it.
        feature_names: names of the columns of those rows, in order.
        client_errors: exception types that are the caller's fault and never burn the budget.
    """
    try:
        connect = _used[-1] if _used else _implementation()
        return connect(
            service=service,
            revision=revision,
            stage=stage,
            reference=reference,
            feature_names=tuple(feature_names),
            client_errors=tuple(client_errors),
        )
    except Exception:  # noqa: BLE001 - a model must start although its telemetry cannot
        _log.warning("mlops_obs: telemetry of %s %s (%s) could not start; it runs uninstrumented", service, revision, stage, exc_info=True)
        return NoopTelemetry(service, revision, stage)


@contextmanager
def use(connect: Connect) -> Iterator[None]:
    """Use `connect` for every `instrument` call in the block, e.g. `mlops_obs.testing.telemetry.Recorder().connect` in a test."""
    _used.append(connect)
    try:
        yield
    finally:
        _used.remove(connect)


def _implementation() -> Connect:
    if not _found:
        candidates = sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda one: one.name)
        if not candidates:
            _log.warning("mlops_obs: nothing is installed under the entry point group %s; programs run uninstrumented", ENTRY_POINT_GROUP)
            _found.append(_noop)
        else:
            _found.append(candidates[0].load())
    return _found[0]


def _noop(*, service: str, revision: str, stage: str, **_: object) -> Telemetry:
    return NoopTelemetry(service, revision, stage)
