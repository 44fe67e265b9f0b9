"""The Ray side of `RayServeTarget`: a driver process that carries out one order per line of standard input.

The answers go to what was standard output at the start; everything that Ray itself prints goes to standard error, or
a log line of Ray's would be read as an answer.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from mlops_obs.errors import Conflict, TargetError

_INGRESS_APP = "ingress"
_CALL_SECONDS, _AGREE_SECONDS = 10.0, 15.0


class Session:
    """A connection to one Ray cluster for one service. Arguments as for `RayServeTarget`."""

    def __init__(self, address: str, service: str, import_path: str, store: str | None) -> None:
        self._address, self._service, self._store = address, service, store
        self._applied_in: float | None = None  # seconds that the last change of weights took on all ingress replicas
        module, _, function = import_path.partition(":")
        try:
            app = importlib.import_module(module)
            self._predictor_app, self._ingress_app = getattr(app, function), app.ingress_app
        except Exception as error:  # whatever the module raises when it is loaded
            todo = "put its folder on PYTHONPATH; it offers the named function and ingress_app"
            raise TargetError(
                "OBS-RAY-008", f"cannot load the serving application: {type(error).__name__}: {error}", where=import_path, todo=todo
            ) from error
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=3.0).close()  # ray.init alone would wait for minutes
            import ray

            ray.init(address=address, namespace="mlops-obs", log_to_driver=False, configure_logging=False)
        except Exception as error:
            raise TargetError(
                "OBS-RAY-001",
                f"cannot connect to Ray: {_last_line(error)}",
                where=address,
                todo="check that the cluster runs and its address",
            ) from error

    def deploy(self, revision: str, package: str) -> None:
        """Start `revision`, wait until it is ready, and make it known to the ingress at weight 0."""
        from ray import serve

        name = f"{self._service}-{revision}"
        if self._status(name) == "RUNNING":
            running = self._describe(name)["package"]
            if running != package:
                raise Conflict(
                    "OBS-RAY-004", f"revision {revision} already serves {running}", where=name, todo="give the new package a new revision"
                )
        else:
            try:
                serve.run(
                    self._predictor_app(revision, package, self._store or self._store_in_use(), service=self._service),
                    name=name,
                    route_prefix=None,
                )
            except Exception as error:
                what = f"revision {revision} does not become ready: {_last_line(error)}"
                raise TargetError("OBS-RAY-003", what, where=name, todo="read the replica's log in Ray's session folder") from error
        weights = self.weights()
        if revision not in weights:
            self._apply({**weights, revision: 0})

    def weights(self) -> dict[str, int]:
        """Return the weights on which all ingress replicas agree."""
        answers: list[dict[str, int]] = []
        deadline = time.monotonic() + _AGREE_SECONDS
        while time.monotonic() < deadline:
            answers = self._replicas()
            if answers and all(one == answers[0] for one in answers):
                return answers[0]
            time.sleep(0.1)
        what = f"the ingress replicas do not agree: {answers}" if answers else "no ingress replica answers"
        raise TargetError("OBS-RAY-005", what, where=self._address, todo="see the Serve applications with `serve status`")

    def set_weights(self, weights: Mapping[str, int], expected: Mapping[str, int]) -> None:
        """Replace the weights if they are `expected`, and wait until every ingress replica applies them."""
        now = self.weights()
        if _live(now) == _live(weights):
            return
        if _live(now) != _live(expected):
            raise Conflict(
                "OBS-RAY-006", f"the weights are {now}, not {dict(expected)}", where=_INGRESS_APP, todo="read them again and decide again"
            )
        if sum(weights.values()) != 100 or min(weights.values()) < 0:  # the ingress would die of them, and with it the service
            what = f"cannot route {dict(weights)}: weights are percents that sum to 100"
            raise TargetError("OBS-RAY-009", what, where=_INGRESS_APP, todo="give all of the traffic away")
        for revision in _live(weights):
            status = self._status(f"{self._service}-{revision}")
            if status != "RUNNING":
                raise TargetError("OBS-RAY-007", f"revision {revision} is {status}", where=self._service, todo="deploy it first")
        self._apply({**dict.fromkeys(now, 0), **weights})

    def way_back(self, revision: str) -> dict[str, Any]:
        """Tell whether the application of `revision` runs with living replicas, as the fields of a `WayBack`."""
        from ray import serve

        found = serve.status().applications.get(f"{self._service}-{revision}")
        if found is None:
            return {"ready": False, "reason": f"{revision} is not deployed", "seconds": None}
        status = str(found.status.value)
        dead = [name for name, one in found.deployments.items() if not _living(one.replica_states)]
        if status != "RUNNING" or dead:
            what = f"no living replica of {', '.join(sorted(dead))}" if dead else found.message or "no reason given"
            return {"ready": False, "reason": f"{revision} is {status}: {what}", "seconds": None}
        replicas = sum(_living(one.replica_states) for one in found.deployments.values())
        return {"ready": True, "reason": f"{revision} runs with {replicas} replicas", "seconds": self._applied_in}

    def finish(self, revision: str, remove: bool) -> None:
        """See that `revision` has all the traffic; with `remove`, take the others out of the ingress and end them."""
        from ray import serve

        now = self.weights()
        if _live(now) != {revision: 100}:
            what = f"the weights are {now}, not all on {revision}"
            raise Conflict("OBS-RAY-006", what, where=_INGRESS_APP, todo="read them again and decide again")
        if not remove:
            return
        if set(now) != {revision}:
            self._apply({revision: 100})  # first, so that no request can be under way to what ends
        for name in set(serve.status().applications) - {_INGRESS_APP, f"{self._service}-{revision}"}:
            if name.startswith(f"{self._service}-"):
                serve.delete(name)

    def _apply(self, weights: Mapping[str, int]) -> None:
        from ray import serve

        began = time.monotonic()

        try:
            serve.run(self._ingress_app(weights, service=self._service), name=_INGRESS_APP, route_prefix="/")
        except Exception as error:
            what = f"the ingress did not take the weights {dict(weights)}: {_last_line(error)}"
            raise TargetError(
                "OBS-RAY-005", what, where=_INGRESS_APP, todo="read the weights again: the change may have been applied"
            ) from error
        deadline = time.monotonic() + _AGREE_SECONDS
        while self.weights() != weights:
            if time.monotonic() > deadline:
                raise TargetError(
                    "OBS-RAY-005", f"the ingress does not apply {dict(weights)}", where=_INGRESS_APP, todo="read the weights again"
                )
            time.sleep(0.05)
        self._applied_in = round(time.monotonic() - began, 2)

    def _replicas(self) -> list[dict[str, int]]:
        from ray import serve
        from ray.exceptions import RayError

        try:
            answers = serve.get_app_handle(_INGRESS_APP).broadcast("current_weights").results(timeout_s=_CALL_SECONDS)
        except (RayError, TimeoutError, RuntimeError, serve.exceptions.RayServeException) as error:
            raise TargetError(
                "OBS-RAY-005", f"the ingress does not answer: {_last_line(error)}", where=self._address, todo="check `serve status`"
            ) from error
        return list(answers)

    def _status(self, name: str) -> str:
        from ray import serve

        found = serve.status().applications.get(name)
        return str(found.status.value) if found else "not deployed"

    def _describe(self, name: str) -> dict[str, Any]:
        from ray import serve

        return dict(serve.get_app_handle(name).describe.remote().result(timeout_s=_CALL_SECONDS))

    def _store_in_use(self) -> str:
        serving = max(self.weights().items(), key=lambda item: item[1])[0]
        return str(self._describe(f"{self._service}-{serving}")["store"])


def answer(session: Session, order: dict[str, Any]) -> dict[str, Any]:
    """Carry out one order; errors become part of the answer."""
    try:
        return {"ok": getattr(session, order.pop("op"))(**order)}
    except TargetError as error:
        return _refusal(error)
    except Exception as error:  # noqa: BLE001 - whatever Ray raises must not end the session without an answer
        what = f"Ray failed: {type(error).__name__}: {_last_line(error)}"
        return _refusal(TargetError("OBS-RAY-002", what, todo="read the weights again: the change may have been applied"))


def main() -> None:
    """Connect, say so, then answer orders until standard input ends."""
    parser = argparse.ArgumentParser()
    for option in ("--address", "--service", "--import-path"):
        parser.add_argument(option, required=True)
    parser.add_argument("--store")
    options = parser.parse_args()
    os.nice(10)  # connecting costs seconds of processor time, next to the replicas that answer requests
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        session = Session(options.address, options.service, options.import_path, options.store)
    except TargetError as error:
        out.write(json.dumps(_refusal(error)) + "\n")
        sys.exit(1)
    out.write(json.dumps({"ok": None}) + "\n")
    for order in _lines():
        out.write(json.dumps(answer(session, order)) + "\n")
    os._exit(0)  # leave at once: what Ray does at exit may wait for a cluster that has gone


def _lines() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        yield json.loads(line)


def _refusal(error: TargetError) -> dict[str, Any]:
    said = {"code": error.code, "what": error.what, "todo": error.todo, "where": error.where}
    return {"error": {**said, "conflict": isinstance(error, Conflict)}}


def _living(states: Mapping[Any, int]) -> int:
    """Return how many replicas of a deployment serve; their states are named by an enum or by its text."""
    return sum(count for state, count in states.items() if str(getattr(state, "value", state)) == "RUNNING")


def _live(weights: Mapping[str, int]) -> dict[str, int]:
    return {revision: weight for revision, weight in weights.items() if weight}


def _last_line(error: BaseException) -> str:
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)[:300]


if __name__ == "__main__":
    main()
