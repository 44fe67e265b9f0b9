"""`obs rollout`: ship a revision, follow it, steer it, and read why it went as it did.

Commands write requests into the store; only the controller touches traffic. So a command answers at once, also while
the controller is down, and says so. Results go to stdout, everything else to stderr.

Exit codes of `status` and `watch`: 0 promoted or going on, 3 rolled back or aborted, 4 holding, paused or (with
`--timeout`) not decided in time; 1 an error, 2 wrong usage.
"""

from __future__ import annotations

import getpass
import json
import os
import signal
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_obs.cli import wiring
from mlops_obs.cli.rollout_view import COLOURS, EXIT_HOLDING, as_json, exit_code, history_line, tree
from mlops_obs.durations import parse_duration
from mlops_obs.errors import ObsError, UsageError
from mlops_obs.rollout.records import make_record
from mlops_obs.rollout.spec import Rollout, parse_rollout
from mlops_obs.rollout.state import Kind, RolloutState

if TYPE_CHECKING:
    from mlops_obs.adapters.rollout_store import RolloutStore
    from mlops_obs.rollout.controller import Controller
    from mlops_obs.slo.spec import SLO

app = typer.Typer(
    name="rollout", help="Ship a model revision; it rolls back by itself on evidence.", no_args_is_help=True, add_completion=False
)


class Output(StrEnum):
    """How a result is printed."""

    text = "text"
    json = "json"


Env = Annotated[Path | None, typer.Option("--env", help="Environment file (default: $OBS_ENV, else ./obs.yaml).")]
Out = Annotated[Output, typer.Option("-o", "--output", help="Format of the result.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded with your name.")]
Timeout = Annotated[str | None, typer.Option("--timeout", help="Wait this long for the end, e.g. 5m.")]


@app.command()
def start(
    env: Env = None,
    file: Annotated[Path | None, typer.Option("-f", "--file", help="Rollout spec (YAML).")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision to ship; replaces `canary` of the spec.")] = None,
    package: Annotated[str | None, typer.Option(help="Its model package; replaces `package` of the spec.")] = None,
    steps: Annotated[str | None, typer.Option(help="Percent by step, e.g. 20,50,100; replaces `steps` of the spec.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check and print the spec.")] = False,
    output: Out = Output.text,
) -> None:
    """Start a rollout. The controller carries it out."""
    environment = wiring.load_environment(env)
    spec = _read_spec(environment.service, file, {"canary": revision, "package": package, "steps": steps})
    if spec.service != environment.service:
        what = f"the spec is for service {spec.service}, the environment is {environment.service}'s"
        raise UsageError("OBS-ROLL-015", what, where=str(file or ""), todo="choose another --env or correct `service`")
    now = time.time()
    state = RolloutState(id=f"{spec.service}-{spec.canary}", spec=spec, created_at=now, updated_at=now, actor=_actor())
    if dry_run:
        typer.echo(spec.model_dump_json(indent=2))
        return
    store = wiring.rollout_store(environment)
    record = make_record("request", state, at=now, action="start", reason="started", before=None, after=None, actor=state.actor)
    state = store.create(state, record)
    _warn_if_alone(store)
    _show(as_json(state, None, store.controller(now)), f"{state.id}: started; follow it with: obs rollout watch", output)


@app.command()
def controller(
    env: Env = None,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
    output: Out = Output.text,
) -> None:
    """Carry out the rollouts of this environment until SIGTERM or Ctrl-C; a second one does not wait for the action in flight.

    Safe to kill and start again at any time.
    """
    from mlops_obs.adapters import telemetry
    from mlops_obs.adapters.rollout_store import process_owner
    from mlops_obs.rollout.controller import Controller
    from mlops_obs.rollout.readings import rollout_readings
    from mlops_obs.slo.policy import percent

    environment = wiring.load_environment(env)
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
    )

    def read() -> list[Any]:
        stored = store.load(environment.service)
        state = stored.state if stored else None
        return rollout_readings(state, store.summary(environment.service), store.newest_evidence(state.id) if state else None)

    if environment.discovery:
        os.environ.setdefault("MLOPS_OBS_DISCOVERY_DIR", str(environment.discovery))
    telemetry.register_collector("rollout", read)
    stop: list[int] = []

    def ask_to_stop(received: int, _: object) -> None:
        if stop:
            raise KeyboardInterrupt
        stop.append(received)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    typer.echo(f"controller {owner} of {environment.service} is running", err=True)
    for slo in (one for one in slos if one.service == environment.service and one.budget_policy):
        ladder = ", ".join(f"{one.action} below {percent(float(one.below))}" for one in slo.budget_policy)
        typer.echo(f"budget policy of {slo.name}: {ladder}", err=True)
    try:
        _run(running, store, interval, stop, owner, output)
    finally:
        store.release(owner)
        typer.echo("controller stopped", err=True)


