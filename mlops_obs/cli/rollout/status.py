"""`obs rollout status` and `watch`: where a rollout stands, once or until its end."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any

import typer

from mlops_obs.cli.rollout.shared import (
    Env,
    Kubeconfig,
    Namespace,
    Out,
    Output,
    Place,
    Timeout,
    Which,
    columns,
    moved,
    place,
    show,
    warn_if_alone,
    words,
)
from mlops_obs.cli.rollout.standing import EXIT_HOLDING, as_json, exit_code
from mlops_obs.cli.rollout.view import COLOURS, screen
from mlops_obs.durations import parse_duration
from mlops_obs.rollout.judging.hearing import Hearing
from mlops_obs.rollout.log.forecast import Forecast, forecast
from mlops_obs.rollout.log.records import Record
from mlops_obs.rollout.machine.inputs import slices_of
from mlops_obs.rollout.machine.state import RolloutState

_FORETELL_EVERY = 10.0  # seconds between two forecasts while watching
_MOST_SLICES = 3_000  # more take longer to judge again than a person waits


def status(
    env: Env = None,
    rollout: Which = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    timeout: Timeout = None,
    output: Out = Output.text,
) -> None:
    """Show the newest rollout. With --timeout, wait for its end first.

    Exit codes, for CI: 0 promoted, or going on well; 3 rolled back or aborted; 4 holding, paused, or with --timeout not
    decided in time; 2 wrong usage, or there is no such rollout; 5 the store or the cluster cannot be reached.
    """
    where = place(env, namespace, kubeconfig, rollout)
    state = where.state(rollout)
    until = None if timeout is None else time.monotonic() + float(parse_duration(timeout))
    late = False
    while until is not None and not state.over and not late:
        time.sleep(where.pause)
        state = where.state(state.id)
        late = time.monotonic() > until
    data = Looker(where).look(state)
    data["exit_code"] = EXIT_HOLDING if late and not state.over else exit_code(state)
    show(data, "\n".join(screen(data, time.time(), columns())), output)
    raise typer.Exit(data["exit_code"])


def watch(
    env: Env = None,
    rollout: Which = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    timeout: Timeout = None,
    output: Out = Output.text,
) -> None:
    """Follow the newest rollout to its end: a tree in a terminal, one line per change elsewhere. Exit codes as of `status`."""
    where = place(env, namespace, kubeconfig, rollout)
    until = time.monotonic() + float(parse_duration(timeout)) if timeout else float("inf")
    state = where.state(rollout)
    if not state.over:
        warn_if_alone(where)
    in_terminal = output is Output.text and sys.stdout.isatty()
    state = _watch_tree(where, state, until) if in_terminal else _watch_lines(where, state, until, output)
    raise typer.Exit(exit_code(state) if state.over or time.monotonic() <= until else EXIT_HOLDING)


@dataclass
class Looker:
    """Looks at a rollout again and again; what the judge foretells is computed once for each new piece of evidence."""

    where: Place
    heard: tuple[str, float] = ("", 0.0)
    foretold: list[Forecast] = field(default_factory=list)
    memory: dict[str, Hearing] = field(default_factory=dict)

    def look(self, state: RolloutState) -> dict[str, Any]:
        """Return the status as plain data, now."""
        evidence = self.where.store.newest_evidence(state.id)
        at = float(evidence["at"]) if evidence else 0.0
        if at and (state.id, at - at % _FORETELL_EVERY) != self.heard:
            self.heard, self.foretold = (state.id, at - at % _FORETELL_EVERY), self._foretell(state, evidence)
        return as_json(state, evidence, self.where.controller(), time.time(), self.where.aftermath(state), self.foretold, self.where.home)

    def _foretell(self, state: RolloutState, evidence: Record | None) -> list[Forecast]:
        if state.over or state.goal != "forward" or (evidence or {}).get("evidence", {}).get("verdict") != "undecided":
            return []
        slices = slices_of(self.where.records(state.id))
        return forecast(state, slices, memory=self.memory) if len(slices) <= _MOST_SLICES else []


def _watch_lines(where: Place, state: RolloutState, until: float, output: Output) -> RolloutState:
    told, looker = None, Looker(where)
    while True:
        if (state.phase, words(state)) != told:
            told = (state.phase, words(state))
            line = f"{time.strftime('%H:%M:%S')} {state.phase} {moved(state)}: {state.reason}"
            show(looker.look(state), line, output, compact=True)
        if state.over or time.monotonic() > until:
            return state
        time.sleep(where.pause)
        state = where.state(state.id)


def _watch_tree(where: Place, state: RolloutState, until: float) -> RolloutState:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    looker = Looker(where)

    def picture() -> Text:
        lines = screen(looker.look(state), time.time(), columns())
        painted = [Text(line, style=COLOURS[state.phase] if line.startswith("Status:") else "") for line in lines]
        for line in painted:
            line.highlight_words(["✔"], "green")
            line.highlight_words(["✖"], "red")
        return Text("\n").join(painted)

    with Live(picture(), console=Console(), auto_refresh=False) as live:
        while not state.over and time.monotonic() <= until:
            time.sleep(where.pause)
            state = where.state(state.id)
            live.update(picture(), refresh=True)
    return state
