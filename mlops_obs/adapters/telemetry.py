"""The implementation behind `mlops_obs.lifecycle`: exact metrics on a port of this process, traces, drift, discovery.

All handles of a process share one registry, one server and one background thread. Environment:

    MLOPS_OBS_DISCOVERY_DIR   folder for this process's file_sd file; setting it starts the server
    MLOPS_OBS_METRICS_PORT    fixed port; setting it starts the server (default 0: any free port)
    MLOPS_OBS_METRICS_HOST    address to bind (default 127.0.0.1)
    MLOPS_OBS_LAST_SCRAPE_SECONDS   how long a process that ends may wait to be scraped once more (default 0); twice the
                              scrape interval makes sure that a short job's last counts are seen
    MLOPS_OBS_TRACE_FILE, OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER_ARG    see `adapters.tracing`

A process killed by a signal cannot take its discovery file along: the monitoring side calls `adapters.discovery.prune_dead`.
The trap: each process serves its own counters, so a fixed port suits one process per pod; everywhere else leave it free and let
discovery find it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlops_obs.adapters.process_metrics import Read
from mlops_obs.adapters.telemetry_handle import PrometheusTelemetry
from mlops_obs.adapters.telemetry_process import current
from mlops_obs.lifecycle.api import Telemetry

_OWN = "process"  # owner of collectors that belong to no handle


def connect(
    *,
    service: str,
    revision: str,
    stage: str,
    reference: bytes | None = None,
    feature_names: Sequence[str] = (),
    client_errors: Sequence[type[BaseException]] = (),
) -> Telemetry:
    """Return a handle of this process: what the entry point `mlops_obs.telemetry` names. Use `lifecycle.instrument` instead."""
    return PrometheusTelemetry(service, revision, stage, reference, tuple(feature_names), tuple(client_errors))


def serve(name: str, *, directory: Path | None = None, port: int | None = None) -> str | None:
    """Serve this process's metrics as `name`, for exporters and controllers that answer no requests.

    Returns the address `host:port`, or None if neither arguments nor environment ask for a server.
    Raises PlatformError OBS-TEL-001 (port taken) or OBS-TEL-002 (discovery folder not writable).
    """
    server = current().start(name, directory=directory, port=port, strict=True)
    return f"{server.host}:{server.port}" if server else None


def register_collector(name: str, read: Read) -> None:
    """Export what `read` returns at every scrape of this process, and start the server if the environment asks for one."""
    process = current()
    process.metrics.register(name, _OWN, read)
    process.start(name)


def telemetry_text(accept: str = "") -> str:
    """Return what a scrape of this process would return now; OpenMetrics with exemplars if `accept` names it."""
    return current().metrics.text(accept)[0].decode()


def address() -> str | None:
    """Return `host:port` of this process's metrics, or None if it serves none."""
    server = current().server
    return f"{server.host}:{server.port}" if server else None
