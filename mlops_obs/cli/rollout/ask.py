"""What a person asks of a rollout that runs: promote, pause, resume, abort, rollback. Each is written down for the controller.

`rollback --verify` asks for nothing: it proves, before it is needed, that there is a way back.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mlops_obs.cli import wiring
from mlops_obs.cli.rollout.shared import (
    Env,
    Kubeconfig,
    Namespace,
    Out,
    Output,
    Place,
    Reason,
    Which,
    actor,
    place,
    show,
    warn_if_alone,
)
from mlops_obs.durations import humanize_duration
from mlops_obs.errors import UsageError
from mlops_obs.rollout.machine.state import Kind, RolloutState
from mlops_obs.rollout.ports import TrafficTarget


def promote(
    env: Env = None,
    rollout: Which = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    reason: Reason = "",
    full: Annotated[bool, typer.Option("--full", help="Go to 100 % and end, without waiting for evidence.")] = False,
    output: Out = Output.text,
) -> None:
    """Let the canary pass to the next step without waiting for evidence, or through a manual gate. Proven harm still rolls it back."""
    _ask("promote-full" if full else "promote", place(env, namespace, kubeconfig, rollout), rollout, reason, output)


def pause(
    env: Env = None,
    rollout: Which = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    reason: Reason = "",
    output: Out = Output.text,
) -> None:
    """Stop raising traffic. Protection goes on: a canary proven bad is rolled back."""
    _ask("pause", place(env, namespace, kubeconfig, rollout), rollout, reason, output)


def resume(
    env: Env = None,
    rollout: Which = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    reason: Reason = "",
    output: Out = Output.text,
) -> None:
    """Go on after a pause."""
    _ask("resume", place(env, namespace, kubeconfig, rollout), rollout, reason, output)


def abort(
    env: Env = None,
    rollout: Which = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    reason: Reason = "",
    output: Out = Output.text,
) -> None:
    """Give the traffic back to stable and end the rollout."""
    _ask("abort", place(env, namespace, kubeconfig, rollout), rollout, reason, output)


def rollback(
    env: Env = None,
    rollout: Which = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    reason: Reason = "",
    verify: Annotated[bool, typer.Option("--verify", help="Touch nothing; tell whether all traffic could return now. Exit 1: no.")] = False,
    output: Out = Output.text,
) -> None:
    """Roll the canary back by hand; works also after it was promoted."""
    where = place(env, namespace, kubeconfig, rollout)
    if verify:
        _verify(where, where.state(rollout), env, kubeconfig, output)
    else:
        _ask("rollback", where, rollout, reason, output)


def _ask(kind: Kind, where: Place, rollout: str | None, reason: str, output: Output) -> None:
    """Check that the request makes sense now, and write it down for the controller."""
    state = where.state(rollout)
    if state.over and not (kind == "rollback" and state.phase == "Promoted"):
        raise UsageError("OBS-ROLL-018", f"rollout {state.id} is over: {state.phase}", todo="start another one, or: obs rollout retry")
    number = where.store.request(state.id, kind, actor(), reason, time.time())
    warn_if_alone(where)
    show({"rollout": state.id, "request": number, "kind": kind, "reason": reason}, f"{state.id}: {kind} requested", output)


def target_of(where: Place, state: RolloutState, env: Path | None, kubeconfig: Path | None) -> TrafficTarget:
    """Return what splits the traffic of a rollout: the spec's own target, else the one of obs.yaml."""
    if state.spec.target is not None:
        return wiring.target_of(state.spec.target, state.spec.service, kubeconfig=kubeconfig)
    if where.cluster and env is None and kubeconfig is not None:
        raise UsageError("OBS-ROLL-063", f"the spec of {state.id} names no target", todo="add spec.target, or pass --env")
    return wiring.traffic_target(wiring.load_environment(env))


def _verify(where: Place, state: RolloutState, env: Path | None, kubeconfig: Path | None, output: Output) -> None:
    """Print whether all traffic could return to stable now; every part is asked of the platform, nothing is remembered."""
    target = target_of(where, state, env, kubeconfig)
    weights = {name: share for name, share in target.weights().items() if share}
    stable, controller = state.stable, where.controller()
    data: dict[str, Any] = {"rollout": state.id, "revision": stable, "weights": weights, "controller": controller}
    if not stable:
        data |= {"ready": True, "reason": "the canary has had no traffic yet", "seconds": None}
    elif weights == {stable: 100}:
        data |= {"ready": True, "reason": f"{stable} has all the traffic already", "seconds": 0.0}
    else:
        way = target.way_back(stable)
        data |= {"ready": way.ready, "reason": way.reason or f"all traffic could return to {stable}", "seconds": way.seconds}
    seconds = data["seconds"]
    took = "it is not known how fast" if seconds is None else f"in about {humanize_duration(max(seconds, 1.0))}"
    how = f"; {took}" if data["ready"] and seconds != 0 and stable else ""
    split = "  ".join(f"{name} {share} %" for name, share in sorted(weights.items()))
    lines = [
        f"{'✔' if data['ready'] else '✖'} way back to {stable or 'stable'}: {data['reason']}{how}",
        f"  traffic now: {split}",
        f"{'✔' if controller else '✖'} controller: {controller or 'none is running, so nobody would carry it out'}",
    ]
    show(data, "\n".join(lines), output)
    raise typer.Exit(0 if data["ready"] and controller else 1)