def _objectives(environment: wiring.Environment) -> list[SLO]:
    """Return the SLOs that the environment names under `slos`: rollouts obey the budget policies of its service's."""
    from mlops_obs.adapters.files import load_slos

    return load_slos(*environment.slos) if environment.slos else []


def _run(running: Controller, store: RolloutStore, interval: float, stop: list[int], owner: str, output: Output) -> None:
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
            if state is not None and (state.id, state.phase, _words(state)) != told:
                told = (state.id, state.phase, _words(state))
                line = f"{time.strftime('%H:%M:%S')} {state.id} {state.phase} {state.spec.canary} {state.weight} %: {state.reason}"
                _show(as_json(state, None, owner), line, output, compact=True)
        except ObsError as error:
            trouble = _complain(str(error), trouble)
        except Exception as error:  # noqa: BLE001 - a surprise in an adapter must not end the protection of the service
            trouble = _complain(f"unexpected {type(error).__name__}: {error} [OBS-ROLL-019]", trouble)
        while time.monotonic() - began < interval and not stop:
            time.sleep(min(interval, 0.1))


@app.command()
def status(env: Env = None, timeout: Timeout = None, output: Out = Output.text) -> None:
    """Show the newest rollout. The exit code says how it stands: 0 well, 3 rolled back, 4 holding."""
    environment = wiring.load_environment(env)
    store = wiring.rollout_store(environment)
    state = _newest(store, environment.service)
    late = False
    if timeout is not None:
        until = time.monotonic() + float(parse_duration(timeout))
        while not state.over and not late:
            time.sleep(0.5)
            state = _newest(store, environment.service)
            late = time.monotonic() > until
    evidence, alive = store.newest_evidence(state.id), store.controller(time.time())
    _show(as_json(state, evidence, alive), "\n".join(tree(state, evidence, alive, time.time())), output)
    raise typer.Exit(EXIT_HOLDING if late and not state.over else exit_code(state))


@app.command()
def watch(env: Env = None, timeout: Timeout = None, output: Out = Output.text) -> None:
    """Follow the newest rollout to its end: a tree in a terminal, one line per change elsewhere."""
    environment = wiring.load_environment(env)
    store = wiring.rollout_store(environment)
    until = time.monotonic() + float(parse_duration(timeout)) if timeout else float("inf")
    state = _newest(store, environment.service)
    if not state.over:
        _warn_if_alone(store)
    if output is Output.text and sys.stdout.isatty():
        state = _watch_tree(store, state, until)
    else:
        told = None
        while True:
            if (state.phase, _words(state)) != told:
                told = (state.phase, _words(state))
                line = f"{time.strftime('%H:%M:%S')} {state.phase} {state.spec.canary} {state.weight} %: {state.reason}"
                _show(as_json(state, store.newest_evidence(state.id), store.controller(time.time())), line, output, compact=True)
            if state.over or time.monotonic() > until:
                break
            time.sleep(0.5)
            state = _again(store, state)
    raise typer.Exit(exit_code(state) if state.over or time.monotonic() <= until else EXIT_HOLDING)


@app.command()
def promote(
    env: Env = None,
    reason: Reason = "",
    full: Annotated[bool, typer.Option("--full", help="Go to 100 % and end, without waiting for evidence.")] = False,
    output: Out = Output.text,
) -> None:
    """Let the canary pass to the next step without waiting for evidence. Proven harm still rolls it back."""
    _ask("promote-full" if full else "promote", env, reason, output)


@app.command()
def pause(env: Env = None, reason: Reason = "", output: Out = Output.text) -> None:
    """Stop raising traffic. Protection goes on: a canary proven bad is rolled back."""
    _ask("pause", env, reason, output)


@app.command()
def resume(env: Env = None, reason: Reason = "", output: Out = Output.text) -> None:
    """Go on after a pause."""
    _ask("resume", env, reason, output)


@app.command()
def abort(env: Env = None, reason: Reason = "", output: Out = Output.text) -> None:
    """Give the traffic back to stable and end the rollout."""
    _ask("abort", env, reason, output)


@app.command()
def rollback(env: Env = None, reason: Reason = "", output: Out = Output.text) -> None:
    """Roll the canary back by hand; works also after it was promoted."""
    _ask("rollback", env, reason, output)


