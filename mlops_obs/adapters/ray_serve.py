"""Ray Serve as a traffic target: applications are revisions, and the weights are the `user_config` of an ingress.

Ray runs in a child process (`ray_serve_session`), spoken to in JSON lines. A Ray driver ends its own process when the
cluster goes away, takes over SIGTERM and prints where it likes; a rollout controller must survive all three, and a
cluster that is away is a TargetError like any other. The child ends with its standard input, hence with its parent.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_obs.errors import Conflict, TargetError
from mlops_obs.rollout.ports import WayBack

_START_SECONDS, _READ_SECONDS, _WRITE_SECONDS, _DEPLOY_SECONDS = 60.0, 20.0, 60.0, 180.0


class RayServeTarget:
    """A `TrafficTarget` over Ray Serve.

    Args:
        address: `host:port` of the cluster's GCS.
        service: name of the service; the application of a revision is `<service>-<revision>`.
        import_path: `module:function` that builds the application of a revision, called as
            `function(revision, package, store, service=...)`; `ingress_app(weights, service=...)` stands in the same module.
        store: online store that new revisions read; None means the one that the serving revision reads.
        remove_old: end the applications of other revisions when a rollout is finished. They are kept otherwise: their
            replicas are the way back.
    """

    keeps_the_way_back = True
    least_watch_weight = 0

    def __init__(self, address: str, service: str, import_path: str, store: str | None = None, *, remove_old: bool = False) -> None:
        self._address, self._remove_old = address, remove_old
        self._argv = ("--address", address, "--service", service, "--import-path", import_path, *(("--store", store) if store else ()))
        self._child: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def deploy(self, revision: str, package: str) -> None:
        """Start `revision` at weight 0 and wait until it is ready.

        Raises:
            Conflict: OBS-RAY-004 if `revision` already serves another package.
            TargetError: OBS-RAY-003 if it does not become ready, OBS-RAY-001 or OBS-RAY-002 if Ray does not answer.
        """
        where = package if "://" in package else str(Path(package).resolve())
        self._ask(_DEPLOY_SECONDS, op="deploy", revision=revision, package=where)

    def weights(self) -> Mapping[str, int]:
        """Return the weights that the ingress replicas apply now, revisions at 0 included.

        Raises:
            TargetError: OBS-RAY-001, -002 or -005 if they do not answer or do not agree.
        """
        answer: dict[str, int] = self._ask(_READ_SECONDS, op="weights")
        return answer

    def set_weights(self, weights: Mapping[str, int], expected: Mapping[str, int]) -> None:
        """Replace the weights if they still are `expected`. A revision at 0 equals one that is not named.

        Two writers within the same second are kept apart by the controller's lease, not here: Serve has no
        compare-and-swap.

        Raises:
            Conflict: OBS-RAY-006 if the weights are neither `weights` nor `expected`.
            TargetError: OBS-RAY-007 if a revision is not ready, OBS-RAY-009 if the weights do not sum to 100, OBS-RAY-002 or -005 if
                the change cannot be confirmed.
        """
        self._ask(_WRITE_SECONDS, op="set_weights", weights=dict(weights), expected=dict(expected))

    def way_back(self, revision: str) -> WayBack:
        """Tell whether the application of `revision` runs with living replicas; `seconds` is what the last change of weights took.

        Raises:
            TargetError: OBS-RAY-001 or -002 if Ray does not answer.
        """
        return WayBack(**self._ask(_READ_SECONDS, op="way_back", revision=revision))

    def finish(self, revision: str) -> None:
        """See that `revision` has all the traffic; end the others if this target was told to (`remove_old`).

        Raises:
            Conflict: OBS-RAY-006 if it has not all the traffic.
            TargetError: OBS-RAY-002 or -005 if Ray does not answer.
        """
        self._ask(_DEPLOY_SECONDS, op="finish", revision=revision, remove=self._remove_old)

    @staticmethod
    def limits() -> tuple[str, ...]:
        """Return what this platform cannot do, in sentences."""
        return (
            "Ray Serve has no weights of its own: requests are split by the ingress application, and callers that go around it are not.",
            "Ray Serve has no compare-and-swap: two controllers without a common lease could overwrite each other within a second.",
            "Ray Serve keeps old revisions running until remove_old is set; their replicas are the way back and cost what they cost.",
        )

    def close(self) -> None:
        """Leave the cluster; what was deployed stays."""
        child, self._child, self._rest = self._child, None, b""
        if child:
            if child.stdin:
                child.stdin.close()
            try:
                child.wait(5.0)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            if child.stdout:
                child.stdout.close()

    def _ask(self, seconds: float, **request: Any) -> Any:
        if self._child is None:
            self._start()
        child = self._child
        assert child is not None  # noqa: S101 - _start has just set it or raised
        assert child.stdin is not None  # noqa: S101 - a pipe, see _start
        try:
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.flush()
            answer = json.loads(self._line(seconds))
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self._abandon()
            what = (
                f"Ray Serve did not answer within {seconds:.0f} s" if isinstance(error, TimeoutError) else "the connection to Ray was lost"
            )
            todo = "check that the cluster runs, then read the weights again: the change may have been applied"
            raise TargetError("OBS-RAY-002", what, where=self._address, todo=todo) from error
        if "error" in answer:
            kind = Conflict if answer["error"].pop("conflict") else TargetError
            raise kind(**answer["error"])
        return answer["ok"]

    def _start(self) -> None:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        env.setdefault("RAY_AUTH_MODE", "disabled")  # 2.60 turns tokens on by itself where a token file lies about
        if self._address.startswith(("127.", "localhost:")):
            # Ray would replace a loopback address by this machine's own in the network, where a local cluster does not listen.
            env.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        env["RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP"] = "1"  # the session has no event loop of its own, whatever the cluster was told
        argv = [sys.executable, "-m", "mlops_obs.adapters.ray_serve_session", *self._argv]
        self._child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
        try:
            hello = json.loads(self._line(_START_SECONDS))
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self._abandon()
            raise TargetError(
                "OBS-RAY-001", "cannot connect to Ray", where=self._address, todo="check that the cluster runs and its address"
            ) from error
        if "error" in hello:
            self._abandon()
            hello["error"].pop("conflict")
            raise TargetError(**hello["error"])

    def _line(self, seconds: float) -> bytes:
        assert self._child is not None  # noqa: S101 - only called with a child
        assert self._child.stdout is not None  # noqa: S101 - a pipe, see _start
        deadline = time.monotonic() + seconds
        descriptor = self._child.stdout.fileno()
        while b"\n" not in self._rest:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            chunk = os.read(descriptor, 65_536)
            if not chunk:
                raise EOFError
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _abandon(self) -> None:
        if self._child:
            self._child.kill()
        self.close()
