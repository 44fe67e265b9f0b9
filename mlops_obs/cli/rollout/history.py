"""`obs rollout history` and `verify`: the evidence log, and the proof that nobody changed it."""

from __future__ import annotations

from typing import Annotated

import typer

from mlops_obs.cli.rollout.shared import Env, Kubeconfig, Namespace, Out, Output, Place, Which, place, show
from mlops_obs.cli.rollout.view import history_line
from mlops_obs.errors import UsageError


def history(
    env: Env = None,
    rollout: Which = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    every: Annotated[bool, typer.Option("--all", help="All rollouts of the service.")] = False,
    output: Out = Output.text,
) -> None:
    """Show every request, decision, intent and result with its evidence, and whether the log is whole."""
    where = place(env, namespace, kubeconfig, rollout)
    records = where.records(None if every else where.state(rollout).id)
    broken = where.store.broken_record()
    lines = [history_line(one) for one in records if one["kind"] != "decision" or one["action"] != "wait"]
    show({"records": records, "first_broken": broken}, "\n".join(lines), output)
    _exit_if_broken(broken)


def verify(
    env: Env = None,
    rollout: Which = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    head: Annotated[str | None, typer.Option(help="Hash of a record that must still be there, as an earlier `verify` printed it.")] = None,
    output: Out = Output.text,
) -> None:
    """Check that every record of the evidence log follows from those before it; name the first that does not.

    A log that was cut short is whole in itself. Keep the head that is printed, and give it to the next `verify --head`.
    """
    where = place(env, namespace, kubeconfig, rollout)
    records = where.records()
    broken = where.store.broken_record()
    last = records[-1] if records else None
    data = {
        "records": len(records),
        "whole": broken is None,
        "first_broken": broken,
        "head": {"seq": last["seq"], "hash": last["hash"], "at": last["at"]} if last else None,
    }
    if broken is None:
        text = f"{len(records)} records of {where.key}, each follows from the one before"
        show(data, f"{text}; head {last['seq']} {last['hash']}" if last else f"{where.key} has no records yet", output)
    elif output is not Output.text:
        show(data, "", output)
    _exit_if_broken(broken)
    if head is not None:
        _find_head(where, head)


def _find_head(where: Place, head: str) -> None:
    if len(head) < 12:
        raise UsageError("OBS-ROLL-060", f"{head!r} is too short to be sure of", todo="give at least 12 letters of the hash")
    if not any(str(one["hash"]).startswith(head) for one in where.records()):
        typer.echo(f"obs: no record has the hash {head}: the log was cut short or replaced [OBS-ROLL-061]", err=True)
        raise typer.Exit(1)


def _exit_if_broken(broken: int | None) -> None:
    if broken is not None:
        typer.echo(f"obs: record {broken} does not follow from those before it: the log was changed [OBS-ROLL-017]", err=True)
        raise typer.Exit(1)
