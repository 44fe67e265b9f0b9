"""The only place where ports meet adapters: reads `obs.yaml` and builds what a command needs.

An environment file says where things are, so that no command takes ten addresses as flags:

    service: credit-risk
    state: state.db                       # rollouts and their evidence (SQLite)
    discovery: discovery                  # file_sd folder of the instrumented processes
    metrics: {prometheus: "http://127.0.0.1:9090"}        # or {embedded: metrics.db}
    target: {ray_serve: {address: "127.0.0.1:6379", url: "http://127.0.0.1:8000", import_path: "my_app:predictor_app"}}
    #       or {kserve: {namespace: models, name: credit-risk}}, {kserve_llm: ...}, {kuberay: ...}
    notify: {alertmanager: "http://127.0.0.1:9093"}       # and {grafana: {url: ..., token_file: ...}, webhook: "https://..."}
    links: {dashboards: "https://grafana.example/d", runbooks: "https://runbooks.example"}

Relative paths are relative to the file.
"""

from __future__ import annotations

import copy
import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from mlops_obs.errors import UsageError
from mlops_obs.rollout.spec.target import TARGETS, Target
from mlops_obs.slo.counters import CounterSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_obs.adapters.rollout_store import RolloutStore
    from mlops_obs.rollout.ports import Notifier, TrafficTarget
    from mlops_obs.slo.spec import SLO

ENV_VARIABLE = "OBS_ENV"
DEFAULT_FILE = "obs.yaml"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metrics(_Strict):
    """Where counters are read from: exactly one of the two."""

    prometheus: str | None = None
    embedded: Path | None = None


class KubernetesStore(_Strict):
    """Rollouts as custom resources of a cluster; without `kubeconfig`, the pod's account."""

    namespace: str
    kubeconfig: Path | None = None


class Store(_Strict):
    """Where rollouts and their evidence are kept, if not in the file `state`."""

    kubernetes: KubernetesStore


class GrafanaNotes(_Strict):
    """Annotations on dashboards; the file holds the token of a service account with the role Editor."""

    url: str
    token_file: Path


class WebhookTo(_Strict):
    """An address that takes JSON; the file holds a bearer token."""

    url: str
    token_file: Path | None = None


class Notify(_Strict):
    """Who is told of rollbacks, holds and promotions; all that are given are. `team` owns the alerts (default: the SLOs' team).

    `pager` takes Alertmanager's own JSON, for where there is no Alertmanager, such as the on-call inbox's `/alerts`.
    """

    alertmanager: str | None = None
    pager: str | None = None
    team: str | None = None
    grafana: GrafanaNotes | None = None
    webhook: str | WebhookTo | None = None


class LinkBases(_Strict):
    """Base URLs that pages link to."""

    dashboards: str = ""
    runbooks: str = ""


class Environment(_Strict):
    """A parsed `obs.yaml`; every path is absolute."""

    path: Path
    service: str
    state: Path
    discovery: Path | None = None
    metrics: Metrics
    target: Target
    store: Store | None = None
    notify: Notify = Notify()
    links: LinkBases = LinkBases()
    inbox: str | None = None
    slos: tuple[Path, ...] = ()


def load_environment(path: Path | None = None) -> Environment:
    """Read the environment file: `path`, else `$OBS_ENV`, else `./obs.yaml`.

    Raises:
        UsageError: OBS-ENV-001 no file, OBS-ENV-002 not YAML or not a mapping, OBS-ENV-003 a key is wrong.
    """
    chosen = path or Path(os.environ.get(ENV_VARIABLE) or DEFAULT_FILE)
    try:
        raw = yaml.safe_load(chosen.read_text(encoding="utf-8"))
    except OSError as error:
        todo = f"pass --env FILE, set ${ENV_VARIABLE}, or run in a folder that has {DEFAULT_FILE}"
        raise UsageError("OBS-ENV-001", f"no environment file ({error.strerror})", where=str(chosen), todo=todo) from error
    except UnicodeDecodeError as error:
        raise UsageError("OBS-ENV-002", "not UTF-8 text", where=str(chosen), todo="save it as UTF-8") from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{chosen}:{mark.line + 1}" if mark else str(chosen)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UsageError("OBS-ENV-002", f"not valid YAML: {problem}", where=where, todo="correct that line") from error
    if not isinstance(raw, dict):
        raise UsageError("OBS-ENV-002", "not a mapping of keys", where=str(chosen), todo="start from the example in the README")
    if raw.get("store"):
        raw.setdefault("state", "state.db")  # nothing is kept there then
    try:
        environment = Environment.model_validate({**_absolute(raw, chosen.resolve().parent), "path": chosen.resolve()})
    except ValidationError as error:
        raise _explain(error, str(chosen)) from error
    if len([key for key, value in environment.metrics if value]) != 1:
        known = ", ".join(Metrics.model_fields)
        raise UsageError("OBS-ENV-003", f"metrics needs exactly one of {known}", where=str(chosen), todo="keep one")
    return environment


