"""`obs slo status`: where the budgets stand."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_obs.cli.slo.shared import Env, Output, as_json

if TYPE_CHECKING:
    from mlops_obs.slo.verdict import GroupStatus

_BURNING, _UNKNOWN = 3, 4


def status(
    specs: Annotated[list[Path] | None, typer.Argument(help="SLO files; default: the environment's, else slo/.")] = None,
    env: Env = None,
    output: Output = "text",
) -> None:
    """Show where every SLO stands now. Exit code 0: healthy, 3: something burns, 4: something is unknown."""
    from mlops_obs.adapters.files import load_slos
    from mlops_obs.cli import wiring
    from mlops_obs.slo.verdict import Verdict, slo_status

    environment = wiring.load_environment(env)
    slos = load_slos(*(specs or environment.slos or [Path("slo")]))
    source, now = wiring.counter_source(environment), time.time()
    found = [one for slo in slos for one in slo_status(slo, source, now)]
    if as_json(output):
        typer.echo(json.dumps([_document(one) for one in found], indent=2))
    else:
        _print_table(found)
    verdicts = {one.verdict for one in found}
    if Verdict.BURNING in verdicts:
        raise typer.Exit(_BURNING)
    if Verdict.UNKNOWN in verdicts:
        raise typer.Exit(_UNKNOWN)


def _document(one: GroupStatus) -> dict[str, object]:
    return {
        "service": one.slo.service,
        "slo": one.slo.name,
        "group": dict(one.group),
        "verdict": one.verdict.value,
        "objective": float(one.slo.objective),
        "bad": one.bad,
        "total": one.total,
        "error_ratio": one.error_ratio,
        "burn_rate": one.burn_rate,
        "budget_remaining": one.budget_remaining,
        "seconds_to_exhaustion": one.seconds_to_exhaustion,
        "tiers": list(one.tiers),
    }


def _print_table(found: Sequence[GroupStatus]) -> None:
    from rich.console import Console
    from rich.table import Table

    from mlops_obs.durations import humanize_duration

    colours = {"healthy": "green", "burning": "red", "unknown": "yellow"}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("SLO", "VERDICT", "BAD / ALL", "BURN", "LEFT", "GONE IN"):
        table.add_column(name, justify="left" if name in ("SLO", "VERDICT") else "right", no_wrap=True)
    for one in found:
        whole = not one.group
        gone = one.seconds_to_exhaustion
        idle = one.burn_rate is None and one.verdict == "healthy"
        verdict = one.tiers[0] if one.tiers else "healthy (idle)" if idle else one.verdict.value
        lasts = one.burn_rate is None or one.burn_rate <= 1  # the budget outlives its period
        table.add_row(
            f"{one.slo.service} {one.slo.name}" if whole else f"  {' '.join(one.group.values())}",
            f"[{colours[one.verdict.value]}]{verdict}[/]",
            f"{one.bad:.0f} / {one.total:.0f}",
            "-" if one.burn_rate is None else f"{one.burn_rate:.1f}x",
            "-" if one.verdict == "unknown" else f"{one.budget_remaining * 100:.1f} %",
            "exhausted" if gone == 0 else "-" if gone is None or lasts else humanize_duration(gone),
        )
    Console().print(table)
