"""`obs rollout controller`: the process that moves the traffic of one environment."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_obs.cli import wiring
from mlops_obs.cli.rollout.shared import Env, Out, Output, moved, show, words
from mlops_obs.cli.rollout.standing import as_json
from mlops_obs.cli.stopping import stop_when_asked
from mlops_obs.errors import ObsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_obs.adapters.rollout_store import RolloutStore
    from mlops_obs.rollout.controller import Controller
    from mlops_obs.slo.spec import SLO


def controller(
    env: Env = None,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
    output: Out = Output.text,
) -> None:
    """Carry out the rollouts of this environment until SIGTERM or Ctrl-C; a second one does not wait for the action in flight.

    Safe to kill and start again at any time.
    """
    from mlops_obs.adapters import telemetry
    from mlops_obs.adapters.background import while_renewing
    from mlops_obs.adapters.rollout_store import process_owner
    from mlops_obs.rollout.controller import Controller
    from mlops_obs.rollout.readings import rollout_readings
    from mlops_obs.slo.policy import percent

    environment = wiring.load_environment(env)
    if environment.store is not None:
        todo = "run `obs rollout operator` instead"
        raise UsageError("OBS-ROLL-072", "rollouts of this environment are Kubernetes objects", where=str(environment.path), todo=todo)
    store = wiring.rollout_store(environment)
    owner = process_owner()
    slos = _objectives(environment)
    running = Controller(
        environment.service,
        store,
        wiring.traffic_target(environment),
        wiring.counter_source(environment),
        owner=owner,
        clock=time.time,
        slos=slos,
        notifier=wiring.notifier(environment, slos),
        carry_out=while_renewing,
    )

    def read() -> list[Any]:
        stored = store.load(environment.service)
        state = stored.state if stored else None
        return rollout_readings(state, store.summary(environment.service), store.newest_evidence(state.id) if state else None)

    if environment.discovery:
        os.environ.setdefault("MLOPS_OBS_DISCOVERY_DIR", str(environment.discovery))
    telemetry.register_collector("rollout", read)
    stop = stop_when_asked()
    typer.echo(f"controller {owner} of {environment.service} is running", err=True)
    for slo in (one for one in slos if one.service == environment.service and one.budget_policy):
        ladder = ", ".join(f"{one.action} below {percent(float(one.below))}" for one in slo.budget_policy)
        typer.echo(f"budget policy of {slo.name}: {ladder}", err=True)
    try:
        run(running, store, interval, stop, owner, output)
    finally:
        store.release(owner)
        typer.echo("controller stopped", err=True)


def _objectives(environment: wiring.Environment) -> list[SLO]:
    """Return the SLOs that the environment names under `slos`: rollouts obey the budget policies of its service's."""
    from mlops_obs.adapters.files import load_slos

    return load_slos(*environment.slos) if environment.slos else []


def run(running: Controller, store: RolloutStore, interval: float, stop: Sequence[int], owner: str, output: Output) -> None:
    """Step until a signal came; print each change once."""
    told, trouble = ("", "", ""), ""
    while not stop:
        began = time.monotonic()
        try:
            state = running.step()
            holder = store.controller(time.time()) if state is None else None
            trouble = (
                _complain(f"another controller is at work ({holder}); this one stands by", trouble) if holder not in (None, owner) else ""
            )
            if state is not None and (state.id, state.phase, words(state)) != told:
                told = (state.id, state.phase, words(state))
                line = f"{time.strftime('%H:%M:%S')} {state.id} {state.phase} {moved(state)}: {state.reason}"
                show(as_json(state, None, owner), line, output, compact=True)
        except ObsError as error:
            trouble = _complain(str(error), trouble)
        except Exception as error:  # noqa: BLE001 - a surprise in an adapter must not end the protection of the service
            trouble = _complain(f"unexpected {type(error).__name__}: {error} [OBS-ROLL-019]", trouble)
        while time.monotonic() - began < interval and not stop:
            time.sleep(min(interval, 0.1))


def _complain(what: str, before: str) -> str:
    if what != before:
        typer.echo(f"obs: {what}", err=True)
    return what
