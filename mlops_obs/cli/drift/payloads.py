"""`obs drift payloads`: drift of models that cannot be instrumented, from the events of KServe's payload logger.

It runs until SIGTERM, and exports the same metrics as an instrumented model does. The trap: it must outlive whatever is sent to it; what
it cannot read is counted, never fatal.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer


def payloads(
    reference: Annotated[
        list[str], typer.Option("--reference", "-r", help="Profile or table; REVISION=PATH for one revision; may be repeated.")
    ],
    service: Annotated[str, typer.Option("--service", help="Take events of this InferenceService only.")] = "",
    revision: Annotated[str, typer.Option("--revision", help="Revision of events that do not say theirs.")] = "",
    port: Annotated[
        int, typer.Option("--port", envvar="MLOPS_OBS_PAYLOAD_PORT", min=0, max=65535, help="Port of the sink; 0 takes a free one.")
    ] = 8080,
    host: Annotated[str, typer.Option("--host", envvar="MLOPS_OBS_PAYLOAD_HOST", help="Address of the sink.")] = "127.0.0.1",
    metrics_port: Annotated[
        int, typer.Option("--metrics-port", envvar="MLOPS_OBS_METRICS_PORT", min=0, max=65535, help="Port of /metrics; 0: a free one.")
    ] = 0,
    discovery: Annotated[
        Path | None, typer.Option("--discovery", envvar="MLOPS_OBS_DISCOVERY_DIR", help="Folder of file_sd files to announce itself in.")
    ] = None,
) -> None:
    """Watch models for drift through KServe's payload logger, and serve the metrics until SIGTERM.

    Write the sink into the InferenceService: `logger: {mode: all, url: http://SINK:8080/v2}`; the last part of the URL names the revision.
    """
    from mlops_obs.adapters import telemetry
    from mlops_obs.adapters.drift_capture import capture_of
    from mlops_obs.adapters.payload_events import PayloadSink
    from mlops_obs.adapters.process_metrics import DROPPED_ERROR
    from mlops_obs.adapters.telemetry_process import current
    from mlops_obs.collectors.drift.columns import Role
    from mlops_obs.collectors.payloads import PayloadMeter

    references = _references(reference)
    first = next(iter(references.values()))
    roles = {one.name: one.role for one in first.schema}
    features = [name for name in first.feature_names if roles[name] is Role.FEATURE]
    predictions = [name for name in first.feature_names if roles[name] is Role.PREDICTION]
    contents = {name: one.to_bytes() for name, one in references.items()}
    process = current()

    def capture(of_service: str, of_revision: str) -> Callable[[Any], None]:
        content = contents.get(of_revision, contents.get("", next(iter(contents.values()))))

        def drop() -> None:
            process.metrics.drop(of_service, of_revision, DROPPED_ERROR)

        return capture_of(process, (of_service, of_revision, "payloads"), content, (*features, *predictions), drop).table

    meter = PayloadMeter(threading.Lock())
    sink = PayloadSink(capture, features, predictions, meter, service=service, revision=revision, host=host, port=port)
    telemetry.register_collector("payloads", meter.read)
    address = telemetry.serve("payloads", directory=discovery, port=metrics_port)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    sink.start()
    joined = f"requests joined with responses for {', '.join(predictions)}" if predictions else "requests only"
    typer.echo(f"payload events at http://{sink.host}:{sink.port}/REVISION, metrics at http://{address}/metrics; {joined}", err=True)
    stop.wait()
    sink.close()


def _references(options: list[str]) -> dict[str, Any]:
    """Return the references by revision; "" for the one without."""
    from mlops_obs.cli.drift.inputs import load_reference
    from mlops_obs.errors import UsageError

    found: dict[str, Any] = {}
    for option in options:
        name, equals, path = option.partition("=")
        revision, place = (name, path) if equals and not Path(option).exists() else ("", option)
        if revision in found:
            raise UsageError("OBS-PAY-002", f"two references for revision {revision!r}", where=option, todo="give one for each revision")
        found[revision] = load_reference(place)
    names = {one.feature_names for one in found.values()}
    if len(names) > 1:
        raise UsageError(
            "OBS-PAY-003", "the references have different columns", todo="run one sink for each model; a canary's may differ in values only"
        )
    return found
