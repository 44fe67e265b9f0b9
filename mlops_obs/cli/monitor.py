"""`obs monitor`: the embedded engine in the foreground, for machines without Prometheus."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from mlops_obs.errors import UsageError

_LONGEST_INTERVAL = 60

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def monitor(
    specs: Annotated[list[Path] | None, typer.Argument(help="SLO specs, files or folders. Default: the environment's, else slo/.")] = None,
    env: Annotated[Path | None, typer.Option("--env", help="Environment file (default: $OBS_ENV, else ./obs.yaml).")] = None,
    interval: Annotated[str, typer.Option(help="Time between scrapes, and between evaluations.")] = "5s",
    webhook: Annotated[str | None, typer.Option(help="Where pages go (default: the environment's inbox).")] = None,
    group_wait: Annotated[str, typer.Option(help="Wait for other alerts of a new incident before paging.")] = "10s",
    ticket_group_wait: Annotated[str, typer.Option(help="The same for tickets; longer, so that a page can silence them.")] = "5m",
    group_interval: Annotated[str, typer.Option(help="Wait before telling what changed in an open incident.")] = "1m",
    downstream_group_wait: Annotated[str, typer.Option(help="As --group-wait for services with something upstream.")] = "1m",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also log scrapes that fail.")] = False,
) -> None:
    """Scrape the discovered processes, evaluate the SLOs and page, until Ctrl-C or SIGTERM.

    Prints one JSON line on stdout once it runs; everything else goes to stderr.
    """
    from mlops_obs.adapters.discovery import prune_dead
    from mlops_obs.adapters.embedded import EmbeddedEngine, Timing
    from mlops_obs.adapters.files import load_slos
    from mlops_obs.cli import wiring
    from mlops_obs.durations import parse_duration
    from mlops_obs.slo.annotations import Links

    environment = wiring.load_environment(env)
    where = str(environment.path)
    if environment.metrics.embedded is None:
        raise UsageError(
            "OBS-MON-001", "this environment reads Prometheus, not the embedded engine", where=where, todo="set metrics: {embedded: FILE}"
        )
    if environment.discovery is None:
        raise UsageError("OBS-MON-002", "no discovery folder is given", where=where, todo="set discovery: FOLDER")
    target = webhook or (f"{environment.inbox.rstrip('/')}/alerts" if environment.inbox else None)
    if target is None:
        raise UsageError("OBS-MON-003", "nobody would be paged", where=where, todo="set inbox: URL, or pass --webhook URL")
    if parse_duration(interval) > _LONGEST_INTERVAL:
        # Alerts look at five minutes: of samples further apart they would see too few to fire at all.
        raise UsageError("OBS-MON-004", f"{interval} between scrapes is too long to judge by", todo="use --interval 1m or less")
    links = Links(**{name: url.rstrip("/") for name, url in environment.links if url})
    slos = load_slos(*(specs or environment.slos or (Path("slo"),)))

    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING if verbose else logging.ERROR, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("mlops_obs.adapters.embedded").setLevel(logging.WARNING)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    engine = EmbeddedEngine(
        environment.metrics.embedded,
        environment.discovery,
        slos,
        links,
        target,
        float(parse_duration(interval)),
        timing=Timing(
            group_wait=float(parse_duration(group_wait)),
            ticket_group_wait=float(parse_duration(ticket_group_wait)),
            group_interval=float(parse_duration(group_interval)),
            downstream_group_wait=float(parse_duration(downstream_group_wait)),
        ),
        prune=prune_dead,
    )
    with engine:
        typer.echo(json.dumps({"status": "ready", "slos": len(slos), "metrics": str(environment.metrics.embedded), "webhook": target}))
        over.wait()
