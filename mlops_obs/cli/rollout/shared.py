"""What the commands of `obs rollout` share: their options, the store they talk to, and how they print.

Commands write requests into the store; only the controller touches traffic. So a command answers at once, also while the
controller is down, and says so. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
from typer.core import TyperGroup

from mlops_obs.cli import wiring
from mlops_obs.cli.rollout.standing import EXIT_CONNECTION
from mlops_obs.errors import StateError, TargetError, TelemetryUnavailable, UsageError
from mlops_obs.rollout.controller import Stored
from mlops_obs.rollout.log.leftovers import Home
from mlops_obs.rollout.log.records import Record
from mlops_obs.rollout.machine.state import RolloutState
from mlops_obs.rollout.spec.target import Target


class Output(StrEnum):
    """How a result is printed."""

    text = "text"
    json = "json"
    yaml = "yaml"


Env = Annotated[Path | None, typer.Option("--env", help="Environment file (default: $OBS_ENV, else ./obs.yaml).")]
Out = Annotated[Output, typer.Option("-o", "--output", help="Format of the result.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded with your name.")]
Timeout = Annotated[str | None, typer.Option("--timeout", help="Wait this long for the end, e.g. 5m.")]
Which = Annotated[str | None, typer.Option("--rollout", help="Rollout id (default: the newest); in Kubernetes also the object's name.")]
Namespace = Annotated[
    str | None, typer.Option("-n", "--namespace", help="Talk to the Rollout objects of this namespace, not to obs.yaml's store.")
]
Kubeconfig = Annotated[Path | None, typer.Option("--kubeconfig", help="The cluster's address and credentials (default: $KUBECONFIG).")]


class Group(TyperGroup):
    """The commands of `obs rollout`: what cannot be reached is told apart from what went wrong, for scripts that retry."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; a store, a cluster or metrics that do not answer exit with 5."""
        try:
            return super().invoke(ctx)
        except (StateError, TargetError, TelemetryUnavailable) as error:
            error.exit_code = EXIT_CONNECTION
            raise


class Book(Protocol):
    """The user's side of a rollout store: SQLite and the API server offer the same."""

    def load(self, service: str, /) -> Stored | None:
        """Return the newest rollout under a key."""
        ...

    def find(self, rollout: str) -> Stored | None:
        """Return a rollout by its id."""
        ...

    def rollouts(self, service: str, /) -> list[RolloutState]:
        """Return the rollouts under a key, oldest first."""
        ...

    def records(self, service: str, /, rollout: str | None = None) -> list[Record]:
        """Return the evidence log under a key, of one rollout or of all."""
        ...

    def newest_evidence(self, rollout: str) -> Record | None:
        """Return the newest record of a rollout with test results."""
        ...

    def request(self, rollout: str, kind: Any, actor: str, reason: str, at: float) -> int:
        """Write down what a person asks for; return its number."""
        ...

    def controller(self, now: float) -> str | None:
        """Return who acts."""
        ...

    def broken_record(self) -> int | None:
        """Return the number of the first record that does not follow from those before it."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where rollouts are kept, and by which key the newest is found: the service, or in Kubernetes (`cluster`) the object's name."""

    store: Book
    key: str
    cluster: bool = False
    target: Target | None = None

    @property
    def pause(self) -> float:
        """Seconds between two looks; an API server is asked less often than a file."""
        return 2.0 if self.cluster else 0.5

    @property
    def home(self) -> Home:
        """What a retreat leaves its traces in."""
        return Home(self.target, self.key if self.cluster else "")

    def state(self, rollout: str | None = None) -> RolloutState:
        """Return a rollout by its id, by default the newest. Raises UsageError OBS-ROLL-014 or OBS-ROLL-016 if there is none."""
        if rollout is None or (self.cluster and rollout == self.key):
            stored = self.store.load(self.key)
            if stored is None:
                raise UsageError("OBS-ROLL-014", f"{self.key} has no rollout yet", todo="start one: obs rollout start -f rollout.yaml")
            return stored.state
        found = self.store.find(rollout)
        if found is None or not (self.cluster or found.state.spec.service == self.key):
            known = ", ".join(one.id for one in self.store.rollouts(self.key)) or "none"
            raise UsageError("OBS-ROLL-016", f"there is no rollout {rollout}", todo=f"known: {known}")
        return found.state

    def records(self, rollout: str | None = None) -> list[Record]:
        """Return the evidence log of a rollout, or of all under the key, in order."""
        return self.store.records(self.key, rollout)

    def aftermath(self, state: RolloutState) -> list[Record]:
        """Return the records that tell what a retreat left behind; on the way forward they are not read, for they are many."""
        return [] if state.goal == "forward" else self.records(state.id)

    def controller(self) -> str | None:
        """Return who acts now."""
        return self.store.controller(time.time())


