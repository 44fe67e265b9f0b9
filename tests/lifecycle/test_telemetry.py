from __future__ import annotations

import json
import logging
import socket
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from mlops_obs.adapters import metrics_server, telemetry
from mlops_obs.adapters.telemetry_process import Process
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.errors import PlatformError
from mlops_obs.lifecycle import instrument
from mlops_obs.metric_names import ROLLOUT_WEIGHT, Reading


def _value(line: str) -> float:
    """Return the value of the series whose exposition line starts with `line`."""
    found = [text for text in telemetry.telemetry_text().splitlines() if text.startswith(line)]
    assert len(found) == 1, telemetry.telemetry_text()
    return float(found[0].rsplit(" ", 1)[1])


def _requests(outcome: str) -> float:
    return _value(f'mlops_obs_requests_total{{outcome="{outcome}",revision="v1",service="credit-risk",stage="serve"}}')


def _dropped() -> float:
    return _value('mlops_obs_observations_dropped_total{reason="instrumentation_error",')


def test_two_lines_count_what_became_of_requests(process: Process) -> None:
    handle = instrument("credit-risk", "v1", client_errors=[KeyError])

    with handle.request():
        pass
    with handle.request() as request:
        request.client_error()
    with pytest.raises(KeyError), handle.request():
        raise KeyError("unknown customer")
    with pytest.raises(RuntimeError), handle.request():
        raise RuntimeError("broken")
    with handle.request() as request:
        request.error()

    assert (_requests("ok"), _requests("client_error"), _requests("error")) == (1.0, 2.0, 2.0)
    assert _value("mlops_obs_request_duration_seconds_count") == 5.0
    assert _dropped() == 0.0


def test_a_stage_run_counts_rows_and_how_it_ended(process: Process) -> None:
    handle = instrument("credit-risk", "v2", stage="features")

    with handle.stage() as run:
        run.rows(40)
        run.rows(2)
    with pytest.raises(OSError, match="disk"), handle.stage():
        raise OSError("disk full")

    assert _value('mlops_obs_stage_rows_total{revision="v2"') == 42.0
    assert _value('mlops_obs_stage_runs_total{outcome="ok"') == 1.0
    assert _value('mlops_obs_stage_runs_total{outcome="error"') == 1.0
    assert "mlops_obs_requests_total" not in telemetry.telemetry_text()


def test_a_run_has_a_trace_id_for_the_model_package_even_where_nothing_is_traced(process: Process) -> None:
    with instrument("credit-risk", "v2", stage="train").stage() as run:
        assert run.trace_id == run.trace_id
        assert run.trace_id == run.traceparent.split("-")[1]
        assert run.traceparent.endswith("-00")


def test_an_unsampled_request_passes_the_callers_decision_on(process: Process) -> None:
    header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    handle = instrument("credit-risk", "v1")

    with handle.request(headers={"traceparent": header}) as request:
        assert request.traceparent == header
    with handle.request(headers={"traceparent": "rubbish"}) as request:
        assert request.traceparent.startswith("00-")
        assert request.trace_id == ""


class _Hostile(Exception):
    @property
    def status_code(self) -> int:
        raise ValueError("I break whoever looks at me")


def test_an_exception_that_breaks_whoever_looks_at_it_is_still_counted_and_still_passes(process: Process) -> None:
    handle = instrument("credit-risk", "v1")

    with pytest.raises(_Hostile), handle.request():
        raise _Hostile

    assert _requests("error") == 1.0