def _explain(error: ValidationError, where: str) -> UsageError:
    """Name an unknown key first: a misspelt key is a missing one, too."""
    problems = error.errors()
    first = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "OBS":
        said = first["ctx"]["what"]
        return UsageError("OBS-ENV-003", said if said.startswith(key) else f"{key}: {said}", where=where, todo=first["ctx"]["todo"])
    if first["type"] != "extra_forbidden":
        return UsageError("OBS-ENV-003", f"{key}: {first['msg']}", where=where, todo="`obs demo` writes an obs.yaml to compare with")
    *parents, leaf = (str(part) for part in first["loc"])
    nested: dict[str, type[BaseModel]] = {
        **TARGETS, "metrics": Metrics, "target": Target, "links": LinkBases,
        "store": Store, "kubernetes": KubernetesStore, "notify": Notify, "grafana": GrafanaNotes, "webhook": WebhookTo,
    }  # fmt: skip
    model = nested.get(parents[-1], Environment) if parents else Environment
    known = [name for name in model.model_fields if name != "path"]
    near = difflib.get_close_matches(leaf, known, n=1)
    todo = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
    return UsageError("OBS-ENV-003", f"unknown key {key}", where=where, todo=todo)


def counter_source(environment: Environment) -> CounterSource:
    """Return the reader of raw counters: Prometheus or the embedded engine's database."""
    if environment.metrics.prometheus:
        from mlops_obs.adapters.prometheus import PrometheusCounters

        return PrometheusCounters(environment.metrics.prometheus)
    from mlops_obs.adapters.embedded import EmbeddedCounters

    assert environment.metrics.embedded is not None  # noqa: S101 - load_environment checked that one is given
    return EmbeddedCounters(environment.metrics.embedded)


def traffic_target(environment: Environment) -> TrafficTarget:
    """Return the adapter of the platform that splits the traffic of this environment."""
    return target_of(environment.target, environment.service)


def target_of(target: Target, service: str, *, kubeconfig: Path | None = None) -> TrafficTarget:
    """Return the adapter of `target`, which splits the traffic of `service`; `kubeconfig` for a target that names none."""
    if target.ray_serve:
        from mlops_obs.adapters.ray_serve import RayServeTarget

        where = target.ray_serve
        return RayServeTarget(where.address, service, where.import_path, store=str(where.store) if where.store else None)
    if target.kserve_llm:
        from mlops_obs.adapters.kserve_llm import KServeLLMTarget

        llm = target.kserve_llm
        return KServeLLMTarget(llm.namespace, llm.stable, llm.canary, llm.group, kubeconfig=llm.kubeconfig or kubeconfig)
    if target.kuberay:
        from mlops_obs.adapters.kuberay import KubeRayTarget

        ray = target.kuberay
        return KubeRayTarget(ray.namespace, ray.name, kubeconfig=ray.kubeconfig or kubeconfig)
    from mlops_obs.adapters.kserve import kserve_target

    assert target.kserve is not None  # noqa: S101 - a Target has exactly one
    isvc = target.kserve
    return kserve_target(isvc.namespace, isvc.name, kubeconfig=isvc.kubeconfig or kubeconfig, mode=isvc.mode)


def notifier(environment: Environment, slos: Sequence[SLO] = ()) -> Notifier | None:
    """Return whoever is told of this environment's rollouts, None if nobody is; `slos` say which team owns the service.

    Raises:
        UsageError: OBS-ENV-004 if a token's file cannot be read, OBS-NTFY-001 or OBS-GRAF-001 for an address that is none.
    """
    import time

    from mlops_obs.adapters.notify import (
        AlertmanagerNotifier,
        AllOf,
        GrafanaAnnotations,
        PagerNotifier,
        Patient,
        Sender,
        WebhookNotifier,
    )  # fmt: skip
    from mlops_obs.slo.platform_alerts import PLATFORM_TEAM

    told, links = environment.notify, environment.links
    found: list[Notifier] = []
    team = told.team or next((slo.team for slo in slos if slo.service == environment.service), PLATFORM_TEAM)
    sender = Sender(team, links.dashboards, links.runbooks)
    if told.alertmanager:
        found.append(AlertmanagerNotifier(told.alertmanager, sender, time.time))
    if told.pager:
        found.append(PagerNotifier(told.pager, sender))
    if told.grafana:
        from mlops_obs.adapters.grafana import Grafana

        found.append(GrafanaAnnotations(Grafana(told.grafana.url, _secret(told.grafana.token_file), timeout=5.0)))
    if told.webhook:
        to = told.webhook if isinstance(told.webhook, WebhookTo) else WebhookTo(url=told.webhook)
        found.append(WebhookNotifier(to.url, _secret(to.token_file) if to.token_file else ""))
    # Each is left alone by itself: a pager that is away must not keep the charts from being told.
    return AllOf([Patient(one, time.monotonic) for one in found]) if found else None


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UsageError(
            "OBS-ENV-004", f"the token cannot be read: {reason}", where=str(path), todo="correct notify in obs.yaml"
        ) from error


def rollout_store(environment: Environment) -> RolloutStore:
    """Return the SQLite store of rollouts and evidence."""
    from mlops_obs.adapters.rollout_store import RolloutStore

    return RolloutStore(environment.state)


_PATHS = (
    ("state",), ("discovery",), ("metrics", "embedded"), ("target", "ray_serve", "store"), ("store", "kubernetes", "kubeconfig"),
    ("notify", "grafana", "token_file"), ("notify", "webhook", "token_file"), *(("target", kind, "kubeconfig") for kind in TARGETS),
)  # fmt: skip


def _absolute(raw: dict[str, Any], base: Path) -> dict[str, Any]:
    """Return a copy of `raw` with its relative paths resolved against the folder of the file."""
    out: dict[str, Any] = copy.deepcopy(raw)
    for *parents, leaf in _PATHS:
        node: Any = out
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if isinstance(node, dict) and isinstance(node.get(leaf), str):
            node[leaf] = str(base / node[leaf])
    if isinstance(out.get("slos"), list):
        out["slos"] = [str(base / str(one)) for one in out["slos"]]
    return out
