"""The reference stack on one machine: `python -m feature_train_serve --out DIR`.

It owns a local Ray, prepares features and models on it, serves the first revision, and says each step on stdout as one
JSON line. The traps are at the end: Ray's daemons and replicas are grandchildren that a killed driver leaves behind,
so the process notes its descendants, shuts Ray down, and ends by id whoever is still there.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from feature_train_serve.serve.loopback import LOCAL_ONLY
from mlops_obs.adapters.discovery import prune_dead
from mlops_obs.adapters.process_table import descendants, started
from mlops_obs.errors import ObsError, PlatformError

if TYPE_CHECKING:
    from ray.serve import Application

SERVICE, STABLE = "credit-risk", "v1"
_SERVE_SECONDS, _GRACE_SECONDS, _LAST_SECONDS = 8.0, 5.0, 3.0
_PR_SET_CHILD_SUBREAPER = 36  # <sys/prctl.h>
# Serve's defaults hop between threads and log each request: on two cores that costs more than the model does.
_RAY_ENV = {
    "RAY_AUTH_MODE": "disabled",  # tokens switch themselves on where a token file lies about, and then our own controller is refused
    LOCAL_ONLY: "0",
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1000",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_worker_niceness": "0",  # 15 by default: then whatever else runs here goes before the answers
    "RAY_SERVE_ENABLE_TASK_EVENTS": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
}


class Stopped(BaseException):
    """SIGTERM or SIGINT arrived."""


def say(step: str, status: str, **details: Any) -> None:
    """Print one progress line."""
    sys.stdout.write(json.dumps({"step": step, "status": status, **details}) + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def step(name: str, note: str = "") -> Iterator[None]:
    """Say start and end of a step with its seconds; an error is said too and goes on."""
    began = time.monotonic()
    say(name, "start", note=note)
    try:
        yield
    except Exception as error:
        say(
            name,
            "error",
            seconds=round(time.monotonic() - began, 2),
            note=str(error).splitlines()[0] if str(error) else type(error).__name__,
        )
        raise
    say(name, "done", seconds=round(time.monotonic() - began, 2), note=note)


def start_ray(out: Path) -> str:
    """Start a local Ray whose workers can import the stack; return the address of its GCS."""
    for name, value in _RAY_ENV.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("MLOPS_OBS_DISCOVERY_DIR", str(out / "discovery"))
    here = str(Path(__file__).resolve().parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    import ray

    ray.init(
        num_cpus=2,
        include_dashboard=False,
        namespace="mlops-obs",
        log_to_driver=False,
        logging_level="WARNING",
        object_store_memory=256 * 2**20,
        _node_ip_address="127.0.0.1",
    )
    return str(ray.get_runtime_context().gcs_address)


def serve_apps(revisions: Mapping[str, Application], ingress: Application, port: int) -> str:
    """Serve the applications of `revisions` behind `ingress` on 127.0.0.1; return the base address.

    Raises:
        PlatformError: OBS-STK-001 if `port` is taken.
    """
    port = _claim(port)
    from ray import serve

    from feature_train_serve.serve.ray_app import INGRESS_APP, app_name

    serve.start(http_options={"host": "127.0.0.1", "port": port, "keep_alive_timeout_s": 75}, logging_config={"enable_access_log": False})
    for revision, application in revisions.items():
        serve.run(application, name=app_name(SERVICE, revision), route_prefix=None)
    serve.run(ingress, name=INGRESS_APP, route_prefix="/")
    return f"http://127.0.0.1:{port}"


def run(options: argparse.Namespace, stop: threading.Event, listen: Callable[[], None]) -> None:
    """Prepare and serve, then wait for `stop`; with `--prepare-only`, end before serving.

    `listen` puts our signal handlers back, for Ray installs its own.
    """
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with step("ray"):
        address = start_ray(out)
        listen()
    from feature_train_serve.prepare import prepare
    from feature_train_serve.train.recipes import CHALLENGERS, RECIPES

    recipes = (*RECIPES, *CHALLENGERS) if options.challengers else RECIPES
    prepared = prepare(out, options.seed, lambda said: say(**said), options.data, recipes=recipes)
    made = {
        "service": SERVICE,
        "packages": {revision: str(path) for revision, path in prepared.packages.items()},
        "store": str(prepared.online_store),
        "customers": str(prepared.customers),
    }
    if options.prepare_only:
        say("prepared", "ready", note="packages and online store", **made)
        return
    began = time.monotonic()
    say("serving", "start", note=f"{STABLE} at 100 %")
    from feature_train_serve.serve.ray_app import ingress_app, predictor_app

    stable = predictor_app(STABLE, str(prepared.packages[STABLE]), str(prepared.online_store))
    url = serve_apps({STABLE: stable}, ingress_app({STABLE: 100}), options.http_port)
    say(
        "serving",
        "ready",
        seconds=round(time.monotonic() - began, 2),
        note=f"{STABLE} at 100 %",
        url=url,
        address=address,
        **made,
    )
    stop.wait()


def shut_down() -> None:
    """End Serve and Ray, and every descendant that is still there after some seconds."""
    family = descendants(os.getpid())
    # In a thread, because Serve waits up to 30 s for a controller that may be gone; replicas have long drained by then.
    closing = threading.Thread(target=_close_serve, daemon=True)
    closing.start()
    closing.join(_SERVE_SECONDS)
    with contextlib.suppress(Exception):
        import ray

        ray.shutdown()
    deadline = time.monotonic() + _GRACE_SECONDS
    while (left := [pid for pid, since in family.items() if started(pid) == since]) and time.monotonic() < deadline:
        time.sleep(0.05)
    # What Ray was still starting when it was stopped may have lost its parent; since `adopt_orphans` it is ours.
    while (rest := {*left, *descendants(os.getpid())}) and time.monotonic() < deadline + _LAST_SECONDS:
        for pid in rest:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        left = []
        time.sleep(0.05)
    prune_dead(Path(os.environ.get("MLOPS_OBS_DISCOVERY_DIR") or "discovery"))  # Ray kills its workers: they cannot withdraw themselves


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own (Linux), so that none is out of reach at the end."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _close_serve() -> None:
    with contextlib.suppress(Exception):
        import ray

        if ray.is_initialized():
            from ray import serve

            serve.shutdown()


def main() -> int:
    """Run the stack until SIGTERM or SIGINT. Returns 0 when asked to stop, else the exit code of the error."""
    parser = argparse.ArgumentParser(prog="feature_train_serve", description="Features, training and serving on a local Ray, step by step.")
    parser.add_argument("--out", type=Path, required=True, help="folder for data, packages, store and discovery files")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation and the trainings")
    parser.add_argument("--data", type=Path, help="your own event table instead of the simulated one")
    parser.add_argument("--http-port", type=int, default=0, help="port of the service on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--prepare-only", action="store_true", help="make features and model packages, and end; something else serves them")
    parser.add_argument("--challengers", action="store_true", help="train the challengers too: an FT-Transformer, trees on all features")
    options = parser.parse_args()
    stop, ending = threading.Event(), False

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        if not ending:
            raise Stopped

    def listen() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)

    listen()
    adopt_orphans()
    code = 0
    try:
        run(options, stop, listen)
    except Stopped:
        pass
    except ObsError as error:
        say("stack", "error", note=str(error))
        code = error.exit_code
    except Exception as error:  # noqa: BLE001 - people get one line; Ray's logs keep the rest
        said = PlatformError(
            "OBS-STK-002",
            f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}",
            where=str(options.out),
            todo="read the logs of Ray",
        )
        say("stack", "error", note=str(said))
        code = said.exit_code
    finally:
        ending = True
        began = time.monotonic()
        shut_down()
        say("stopped", "done", seconds=round(time.monotonic() - began, 2), note="")
    return code


def _claim(port: int) -> int:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PlatformError(
                "OBS-STK-001", f"port {port} cannot be used: {error.strerror}", where="--http-port", todo="choose another, or 0"
            ) from error
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