def test_a_fault_inside_the_instrumentation_is_counted_and_the_model_answers(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = instrument("credit-risk", "v1")
    model = handle.wrap(lambda value: value + 1)
    monkeypatch.setattr(handle._requests, "_lock", None)  # type: ignore[attr-defined]

    assert model(1) == 2
    assert process.metrics._dropped["credit-risk", "v1", "instrumentation_error"] == 1


def test_handles_with_the_same_labels_count_into_the_same_series(process: Process) -> None:
    for _ in range(3):
        with instrument("credit-risk", "v1").request():
            pass

    assert _requests("ok") == 3.0


def test_rows_given_to_a_request_reach_the_drift_profile(process: Process) -> None:
    normal = np.random.default_rng(1).normal(size=(4000, 2))
    reference = ReferenceProfile.from_columns({"income": normal[:, 0], "debt": normal[:, 1]}).to_bytes()
    handle = instrument("credit-risk", "v1", reference=reference, feature_names=["income", "debt"])

    with handle.request() as request:
        request.features(normal[0])
        request.features(normal[1:5])
        request.features(["not", "numbers"])  # data of a wrong type is data
        request.features([1.0, 2.0, 3.0])  # a row of another width is not
    for fold in process.folds.values():
        fold()

    assert _value("mlops_obs_drift_rows_total") == 6.0
    assert _value('mlops_obs_collector_up{collector="drift",reason=""}') == 1.0
    assert _dropped() == 1.0


def test_a_broken_reference_is_said_and_the_model_is_served_without_drift(process: Process, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mlops_obs"):
        handle = instrument("credit-risk", "v1", reference=b"not a profile")
    with handle.request() as request:
        request.features([1.0])

    assert _value('mlops_obs_collector_up{collector="drift"') == 0.0
    assert _requests("ok") == 1.0
    assert "is not watched" in caplog.text


def test_a_training_meter_is_exported_and_there_is_one_per_handle(process: Process) -> None:
    handle = instrument("credit-risk", "v1", stage="train")
    meter = handle.training()
    with meter.phase("compute"):
        meter.step(0.7, 32)

    assert handle.training() is meter
    assert _value("mlops_obs_training_steps_total") == 1.0
    assert _value("mlops_obs_training_samples_total") == 32.0


def test_a_program_without_requests_exports_its_collectors_too(process: Process) -> None:
    labels = {"service": "credit-risk", "revision": "v2"}
    telemetry.register_collector("rollout", lambda: [Reading(ROLLOUT_WEIGHT, labels, 0.2)])

    assert _value("mlops_obs_rollout_weight_ratio") == 0.2


def test_nothing_is_served_unless_the_environment_asks(process: Process) -> None:
    instrument("credit-risk", "v1")

    assert telemetry.address() is None


def test_a_discovery_folder_starts_one_server_for_all_handles_of_the_process(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_OBS_DISCOVERY_DIR", str(tmp_path / "discovery"))
    for revision in ("v1", "v2"):
        with instrument("credit-risk", revision, stage="ingress").request():
            pass

    files = list((tmp_path / "discovery").iterdir())
    target = json.loads(files[0].read_text())[0]["targets"][0]
    with urllib.request.urlopen(f"http://{target}/metrics", timeout=10) as response:
        body = response.read().decode()
    process.close()

    assert len(files) == 1
    assert 'revision="v1"' in body
    assert 'revision="v2"' in body
    assert list((tmp_path / "discovery").iterdir()) == []


def test_other_paths_say_where_the_metrics_are(process: Process) -> None:
    address = telemetry.serve("exporter", port=0)

    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://{address}/", timeout=10)


def test_a_taken_port_is_an_error_for_an_exporter_and_a_warning_for_a_model(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(PlatformError, match="OBS-TEL-001"):
            telemetry.serve("exporter", port=port)
        monkeypatch.setenv("MLOPS_OBS_METRICS_PORT", str(port))
        with caplog.at_level(logging.WARNING, "mlops_obs"):
            instrument("credit-risk", "v1")

    assert telemetry.address() not in (None, f"127.0.0.1:{port}")
    assert "taking a free port" in caplog.text


def test_a_discovery_folder_that_cannot_be_written_is_an_error_for_an_exporter_and_a_warning_for_a_model(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLOPS_OBS_DISCOVERY_DIR", str(tmp_path / "file"))

    with caplog.at_level(logging.WARNING, "mlops_obs"):
        instrument("credit-risk", "v1")
    with pytest.raises(PlatformError, match="OBS-TEL-002"):
        telemetry.serve("exporter")

    assert "OBS-TEL-002" in caplog.text


@pytest.mark.parametrize(("header", "seconds"), [("1", 0.7), ("10", 7.0), ("1e9", 42.0), ("-1", 0.07), ("", 2.0), ("soon", 2.0)])
def test_collectors_may_take_most_of_the_time_that_the_scraper_waits(header: str, seconds: float) -> None:
    assert metrics_server._seconds(header) == pytest.approx(seconds)
