"""`obs rollout explain`: why a rollout is where it is, or why any past decision was taken."""

from __future__ import annotations

from typing import Annotated

import typer

from mlops_obs.cli.rollout.shared import Env, Kubeconfig, Namespace, Out, Output, Which, columns, place, show
from mlops_obs.cli.rollout.view_explain import explained
from mlops_obs.errors import UsageError
from mlops_obs.rollout.log.explain import explain as find_out


def explain(
    seq: Annotated[int | None, typer.Argument(help="Number of a record, as `history` shows it (default: the deciding one).")] = None,
    env: Env = None,
    rollout: Which = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    output: Out = Output.text,
) -> None:
    """Say why: the deciding samples, every statistic against its bound, the power, and what would change the decision."""
    where = place(env, namespace, kubeconfig, rollout)
    state = where.state(rollout)
    records = where.records() if seq is not None and rollout is None else where.records(state.id)
    if seq is not None and rollout is None:  # a number is enough to find its rollout
        owner = next((str(one["rollout"]) for one in records if one["seq"] == seq), state.id)
        state, records = where.state(owner), [one for one in records if one["rollout"] == owner]
    found = find_out(state, records, seq, where.home)
    if found is None:
        if seq is None:
            raise UsageError("OBS-ROLL-064", f"{state.id} has decided nothing yet", todo="start the controller, or wait for its first look")
        known = f"{records[0]['seq']} to {records[-1]['seq']}" if records else "none"
        raise UsageError("OBS-ROLL-065", f"{state.id} has no decision at record {seq}", todo=f"choose one of {known}: obs rollout history")
    show(found.plain(), "\n".join(explained(found, state, columns())), output)