def place(env: Path | None, namespace: str | None = None, kubeconfig: Path | None = None, rollout: str | None = None) -> Place:
    """Return the store that is meant: the cluster's if a namespace or kubeconfig is given, else the one that obs.yaml names.

    Raises:
        UsageError: OBS-ROLL-062 if the namespace has several Rollouts, or none, and `rollout` does not say which.
    """
    if namespace is None and kubeconfig is None:
        environment = wiring.load_environment(env)
        if environment.store is None:
            return Place(wiring.rollout_store(environment), environment.service, target=environment.target)
        namespace, kubeconfig = environment.store.kubernetes.namespace, environment.store.kubernetes.kubeconfig
    from mlops_obs.adapters.kubernetes.api import KubernetesApi
    from mlops_obs.adapters.kubernetes.store import KubernetesRolloutStore

    store = KubernetesRolloutStore(KubernetesApi(kubeconfig), namespace or "default")
    keys = store.keys()
    if rollout in keys or (rollout is None and len(keys) == 1):
        return Place(store, rollout or keys[0], cluster=True)
    owner = (rollout or "").rpartition("-")[0]  # an id is the object's name and a number
    if owner in keys:
        return Place(store, owner, cluster=True)
    what = f"there is no Rollout {rollout}" if rollout else f"namespace {namespace or 'default'} has {len(keys)} Rollouts"
    raise UsageError("OBS-ROLL-062", what, todo=f"pass --rollout NAME; known: {', '.join(keys) or 'none'}")


def actor() -> str:
    """Return who asks; a container often runs as a user without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def warn_if_alone(where: Place) -> None:
    """Say on stderr that nothing will happen while no controller runs."""
    if where.controller() is None:
        command = "obs rollout operator" if where.cluster else "obs rollout controller"
        typer.echo(f"obs: no controller is running, so nothing will happen yet: start `{command}`", err=True)


def show(data: dict[str, Any], text: str, output: Output, *, compact: bool = False) -> None:
    """Print a result; `compact` is one line per result, for streams."""
    if output is Output.text:
        typer.echo(text)
    elif output is Output.json:
        typer.echo(json.dumps(data, indent=None if compact else 2, ensure_ascii=False))
    else:
        import yaml

        typer.echo(("---\n" if compact else "") + yaml.safe_dump(data, sort_keys=False, allow_unicode=True).rstrip())
    if compact:
        sys.stdout.flush()


def columns() -> int:
    """Return the width to draw at: the terminal's between 80 and 100, and 100 where there is no terminal."""
    import shutil

    return min(max(shutil.get_terminal_size((100, 24)).columns, 80), 100)


def words(state: RolloutState) -> str:
    """Return the reason without its numbers, so that a line is printed when something changed and not at every count."""
    said = f"{state.step} {state.goal} {sorted(state.policy.items())} {state.reason}"
    return "".join(letter for letter in said if not letter.isdigit())


def moved(state: RolloutState) -> str:
    """Return the canary's share: what it has, or on the way back what it shall have."""
    return f"{state.spec.canary} {'' if state.goal == 'forward' or state.over else 'to '}{state.weight} %"
