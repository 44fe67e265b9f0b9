from __future__ import annotations

import logging
from typing import Any

import pytest

from mlops_obs.adapters.telemetry_handle import PrometheusTelemetry
from mlops_obs.lifecycle import NoopTelemetry, instrument, use
from mlops_obs.testing.telemetry import Recorder


def test_instrument_finds_the_implementation_through_its_entry_point(process: object) -> None:
    assert isinstance(instrument(service="credit-risk", revision="v1"), PrometheusTelemetry)


def test_an_implementation_that_cannot_start_leaves_the_program_running(caplog: pytest.LogCaptureFixture) -> None:
    def broken(**_: Any) -> Any:
        raise OSError("no such device")

    with use(broken), caplog.at_level(logging.WARNING, "mlops_obs"):
        telemetry = instrument("credit-risk", "v1")

    assert isinstance(telemetry, NoopTelemetry)
    assert "runs uninstrumented" in caplog.text


def test_the_no_op_answers_the_whole_api() -> None:
    telemetry = NoopTelemetry("credit-risk", "v1", "train")

    def function() -> int:
        return 1

    with telemetry.request() as request:
        request.client_error(), request.error(), request.status(500), request.features([1.0]), request.attribute("a", 1)
    with telemetry.stage() as run:
        run.rows(3)
    meter = telemetry.training()
    with meter.phase("compute"):
        meter.step(0.5, 8), meter.checkpoint(), meter.restart()
    telemetry.register_collector("x", list)

    assert telemetry.wrap(function) is function
    assert meter.read() == []


def test_the_recorder_shows_a_test_what_the_code_said(recorder: Recorder) -> None:
    with use(recorder.connect):
        telemetry = instrument("credit-risk", "v2", client_errors=[KeyError])

    with telemetry.request() as request:
        request.features([1.0, 2.0])
        request.attribute("customer_kind", "new")
    with pytest.raises(KeyError), telemetry.request():
        raise KeyError("customer")
    with telemetry.stage() as run:
        run.rows(7)

    assert recorder.outcomes() == ["ok", "client_error"]
    assert recorder.outcomes("stage") == ["ok"]
    assert recorder.feature_rows == [[1.0, 2.0]]
    assert recorder.events[0].attributes == {"customer_kind": "new"}
    assert recorder.events[2].row_count == 7