@app.command()
def history(
    env: Env = None,
    rollout: Annotated[str | None, typer.Option(help="Rollout id (default: the newest).")] = None,
    every: Annotated[bool, typer.Option("--all", help="All rollouts of the service.")] = False,
    output: Out = Output.text,
) -> None:
    """Show every request, decision, intent and result with its evidence, and whether the log is whole."""
    environment = wiring.load_environment(env)
    store = wiring.rollout_store(environment)
    chosen = None if every else rollout or _newest(store, environment.service).id
    records = store.records(environment.service, chosen)
    if chosen and not records:
        known = ", ".join(one.id for one in store.rollouts(environment.service)) or "none"
        raise UsageError("OBS-ROLL-016", f"there is no rollout {chosen}", todo=f"known: {known}")
    broken = store.broken_record()
    if output is Output.json:
        typer.echo(json.dumps({"records": records, "first_broken": broken}))
    else:
        for one in records:
            if one["kind"] != "decision" or one["action"] != "wait":
                typer.echo(history_line(one))
    if broken is not None:
        typer.echo(f"obs: record {broken} does not follow from those before it: the log was changed [OBS-ROLL-017]", err=True)
        raise typer.Exit(1)


def _read_spec(service: str, file: Path | None, flags: dict[str, str | None]) -> Rollout:
    """Merge the spec file with the flags that were given, and check the whole."""
    document: dict[str, Any] = {"service": service}
    places: dict[str, str] = {}
    if file is not None:
        from mlops_obs.adapters.files import load_yaml

        read, locate = load_yaml(file)
        if not isinstance(read, dict):
            parse_rollout(read, lambda _: str(file))
        document.update(read if isinstance(read, dict) else {})
        places = {str(key): locate((str(key),)) for key in document if key in (read if isinstance(read, dict) else {})}
        document["package"] = _absolute(document.get("package"), file.parent)
    for key, value in flags.items():
        if value is not None:
            document[key] = [_percent(part) for part in value.split(",")] if key == "steps" else value
            places.pop(key, None)
    if flags["package"]:
        document["package"] = _absolute(flags["package"], Path())
    if document.get("package") is None:
        document.pop("package", None)
    return parse_rollout(document, lambda key: places.get(key, str(file or "")))


def _absolute(package: Any, folder: Path) -> Any:
    """Resolve the path of an existing package: the controller runs in another folder. URIs and unknown paths stay as written."""
    return str((folder / package).resolve()) if isinstance(package, str) and (folder / package).exists() else package


def _percent(text: str) -> int | str:
    return int(text) if text.strip().isdigit() else text


def _ask(kind: Kind, env: Path | None, reason: str, output: Output) -> None:
    """Check that the request makes sense now, and write it down for the controller."""
    environment = wiring.load_environment(env)
    store = wiring.rollout_store(environment)
    state = _newest(store, environment.service)
    if state.over and not (kind == "rollback" and state.phase == "Promoted"):
        raise UsageError("OBS-ROLL-018", f"rollout {state.id} is over: {state.phase}", todo="start another one")
    number = store.request(state.id, kind, _actor(), reason, time.time())
    _warn_if_alone(store)
    _show({"rollout": state.id, "request": number, "kind": kind, "reason": reason}, f"{state.id}: {kind} requested", output)


def _actor() -> str:
    """Return who asks; a container often runs as a user without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _newest(store: RolloutStore, service: str) -> RolloutState:
    stored = store.load(service)
    if stored is None:
        raise UsageError("OBS-ROLL-014", f"{service} has no rollout yet", todo="start one: obs rollout start -f rollout.yaml")
    return stored.state


def _again(store: RolloutStore, state: RolloutState) -> RolloutState:
    found = store.find(state.id)
    return found.state if found else state


def _watch_tree(store: RolloutStore, state: RolloutState, until: float) -> RolloutState:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    def picture() -> Text:
        lines = tree(state, store.newest_evidence(state.id), store.controller(time.time()), time.time())
        return Text("\n").join(Text(line, style=COLOURS[state.phase] if line.startswith("Status:") else "") for line in lines)

    with Live(picture(), console=Console(), auto_refresh=False) as live:
        while not state.over and time.monotonic() <= until:
            time.sleep(0.5)
            state = _again(store, state)
            live.update(picture(), refresh=True)
    return state


def _warn_if_alone(store: RolloutStore) -> None:
    if store.controller(time.time()) is None:
        typer.echo("obs: no controller is running, so nothing will happen yet: start `obs rollout controller`", err=True)


def _show(data: dict[str, Any], text: str, output: Output, *, compact: bool = False) -> None:
    typer.echo(text if output is Output.text else json.dumps(data, indent=None if compact else 2, ensure_ascii=False))
    if compact:
        sys.stdout.flush()


def _words(state: RolloutState) -> str:
    """Return the reason without its numbers, so that a line is printed when something changed and not at every count."""
    words = f"{state.step} {state.goal} {sorted(state.policy.items())} {state.reason}"
    return "".join(letter for letter in words if not letter.isdigit())


def _complain(what: str, before: str) -> str:
    if what != before:
        typer.echo(f"obs: {what}", err=True)
    return what
