"""`obs rollout report`: one rollout as an HTML page that opens anywhere, drawn from the evidence log alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from mlops_obs.cli.rollout.shared import Env, Kubeconfig, Namespace, Which, place
from mlops_obs.cli.rollout.standing import as_json


def report(
    env: Env = None,
    rollout: Which = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    out: Annotated[Path | None, typer.Option(help="File to write (default: ROLLOUT.html in this folder).")] = None,
) -> None:
    """Write a report of a rollout: traffic, evidence, shares with their intervals, why it ended so, and every decision."""
    from mlops_obs.adapters.files import write_atomically
    from mlops_obs.dashboards.rollout_report import render_rollout_report
    from mlops_obs.rollout.log.explain import explain, slices_until

    where = place(env, namespace, kubeconfig, rollout)
    state = where.state(rollout)
    records = where.records(state.id)
    standing = as_json(state, where.store.newest_evidence(state.id), where.controller(), time.time(), records, home=where.home)
    why = explain(state, records, home=where.home)
    path = out or Path(f"{state.id}.html")
    write_atomically(path, render_rollout_report(standing, records, slices_until(records), why.plain() if why else None))
    typer.echo(str(path))
