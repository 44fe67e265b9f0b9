"""`obs rollout start` and `retry`: check a spec and hand it to the controller; with --dry-run, only tell what would happen."""

from __future__ import annotations

import subprocess
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
from mlops_obs.cli.rollout.standing import as_json
from mlops_obs.errors import UsageError
from mlops_obs.rollout.log.records import make_record
from mlops_obs.rollout.machine.known_bad import again
from mlops_obs.rollout.machine.state import RolloutState
from mlops_obs.rollout.spec.document import parse_document, plain, wrap
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.rollout.spec.target import Target


def start(
    env: Env = None,
    file: Annotated[Path | None, typer.Option("-f", "--file", help="Rollout spec (YAML), bare or as a Kubernetes object.")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision to ship; replaces `canary` of the spec.")] = None,
    package: Annotated[str | None, typer.Option(help="Its model package; replaces `package` of the spec.")] = None,
    steps: Annotated[str | None, typer.Option(help="Percent by step, e.g. 20,50,100; replaces `steps` of the spec.")] = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Start nothing; print the plan, its power, the way back, what is refused.")
    ] = False,
    output: Out = Output.text,
) -> None:
    """Start a rollout. The controller carries it out."""
    flags = {"canary": revision, "package": package, "steps": steps}
    if namespace is not None or kubeconfig is not None:
        _apply(read_spec("", file, flags), file, namespace or "default", kubeconfig, dry_run, output)
        return
    environment = wiring.load_environment(env)
    spec = read_spec(environment.service, file, flags)
    if spec.service != environment.service:
        what = f"the spec is for service {spec.service}, the environment is {environment.service}'s"
        raise UsageError("OBS-ROLL-015", what, where=str(file or ""), todo="choose another --env or correct `service`")
    if environment.store is None and spec.target is not None and not spec.target.is_same_as(environment.target):
        what = f"the spec's target ({spec.target.kind}) is not the one of the environment, whose traffic would be moved"
        raise UsageError("OBS-ROLL-073", what, where=str(file or ""), todo="choose another --env, or remove `target` from the spec")
    if dry_run:
        from mlops_obs.cli.rollout.plan import show_plan

        show_plan(environment, spec, output)
        return
    if environment.store is not None:
        if spec.target is None:  # an object must name it; credentials stay with the operator
            target = {environment.target.kind: environment.target.chosen.model_dump(exclude={"kubeconfig"})}
            spec = spec.model_copy(update={"target": Target.model_validate(target)})
        _apply(spec, file, environment.store.kubernetes.namespace, environment.store.kubernetes.kubeconfig, dry_run, output)
        return
    store = wiring.rollout_store(environment)
    now = time.time()
    state = RolloutState(id=f"{spec.service}-{spec.canary}", spec=spec, created_at=now, updated_at=now, actor=actor())
    record = make_record(
        "request", state, at=now, action="start", reason="started", before=None, after=None, actor=state.actor, evidence=origin_of(file)
    )
    state = store.create(state, record)
    where = Place(store, environment.service)
    warn_if_alone(where)
    show(as_json(state, None, where.controller(), now), f"{state.id}: started; follow it with: obs rollout watch", output)


def retry(
    env: Env = None,
    rollout: Which = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    reason: Reason = "",
    output: Out = Output.text,
) -> None:
    """Start the spec of a rolled back or aborted rollout anew. A package that is known as bad needs --reason, which is recorded."""
    where = place(env, namespace, kubeconfig, rollout)
    old, now = where.state(rollout), time.time()
    state = again(old, at=now, actor=actor(), reason=reason)
    if where.cluster:
        number = where.store.request(old.id, "retry", actor(), reason, time.time())
        warn_if_alone(where)
        show({"rollout": old.id, "request": number, "kind": "retry", "reason": reason}, f"{old.id}: retry requested", output)
        return
    store = wiring.rollout_store(wiring.load_environment(env))
    words = f"{old.id} once more" + (f": {reason}" if reason else "")
    record = make_record("request", state, at=now, action="start", reason=words, before=None, after=None, actor=state.actor)
    state = store.create(state, record)
    warn_if_alone(where)
    show(as_json(state, None, where.controller(), now), f"{state.id}: started, {old.id} once more", output)


