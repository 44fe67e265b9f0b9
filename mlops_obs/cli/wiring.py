"""The only place where ports meet adapters: reads `obs.yaml` and builds what a command needs.

An environment file says where things are, so that no command takes ten addresses as flags:

    service: credit-risk
    state: state.db                       # rollouts and their evidence (SQLite)
    discovery: discovery                  # file_sd folder of the instrumented processes
    metrics: {prometheus: "http://127.0.0.1:9090"}        # or {embedded: metrics.db}
    target: {ray_serve: {address: "127.0.0.1:6379", url: "http://127.0.0.1:8000", import_path: "my_app:predictor_app"}}
    #       or {kserve: {namespace: models, name: credit-risk}}      # in Knative mode
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
    """A weighted ingress on Ray Serve.

    `import_path` is `module:function`, called as `function(revision, package, store, service=...) -> Application`; the module also offers
    `ingress_app(weights, service=...)`. The controller imports it, so it must be importable where the controller runs.
    """

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
    try:
        environment = Environment.model_validate({**_absolute(raw, chosen.resolve().parent), "path": chosen.resolve()})
    except ValidationError as error:
        raise _explain(error, str(chosen)) from error
    for name, one in (("metrics", environment.metrics), ("target", environment.target)):
        given = [key for key, value in one if value]
        if len(given) != 1:
            raise UsageError(
                "OBS-ENV-003", f"{name} needs exactly one of {', '.join(type(one).model_fields)}", where=str(chosen), todo="keep one"
            )
    return environment


def _explain(error: ValidationError, where: str) -> UsageError:
    """Name an unknown key first: a misspelt key is a missing one, too."""
    problems = error.errors()
    first = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    *parents, leaf = (str(part) for part in first["loc"])
    key = ".".join((*parents, leaf))
    if first["type"] != "extra_forbidden":
        return UsageError("OBS-ENV-003", f"{key}: {first['msg']}", where=where, todo="`obs demo` writes an obs.yaml to compare with")
    nested: dict[str, type[BaseModel]] = {
        "ray_serve": RayServe, "kserve": KServe, "metrics": Metrics, "target": Target, "links": LinkBases,
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
