"""The same predictor on Ray Serve: one application per revision, and an ingress that splits the traffic by weight.

Three traps. Serve restarts a deployment whose version it does not know, and gives it a random one; the public argument
for it is gone. So both deployments set it: then a change of weights is a `reconfigure` inside the running ingress
that loses no request, and deploying what already runs restarts nothing. A request to a revision
without a living replica waits for one, so the ingress sets a deadline and answers 503. And a replica that imports
torch takes a whole core from its neighbours, so it loads in a thread of the lowest priority.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import threading
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeVar

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, RayServeException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from feature_train_serve.serve.loopback import keep_to_loopback
from mlops_obs.lifecycle import instrument

if TYPE_CHECKING:
    from feature_train_serve.serve.predictor import Scorer

log = logging.getLogger(__name__)
T = TypeVar("T")

SERVICE = "credit-risk"
PREDICTOR, INGRESS = "Predictor", "Ingress"
INGRESS_APP = "ingress"
_FORWARDED = ("content-type", "tracestate", "inference-header-content-length", "x-request-id")


def app_name(service: str, revision: str) -> str:
    """Return the name of the Serve application that serves `revision`."""
    return f"{service}-{revision}"


def in_background(work: Callable[[], T]) -> T:
    """Run `work` in a thread that yields the processor to everybody else, and return its result."""
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)  # Linux: niceness belongs to a thread
        try:
            result.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


class Predictor:
    """A replica of one revision: KServe's REST application around `CreditRiskModel`, called in the process."""

    def __init__(self, service: str, revision: str, package: str, store: str, opener: Callable[[str, str], Scorer] | None) -> None:
        keep_to_loopback()
        self._about = {"revision": revision, "package": package, "store": store, "pid": os.getpid()}

        def load() -> Any:
            from feature_train_serve.serve import predictor, rest

            self._call = rest.call
            model = predictor.CreditRiskModel(service, package, store, opener or predictor.open_package)
            model.load()
            if model.revision != revision:
                raise ValueError(f"the package at {package} is revision {model.revision}, not {revision}")
            return rest.rest_app(model)

        self._app = in_background(load)

    async def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str, bytes]:
        """Answer one HTTP request: status, content type and body."""
        status, content_type, content = await self._call(self._app, method, path, headers, body)
        return status, content_type, content

    def describe(self) -> Mapping[str, Any]:
        """Return revision, package, store and process id of this replica."""
        return self._about