def read_spec(service: str, file: Path | None, flags: dict[str, str | None]) -> Rollout:
    """Merge the spec file with the flags that were given, and check the whole. An empty `service` is not filled in."""
    document: Any = {}
    places: Any = None
    if file is not None:
        from mlops_obs.adapters.files import load_yaml

        document, places = load_yaml(file)
    body = document
    if isinstance(document, dict) and isinstance(document.get("spec"), dict):
        body = document = {**document, "spec": dict(document["spec"])}
        body = document["spec"]
    given: set[str] = set()
    if isinstance(body, dict):
        if service:
            body.setdefault("service", service)
        if file is not None and body.get("package") is not None:
            body["package"] = _absolute(body["package"], file.parent)
        for key, value in flags.items():
            if value is not None:
                body[key] = [_percent(part) for part in value.split(",")] if key == "steps" else value
                given.add(key)
        if flags["package"]:
            body["package"] = _absolute(flags["package"], Path())
        if body.get("package") is None:
            body.pop("package", None)

    def locate(keys: tuple[int | str, ...]) -> str:
        return str(file or "") if places is None or set(keys) & given else str(places(keys))

    return parse_document(document, locate).spec


def origin_of(file: Path | None) -> dict[str, Any]:
    """Return where the spec came from, and what Git held then: a rollback tells what to revert there. Never fails."""
    if file is None:
        return {}
    path = file.resolve()

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(path.parent), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    origin: dict[str, Any] = {"file": str(file), "commit": "", "dirty": False}
    try:
        if git("ls-files", "--", path.name):
            origin |= {
                "commit": git("log", "-1", "--format=%H", "--", path.name),
                "dirty": bool(git("status", "--porcelain", "--", path.name)),
            }
    except (OSError, subprocess.SubprocessError):
        pass  # no Git here: the file's name is all there is to tell
    return {"origin": origin}


def _apply(spec: Rollout, file: Path | None, namespace: str, kubeconfig: Path | None, dry_run: bool, output: Output) -> None:
    """Create or change the Rollout object of a cluster; its name is that of the document, else the service's."""
    if spec.target is None:
        todo = "add for example target: {kserve: {namespace: models, name: credit-risk}}"
        raise UsageError("OBS-ROLL-067", "a Rollout in Kubernetes needs a target", where=str(file or ""), todo=todo)
    name = _name(file) or spec.service
    document = wrap(spec, name, namespace)
    if dry_run:
        import yaml

        show(document, yaml.safe_dump(document, sort_keys=False).rstrip(), output)
        return
    from mlops_obs.adapters.kubernetes.api import KubernetesApi
    from mlops_obs.adapters.kubernetes.store import KubernetesRolloutStore

    store = KubernetesRolloutStore(KubernetesApi(kubeconfig), namespace)
    store.apply(document)
    where = Place(store, name, cluster=True)
    warn_if_alone(where)
    data = {"rollout": name, "namespace": namespace, "spec": plain(spec)}
    show(data, f"rollout {namespace}/{name} ships {spec.canary}; follow it with: obs rollout watch -n {namespace} --rollout {name}", output)


def _name(file: Path | None) -> str:
    """Return the name that a wrapped document gives itself."""
    if file is None:
        return ""
    from mlops_obs.adapters.files import load_yaml

    document, _ = load_yaml(file)
    metadata = document.get("metadata") if isinstance(document, dict) else None
    return str(metadata.get("name") or "") if isinstance(metadata, dict) else ""


def _absolute(package: Any, folder: Path) -> Any:
    """Resolve the path of an existing package: the controller runs in another folder. URIs and unknown paths stay as written."""
    return str((folder / package).resolve()) if isinstance(package, str) and (folder / package).exists() else package


def _percent(text: str) -> int | str:
    return int(text) if text.strip().isdigit() else text
