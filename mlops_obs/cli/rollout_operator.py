"""`obs rollout operator`: the controller for Kubernetes, which carries out the Rollout objects of a cluster.

Several may run: one leads, the others stand by and take over within a lease's time. It can be killed at any moment.
"""

from __future__ import annotations

import os
import random
import socket
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_obs.cli import wiring
from mlops_obs.cli.stopping import stop_when_asked
from mlops_obs.errors import UsageError

if TYPE_CHECKING:
    from mlops_obs.adapters.kubernetes.operator import Operator
    from mlops_obs.adapters.kubernetes.reconcile import MakeController, MakeTarget
    from mlops_obs.adapters.kubernetes.sample_watch import Newest
    from mlops_obs.adapters.kubernetes.store import KubernetesRolloutStore
    from mlops_obs.rollout.controller import Controller
    from mlops_obs.rollout.ports import TrafficTarget
    from mlops_obs.rollout.spec.rollout import Rollout
    from mlops_obs.slo.counters import CounterSource

_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def register(app: typer.Typer) -> None:
    """Add the command to `obs rollout`."""
    app.command(name="operator")(operator)


def operator(
    namespace: Annotated[str | None, typer.Option("-n", "--namespace", help="Carry out the Rollouts of this namespace.")] = None,
    all_namespaces: Annotated[bool, typer.Option("-A", "--all-namespaces", help="Carry out those of every namespace.")] = False,
    kubeconfig: Annotated[
        Path | None,
        typer.Option("--kubeconfig", help="The cluster's address and credentials (default: the pod's account, or $KUBECONFIG)."),
    ] = None,
    metrics: Annotated[str | None, typer.Option("--metrics", help="Prometheus to judge by, e.g. http://prometheus:9090.")] = None,
    alertmanager: Annotated[str | None, typer.Option("--alertmanager", help="Alertmanager that is told of rollbacks.")] = None,
    dashboards: Annotated[str | None, typer.Option("--dashboards", help="Base address of the dashboards that pages link to.")] = None,
    runbooks: Annotated[str | None, typer.Option("--runbooks", help="Base address of the runbooks that pages link to.")] = None,
    slos: Annotated[list[Path] | None, typer.Option("--slo", help="SLO files or folders whose budget policies rollouts obey.")] = None,
    env: Annotated[
        Path | None, typer.Option("--env", help="Take metrics, slos, notify, links and discovery from this obs.yaml; options win.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Rollouts that are looked at at once; most of a look is waiting.")] = 16,
    deploys: Annotated[int, typer.Option(min=1, help="Deploys that may be waited for at once, beside them.")] = 16,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks at a running rollout.")] = 1.0,
    poll: Annotated[
        float, typer.Option(min=0.0, help="Seconds between two questions to Prometheus whose samples are new; 0: look at intervals only.")
    ] = 0.25,
    resync: Annotated[float, typer.Option(min=10.0, help="Seconds after which all Rollouts are listed again.")] = 300.0,
    health_port: Annotated[int, typer.Option(help="Port of /healthz, /readyz and /metrics; 0 takes a free one.")] = 9464,
    health_host: Annotated[str, typer.Option(help="Address of that port.")] = "127.0.0.1",
    lease_namespace: Annotated[str | None, typer.Option(help="Namespace of the Lease (default: the operator's own).")] = None,
    lease_seconds: Annotated[float, typer.Option(min=3.0, help="Time after which another operator takes over from a silent one.")] = 15.0,
    foreign: Annotated[
        bool, typer.Option("--allow-foreign-targets", help="Let a Rollout move the traffic of a target in another namespace.")
    ] = False,
    ray_serve: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-ray-serve",
            metavar="MODULE:FUNCTION@HOST:PORT",
            help="Take targets on Ray Serve with this import path and address; without it none: the operator runs that code itself.",
        ),
    ] = None,
) -> None:
    """Carry out the Rollout objects of a cluster until SIGTERM or Ctrl-C. Several may run; one leads. Safe to kill at any time."""
    from mlops_obs.adapters import telemetry
    from mlops_obs.adapters.kubernetes.health import HealthServer

    if bool(namespace) == all_namespaces:
        raise UsageError(
            "OBS-KUBE-017", "give --namespace NAME or --all-namespaces, one of them", todo="obs rollout operator --namespace NAME"
        )
    links = {key: value for key, value in (("dashboards", dashboards), ("runbooks", runbooks)) if value}
    environment = _environment(env, metrics, alertmanager, slos or [], links)
    identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:12]}"  # a restarted container has its old host name, but is another
    running = _assemble(
        environment,
        identity,
        kubeconfig=kubeconfig,
        namespace=namespace or "",
        lease_namespace=lease_namespace or os.environ.get("POD_NAMESPACE") or _own_namespace() or namespace or "default",
        lease_seconds=lease_seconds,
        workers=workers,
        deploys=deploys,
        interval=interval,
        resync=resync,
        foreign=foreign,
        poll=poll,
        ray_serve=tuple(_ray_serve(one) for one in ray_serve or ()),
    )
    server = HealthServer(running.healthy, running.ready, running.metrics.text, health_host, health_port)
    if environment.discovery:
        os.environ.setdefault("MLOPS_OBS_DISCOVERY_DIR", str(environment.discovery))
        telemetry.register_collector("rollout", running.rollout_readings)
    stop = stop_when_asked()
    where = "all namespaces" if all_namespaces else f"namespace {namespace}"
    typer.echo(f"operator {identity} of {where} is running; health and metrics on {health_host}:{server.port}", err=True)
    running.start()
    try:
        while not stop:
            time.sleep(0.1)
    finally:
        ended = running.stop()
        server.close()
        typer.echo("operator stopped" if ended else "operator stopped; a look was still in flight, its lease runs out", err=True)


