"""`obs slo backfill`: history into the recordings, so that budgets are right on the first day."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from mlops_obs.cli.slo.backtest import Source, moment, read
from mlops_obs.cli.slo.shared import Specs, load
from mlops_obs.errors import UsageError

OPEN_BLOCK = 3 * 3_600  # seconds that a running Prometheus still holds in memory and would refuse in a block


def backfill(
    specs: Specs,
    source: Source,
    data: Annotated[Path | None, typer.Option(help="Prometheus' data folder: blocks are made there by promtool.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the recordings as OpenMetrics to this file instead.")] = None,
    start: Annotated[str, typer.Option(help="First moment, Unix or ISO 8601; default: 30 days before the end, or all of a file.")] = "",
    end: Annotated[str, typer.Option(help="Last moment; default: three hours ago, before what Prometheus still holds in memory.")] = "",
) -> None:
    """Write what the rules of SPECS would have recorded: 5-minute and hourly counts, and what was left of the budget.

    Every window and the period derive from them, so alerts and budgets are right at once. A running Prometheus takes the new blocks up
    within minutes.
    """
    from mlops_obs.adapters.files import write_atomically
    from mlops_obs.adapters.open_metrics import recordings_text
    from mlops_obs.adapters.promtool import create_blocks

    if (data is None) == (out is None):
        raise UsageError("OBS-CLI-001", "say where the recordings go", todo="write --data FOLDER of a Prometheus, or --out FILE")
    slos = load(specs, replan=True)
    until = moment(end)
    recorded = read(source, slos, [], start=moment(start), end=time.time() - OPEN_BLOCK if until is None else until)
    text = recordings_text(slos, recorded)
    samples = sum(1 for line in text.splitlines() if line[0] != "#")
    if out is not None:
        write_atomically(out, text)
        typer.echo(f"{samples} samples in {out}; make blocks of them: promtool tsdb create-blocks-from openmetrics {out} DATA_FOLDER")
        return
    assert data is not None  # noqa: S101 - one of the two is there
    with tempfile.TemporaryDirectory(prefix="obs-backfill-") as folder:
        file = Path(folder) / "recordings.om"
        write_atomically(file, text)
        create_blocks(file, data)
    typer.echo(f"{samples} samples of {len(slos)} SLOs are in {data}")
