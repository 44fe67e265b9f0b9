"""The only place where ports meet adapters: reads `obs.yaml` and builds what a command needs.

An environment file says where things are, so that no command takes ten addresses as flags:

    service: credit-risk
    state: state.db                       # rollouts and their evidence (SQLite)
    discovery: discovery                  # file_sd folder of the instrumented processes
    metrics: {prometheus: "http://127.0.0.1:9090"}        # or {embedded: metrics.db}
    target: {ray_serve: {address: "127.0.0.1:6379", url: "http://127.0.0.1:8000", import_path: "my_app:predictor_app"}}
    links: {dashboards: "https://grafana.example/d", runbooks: "https://runbooks.example"}

Relative paths are relative to the file.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from mlops_obs.errors import UsageError
from mlops_obs.slo.counters import CounterSource

if TYPE_CHECKING:
    from mlops_obs.adapters.rollout_store import RolloutStore
    from mlops_obs.rollout.ports import TrafficTarget

ENV_VARIABLE = "OBS_ENV"
DEFAULT_FILE = "obs.yaml"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metrics(_Strict):
    """Where counters are read from: exactly one of the two."""

    prometheus: str | None = None
    embedded: Path | None = None


class RayServe(_Strict):
    """A weighted ingress on Ray Serve; `import_path` names the function `(revision, package, store) -> Application`."""

    address: str
    url: str
    import_path: str
    store: Path | None = None


class KServe(_Strict):
    """An InferenceService in Knative mode; without `kubeconfig`, the in-cluster account."""

    namespace: str
    name: str
    kubeconfig: Path | None = None


class Target(_Strict):
    """What splits the traffic: exactly one of the two."""

    ray_serve: RayServe | None = None
    kserve: KServe | None = None


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
        raw = yaml.safe_load(chosen.read_text())
    except OSError as error:
        todo = f"pass --env FILE, set ${ENV_VARIABLE}, or run in a folder that has {DEFAULT_FILE}"
        raise UsageError("OBS-ENV-001", f"no environment file ({error.strerror})", where=str(chosen), todo=todo) from error
    except yaml.YAMLError as error:
        raise UsageError("OBS-ENV-002", f"not valid YAML: {error}", where=str(chosen), todo="mend the file") from error
    if not isinstance(raw, dict):
        raise UsageError("OBS-ENV-002", "not a mapping of keys", where=str(chosen), todo="start from the example in the README")
    try:
        environment = Environment.model_validate({**_absolute(raw, chosen.resolve().parent), "path": chosen.resolve()})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError("OBS-ENV-003", f"{key}: {first['msg']}", where=str(chosen), todo="see the keys in the README") from error
    for name, one in (("metrics", environment.metrics), ("target", environment.target)):
        given = [key for key, value in one if value is not None]
        if len(given) != 1:
            raise UsageError(
                "OBS-ENV-003", f"{name} needs exactly one of {', '.join(type(one).model_fields)}", where=str(chosen), todo="keep one"
            )
    return environment


def counter_source(environment: Environment) -> CounterSource:
    """Return the reader of raw counters: Prometheus or the embedded engine's database."""
    if environment.metrics.prometheus:
        from mlops_obs.adapters.prometheus import PrometheusCounters

        return PrometheusCounters(environment.metrics.prometheus)
    from mlops_obs.adapters.embedded import EmbeddedCounters

    assert environment.metrics.embedded is not None  # noqa: S101 - load_environment checked that one is given
    return EmbeddedCounters(environment.metrics.embedded)


def traffic_target(environment: Environment) -> TrafficTarget:
    """Return the adapter of the platform that splits the traffic."""
    if environment.target.ray_serve:
        from mlops_obs.adapters.ray_serve import RayServeTarget

        where = environment.target.ray_serve
        return RayServeTarget(where.address, environment.service, where.import_path, store=str(where.store) if where.store else None)
    from mlops_obs.adapters.kserve import KServeTarget

    assert environment.target.kserve is not None  # noqa: S101 - load_environment checked that one is given
    isvc = environment.target.kserve
    return KServeTarget(isvc.namespace, isvc.name, kubeconfig=isvc.kubeconfig)


def rollout_store(environment: Environment) -> RolloutStore:
    """Return the SQLite store of rollouts and evidence."""
    from mlops_obs.adapters.rollout_store import RolloutStore

    return RolloutStore(environment.state)


_PATHS = (("state",), ("discovery",), ("metrics", "embedded"), ("target", "ray_serve", "store"), ("target", "kserve", "kubeconfig"))


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