class Ingress:
    """Sends each request to one revision, drawn by weight, and counts what the caller saw.

    Args:
        service: name of the service, prefix of the application names.
        deadline: seconds until a caller gets a 503 instead of an answer.
        seed: seed of the draw.
    """

    def __init__(self, service: str, deadline: float, seed: int) -> None:
        keep_to_loopback()
        self._service = service
        self._deadline = deadline
        self._random = random.Random(seed)  # noqa: S311 - a traffic split, not a secret
        self._telemetry: dict[str, Any] = {}
        self._handles: dict[str, Any] = {}
        self._split: tuple[list[str], list[int]] = ([], [])
        self._weights: dict[str, int] = {}

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Take over new weights between two requests. Ray Serve calls this at start and on every change of `user_config`.

        A revision is counted from zero and its replicas are looked up before its first request, at weight 0 too.
        """
        weights = {str(revision): int(weight) for revision, weight in user_config["weights"].items()}
        if sum(weights.values()) != 100 or min(weights.values()) < 0:
            raise ValueError(f"weights must be percentages that sum to 100, not {weights}")
        for revision in weights.keys() - self._handles.keys():
            self._telemetry[revision] = instrument(service=self._service, revision=revision, stage="ingress")
            handle = serve.get_deployment_handle(PREDICTOR, app_name=app_name(self._service, revision))
            with contextlib.suppress(Exception):  # a revision that is away now may be back when it is asked
                await asyncio.wait_for(handle.describe.remote(), 2.0)
            self._handles[revision] = handle
        live = {revision: weight for revision, weight in weights.items() if weight}
        self._split = (list(live), list(accumulate(live.values())))
        self._weights = weights

    def current_weights(self) -> dict[str, int]:
        """Return the weights this replica applies now."""
        return self._weights

    async def __call__(self, request: Request) -> Response:
        """Forward `request` to a revision; the answer names it in `x-revision`."""
        revisions, bounds = self._split
        revision = self._random.choices(revisions, cum_weights=bounds)[0]
        if request.method != "POST":  # health and metadata are no predictions: they stay out of the counts
            response = await self._forward(request, revision, request.headers.get("traceparent"))
        else:
            with self._telemetry[revision].request(headers=request.headers) as observed:
                response = await self._forward(request, revision, observed.traceparent)
                observed.status(response.status_code)
        response.headers["x-revision"] = revision
        return response

    async def _forward(self, request: Request, revision: str, traceparent: str | None) -> Response:
        headers = {key: value for key in _FORWARDED if (value := request.headers.get(key))}
        if traceparent:
            headers["traceparent"] = traceparent
        body = await request.body()
        try:
            pending = self._handles[revision].answer.remote(request.method, request.url.path, headers, body)
            status, content_type, content = await asyncio.wait_for(pending, self._deadline)
        except TimeoutError:
            pending.cancel()
            return _unavailable(f"revision {revision} did not answer within {self._deadline:g} s")
        except BackPressureError:
            return _unavailable(f"revision {revision} has too many requests waiting")
        except (RayError, RayServeException) as error:
            log.warning("revision %s: %s", revision, type(error).__name__)
            return _unavailable(f"revision {revision} could not answer")
        return Response(content, status_code=status, media_type=content_type)


def _unavailable(why: str) -> JSONResponse:
    return JSONResponse({"error": why}, status_code=503, headers={"retry-after": "1"})


def predictor_app(
    revision: str,
    package: str,
    store: str,
    *,
    service: str = SERVICE,
    replicas: int = 2,
    opener: Callable[[str, str], Scorer] | None = None,
) -> serve.Application:
    """Return the application that serves `revision` from `package`, to be run as `app_name(service, revision)` without a route.

    Two replicas by default: with one, the death of a process is an outage of its revision, and a rollout would judge
    the model by it.
    """
    deployment = serve.deployment(
        name=PREDICTOR,
        num_replicas=replicas,
        max_ongoing_requests=32,
        max_queued_requests=100,
        max_constructor_retry_count=2,
        health_check_period_s=5,
        graceful_shutdown_timeout_s=5,
        graceful_shutdown_wait_loop_s=0.5,
        ray_actor_options={"num_cpus": 0},
    )(Predictor)
    return deployment.options(version=package, _internal=True).bind(service, revision, package, store, opener)


def ingress_app(weights: Mapping[str, int], *, service: str = SERVICE, deadline: float = 5.0, seed: int = 0) -> serve.Application:
    """Return the ingress application, to be run as `ingress` at route `/`, splitting traffic by `weights` (percent by revision)."""
    deployment = serve.deployment(
        name=INGRESS,
        num_replicas=1,
        max_ongoing_requests=1000,
        health_check_period_s=5,
        graceful_shutdown_timeout_s=5,
        graceful_shutdown_wait_loop_s=0.5,
        ray_actor_options={"num_cpus": 0},
        user_config={"weights": dict(weights)},
    )(Ingress)
    return deployment.options(version="1", _internal=True).bind(service, deadline, seed)


def build_predictor(args: dict[str, str]) -> serve.Application:
    """Build a predictor from the `args` of a Serve config (RayService): revision, package, store and, if not the default, service."""
    return predictor_app(args["revision"], args["package"], args["store"], service=args.get("service", SERVICE))


def build_ingress(args: dict[str, str]) -> serve.Application:
    """Build the ingress from a Serve config: all traffic to `args["stable"]` until `user_config` of the deployment says otherwise."""
    return ingress_app({args["stable"]: 100}, service=args.get("service", SERVICE))
