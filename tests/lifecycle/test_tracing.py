"""Tracing is global in OpenTelemetry, so each of these runs a program of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def _run(program: str, **env: str) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "MLOPS_OBS_"))}
    done = subprocess.run([sys.executable, "-c", program], env={**clean, **env}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def _spans(path: Path) -> dict[str, dict[str, object]]:
    return {span["name"]: span for span in map(json.loads, path.read_text().splitlines())}


def test_a_request_becomes_a_span_with_its_outcome_and_an_exemplar_with_its_trace_id(tmp_path: Path) -> None:
    program = """
from mlops_obs.adapters.telemetry import telemetry_text
from mlops_obs.lifecycle import instrument
telemetry = instrument("credit-risk", "v1")
try:
    with telemetry.request() as request:
        request.attribute("customer_kind", "new")
        raise ValueError("boom")
except ValueError:
    print(request.trace_id)
    print(telemetry_text("application/openmetrics-text;version=1.0.0"))
"""
    out = _run(program, MLOPS_OBS_TRACE_FILE=str(tmp_path / "t.jsonl"), OTEL_TRACES_SAMPLER_ARG="1")
    span = _spans(tmp_path / "t.jsonl")["credit-risk serve"]

    assert out.splitlines()[0] == span["trace_id"]
    assert f'# {{trace_id="{span["trace_id"]}"}}' in out
    assert span["status"] == "error"
    assert span["attributes"] == {
        "mlops_obs.service": "credit-risk",
        "mlops_obs.revision": "v1",
        "mlops_obs.stage": "serve",
        "mlops_obs.outcome": "error",
        "customer_kind": "new",
    }
    assert [event["name"] for event in span["events"]] == ["exception"]


def test_a_trace_goes_through_both_hops_and_the_programs_own_spans_join_it(tmp_path: Path) -> None:
    program = f"""
from opentelemetry import trace
from mlops_obs.lifecycle import instrument
ingress, serve = instrument("credit-risk", "v1", stage="ingress"), instrument("credit-risk", "v1")
with ingress.request(headers={{"traceparent": "00-{TRACE}-{SPAN}-01"}}) as outer:
    header = outer.traceparent
with serve.request(traceparent=header):
    with trace.get_tracer("theirs").start_as_current_span("lookup"):
        pass
"""
    _run(program, MLOPS_OBS_TRACE_FILE=str(tmp_path / "t.jsonl"), OTEL_TRACES_SAMPLER_ARG="0")
    spans = _spans(tmp_path / "t.jsonl")

    assert {span["trace_id"] for span in spans.values()} == {TRACE}
    assert spans["credit-risk ingress"]["parent_id"] == SPAN
    assert spans["credit-risk serve"]["parent_id"] == spans["credit-risk ingress"]["span_id"]
    assert spans["lookup"]["parent_id"] == spans["credit-risk serve"]["span_id"]


def test_at_ratio_zero_stages_are_traced_and_requests_are_not_nor_are_their_children(tmp_path: Path) -> None:
    program = f"""
from opentelemetry import trace
from mlops_obs.lifecycle import instrument
telemetry = instrument("credit-risk", "v1", stage="features")
with telemetry.stage():
    pass
with telemetry.request() as request:
    assert request.trace_id == ""
with telemetry.request(traceparent="00-{TRACE}-{SPAN}-00"):
    pass
with trace.get_tracer("theirs").start_as_current_span("theirs"):
    pass
"""
    _run(program, MLOPS_OBS_TRACE_FILE=str(tmp_path / "t.jsonl"), OTEL_TRACES_SAMPLER_ARG="0")

    assert list(_spans(tmp_path / "t.jsonl")) == ["credit-risk features"]


def test_a_program_that_set_its_own_provider_keeps_it() -> None:
    program = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter = InMemorySpanExporter()
mine = TracerProvider()
mine.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(mine)
from mlops_obs.lifecycle import instrument
with instrument("credit-risk", "v1").request():
    pass
print([span.name for span in exporter.get_finished_spans()])
"""
    assert _run(program).strip() == "['credit-risk serve']"


def test_a_stream_that_is_closed_elsewhere_leaves_no_complaint(tmp_path: Path) -> None:
    program = """
import asyncio, contextvars, gc
from mlops_obs.lifecycle import instrument
telemetry = instrument("credit-risk", "v1")
@telemetry.wrap
async def stream():
    yield 1
    yield 2
async def main():
    items = stream()
    await contextvars.copy_context().run(asyncio.ensure_future, items.__anext__())
    await items.aclose()
asyncio.run(main())
"""
    env = {"MLOPS_OBS_TRACE_FILE": str(tmp_path / "t.jsonl"), "OTEL_TRACES_SAMPLER_ARG": "1"}
    _run(program, **env)

    assert _spans(tmp_path / "t.jsonl")["credit-risk serve"]["attributes"]["mlops_obs.outcome"] == "client_error"  # type: ignore[index]


def test_an_unwritable_trace_file_or_a_wrong_ratio_never_stops_the_model() -> None:
    program = """
from mlops_obs.lifecycle import instrument
with instrument("credit-risk", "v1", stage="train").stage():
    print("trained")
"""
    assert _run(program, MLOPS_OBS_TRACE_FILE="/proc/nowhere/t.jsonl", OTEL_TRACES_SAMPLER_ARG="lots") == "trained\n"
