"""`obs collect`: exporters for what no model process can say about itself: the GPUs of a node, the age of a feature
store, labels that arrive after the prediction.

They run until SIGTERM, answer scrapes only, and keep running when their source is away: then the scrape says
`mlops_obs_collector_up 0` and the reason, which is an alert, where an exporter that crashes is only a gap.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mlops_obs.metric_names import Reading

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Run a collector and serve its metrics until SIGTERM.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Discovery = Annotated[
    Path | None, typer.Option("--discovery", envvar="MLOPS_OBS_DISCOVERY_DIR", help="Folder of file_sd files to announce itself in")
]
Port = Annotated[
    int, typer.Option("--port", envvar="MLOPS_OBS_METRICS_PORT", min=0, max=65535, help="Port of /metrics; 0 takes a free one")
]


@app.command()
def gpu(discovery: Discovery = None, port: Port = 0) -> None:
    """Export the GPUs of this node: utilisation, memory, power, energy, temperature, and lost ones."""
    from mlops_obs.adapters.nvml import NvmlSource

    source = NvmlSource()
    try:
        _serve("gpu", source.read, discovery, port)
    finally:
        source.close()


@app.command()
def freshness(
    config: Annotated[Path, typer.Option("--config", help="Query and views")] = Path("collectors/freshness/collector.yaml"),
    store: Annotated[Path | None, typer.Option("--store", help="SQLite file; overrides the one in the configuration")] = None,
    discovery: Discovery = None,
    port: Port = 0,
) -> None:
    """Export the age of each feature view in an online store, and of its upstream tables with their late and missing materialisations."""
    from mlops_obs.adapters.feature_store import SqliteFreshness, load_config
    from mlops_obs.adapters.table_freshness import TableFreshness

    settings = load_config(config)
    reads: dict[str, Callable[[], list[Reading]]] = {}
    if settings.views:
        reads["freshness"] = SqliteFreshness(settings, store or config.parent / settings.store).read
    if settings.tables:
        reads["tables"] = TableFreshness(settings.service, settings.tables, config.parent).read
    _serve("freshness", reads, discovery, port)


@app.command()
def quality(
    config: Annotated[Path, typer.Option("--config", help="Query, cohorts and how long they are kept")] = Path(
        "collectors/quality/collector.yaml"
    ),
    store: Annotated[Path | None, typer.Option("--store", help="SQLite file; overrides the one in the configuration")] = None,
    discovery: Discovery = None,
    port: Port = 0,
) -> None:
    """Export how many predictions were wrong, by the cohort in which they were made, as their labels arrive."""
    from mlops_obs.adapters.label_store import SqliteLabels, load_config

    settings = load_config(config)
    _serve("quality", SqliteLabels(settings, store or config.parent / settings.store).read, discovery, port)


@app.command()
def skew(
    config: Annotated[Path, typer.Option("--config", help="Logs, table and features")] = Path("collectors/skew/collector.yaml"),
    log: Annotated[Path | None, typer.Option("--log", help="Folder of skew logs; overrides the one in the configuration")] = None,
    offline: Annotated[Path | None, typer.Option("--offline", help="Recomputed requests; overrides the table in the configuration")] = None,
    discovery: Discovery = None,
    port: Port = 0,
) -> None:
    """Export which features differ between offline, online and the model's input, and how."""
    from mlops_obs.adapters.skew_follow import SkewFollower, load_config

    given = {name: str(path.absolute()) for name, path in (("log", log), ("offline", offline)) if path is not None}
    settings = load_config(config).model_copy(update=given)
    _serve("skew", SkewFollower(settings, config.parent).read, discovery, port)


@app.command()
def tables(
    folder: Annotated[Path, typer.Argument(help="The folder of collectors")] = Path("collectors"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if a table is out of date")] = False,
) -> None:
    """Renew the metric tables in the collectors' READMEs."""
    from mlops_obs.collectors.readme import GROUPS, with_table
    from mlops_obs.errors import UsageError

    stale = []
    for name in GROUPS:
        path = folder / name / "README.md"
        try:
            readme = path.read_text(encoding="utf-8")
            if (renewed := with_table(readme, name)) != readme:
                stale.append(path)
                if not check:
                    path.write_text(renewed, encoding="utf-8")
        except OSError as error:
            raise UsageError("OBS-COL-002", f"cannot renew the table: {error.strerror}", where=str(path), todo="give the folder") from error
    for path in stale:
        typer.echo(f"{path}: {'out of date' if check else 'written'}")
    if check and stale:
        raise typer.Exit(1)


def _serve(
    name: str, read: Callable[[], list[Reading]] | dict[str, Callable[[], list[Reading]]], discovery: Path | None, port: int
) -> None:
    """Serve one collector, or several by their names: each is up or down for itself."""
    from mlops_obs.adapters import telemetry

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    reads = read if isinstance(read, dict) else {name: read}
    for one, ask in reads.items():
        telemetry.register_collector(one, ask)
    typer.echo(f"{name}: http://{telemetry.serve(name, directory=discovery, port=port)}/metrics")
    for ask in reads.values():
        try:
            ask()
        except Exception as error:  # noqa: BLE001 - said once here; each scrape says it again as mlops_obs_collector_up 0
            typer.echo(f"obs: {error}", err=True)
    stop.wait()