def _ray_serve(text: str) -> tuple[str, str]:
    """Return the import path and the address of a target on Ray Serve that is allowed."""
    path, _, address = text.partition("@")
    module, _, function = path.partition(":")
    if not (module and function and address):
        what, todo = f"--allow-ray-serve {text} is no import path and address", "write for example my_app:predictor_app@10.0.0.5:6379"
        raise UsageError("OBS-KUBE-021", what, todo=todo)
    return path, address


def _environment(
    env: Path | None, metrics: str | None, alertmanager: str | None, slos: list[Path], links: dict[str, str]
) -> wiring.Environment:
    """Return what the operator works with: obs.yaml if one is given, and what the options say instead."""
    if env is not None:
        found = wiring.load_environment(env)
    elif metrics:
        blank = wiring.Environment.model_construct(path=Path(), service="", state=Path(), discovery=None, slos=())
        found = blank.model_copy(update={"notify": wiring.Notify(), "links": wiring.LinkBases()})
    else:
        raise UsageError("OBS-KUBE-018", "nothing says which metrics to judge by", todo="give --metrics URL, or --env obs.yaml")
    update: dict[str, object] = {}
    if metrics:
        update["metrics"] = wiring.Metrics(prometheus=metrics)
    if alertmanager:
        update["notify"] = found.notify.model_copy(update={"alertmanager": alertmanager})
    if slos:
        update["slos"] = tuple(slos)
    if links:
        update["links"] = found.links.model_copy(update=links)
    return found.model_copy(update=update)


def _assemble(
    environment: wiring.Environment,
    identity: str,
    *,
    kubeconfig: Path | None,
    namespace: str,
    lease_namespace: str,
    lease_seconds: float,
    workers: int,
    deploys: int,
    interval: float,
    resync: float,
    foreign: bool,
    poll: float,
    ray_serve: tuple[tuple[str, str], ...],
) -> Operator:
    from mlops_obs.adapters.kubernetes.api import KubernetesApi
    from mlops_obs.adapters.kubernetes.controller_side import LEASE
    from mlops_obs.adapters.kubernetes.events import KubernetesEvents
    from mlops_obs.adapters.kubernetes.lease import Elector, LeaseLock
    from mlops_obs.adapters.kubernetes.operator import Operator, Settings
    from mlops_obs.adapters.kubernetes.self_metrics import SelfMetrics
    from mlops_obs.metric_names import CONTROLLER_EVENTS_DROPPED

    told = SelfMetrics()
    jitter = random.SystemRandom().random
    api = KubernetesApi(kubeconfig, connections=workers + deploys + 4, observe=told.api_call)
    # A busy pool must not keep the lease from being renewed.
    own = KubernetesApi(kubeconfig, request_timeout=lease_seconds / 3, connections=1, observe=told.api_call)
    elector = Elector(
        LeaseLock(own, lease_namespace, LEASE if not namespace else f"{LEASE}-{namespace}"),
        identity,
        lease_seconds=lease_seconds,
        deadline=lease_seconds * 2 / 3,
        retry=lease_seconds * 2 / 15,
        jitter=jitter,
        tell=lambda leads: running.led(leads),
    )
    source = wiring.counter_source(environment)
    make_target, make_controller = _makers(environment, source, identity, kubeconfig)
    running = Operator(
        api,
        elector,
        KubernetesEvents(api, identity, dropped=lambda why: told.count(CONTROLLER_EVENTS_DROPPED, why)),
        Settings(namespace, workers, deploys, interval, resync, foreign, poll, ray_serve),
        make_target=make_target,
        make_controller=make_controller,
        metrics=told,
        newest=_newest(source) if poll else None,
        jitter=jitter,
        tell=lambda words: typer.echo(f"{time.strftime('%H:%M:%S')} {words}"),
    )
    return running


def _newest(source: CounterSource) -> Newest | None:
    """Return the question which services' samples are new; None if the metrics are not in a Prometheus."""
    from mlops_obs.adapters.kubernetes.sample_watch import QUERY
    from mlops_obs.adapters.prometheus import PrometheusCounters
    from mlops_obs.metric_names import SERVICE

    if not isinstance(source, PrometheusCounters):
        return None
    return lambda: {one.labels.get(SERVICE, ""): one.samples[-1][1] for one in source.query(QUERY)}


def _makers(
    environment: wiring.Environment, source: CounterSource, identity: str, kubeconfig: Path | None
) -> tuple[MakeTarget, MakeController]:
    from mlops_obs.adapters.files import load_slos
    from mlops_obs.rollout.controller import Controller

    # An empty folder is what a ConfigMap that is not there yet is mounted as.
    paths = [one for one in environment.slos if not one.is_dir() or any(one.glob("*.y*ml"))]
    objectives = load_slos(*paths) if paths else []
    wiring.notifier(environment, objectives)  # what is wrong with its settings is told now, not at the first rollback

    def make_target(spec: Rollout) -> TrafficTarget:
        assert spec.target is not None  # noqa: S101 - the reconciler refuses a Rollout without one
        return wiring.target_of(spec.target, spec.service, kubeconfig=kubeconfig)

    def make_controller(name: str, store: KubernetesRolloutStore, target: TrafficTarget, spec: Rollout) -> Controller:
        own = environment.model_copy(update={"service": spec.service})
        return Controller(
            spec.service,
            store,
            target,
            source,
            owner=identity,
            clock=time.time,
            slos=objectives,
            notifier=wiring.notifier(own, objectives),
            key=name,
        )

    return make_target, make_controller


def _own_namespace() -> str:
    return _OWN_NAMESPACE.read_text().strip() if _OWN_NAMESPACE.exists() else ""
