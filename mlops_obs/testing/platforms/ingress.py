"""A small HTTP ingress that splits requests by weight: what Knative's networking layer does, on one machine.

The trap is in what is counted. A split that is only declared proves nothing, so this counts what each caller saw, at the
place where he saw it, under the name of the revision that answered: the counters by which a rollout is judged.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from mlops_obs.errors import PlatformError
from mlops_obs.lifecycle import instrument

try:
    from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web
except ImportError as error:
    raise PlatformError(
        "OBS-FAKE-008", "the ingress needs aiohttp, which is not installed", todo="pip install 'mlops-obs[serve]'"
    ) from error

_FORWARDED = ("content-type", "tracestate", "inference-header-content-length", "x-request-id")
_LARGEST = 16 << 20


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a revision answers, and the percent of requests that it gets."""

    url: str
    percent: int


class WeightedIngress:
    """Forwards each request to one backend, drawn by weight; the answer names it in `x-revision`.

    Args:
        service: name of the service in the counters.
        deadline: seconds until a caller gets a 503 instead of an answer.
        seed: seed of the draw.
    """

    def __init__(self, service: str, *, deadline: float = 5.0, seed: int = 0) -> None:
        self._service, self._deadline = service, deadline
        self._random = random.Random(seed)  # noqa: S311 - a traffic split, not a secret
        self._telemetry: dict[str, Any] = {}
        self._backends: dict[str, Backend] = {}
        self._split: tuple[list[tuple[str, Backend]], list[int]] = ([], [])
        self._session: ClientSession | None = None

    def route(self, backends: Mapping[str, Backend]) -> None:
        """Use these backends from the next request on; safe to call from any thread, nothing is dropped.

        Raises:
            ValueError: the percentages do not sum to 100.
        """
        if sum(one.percent for one in backends.values()) != 100:
            raise ValueError(f"percentages must sum to 100: { {name: one.percent for name, one in backends.items()} }")
        for revision in backends.keys() - self._telemetry.keys():  # counted from zero, also while its weight is 0
            self._telemetry[revision] = instrument(service=self._service, revision=revision, stage="ingress")
        live = {revision: one for revision, one in backends.items() if one.percent}
        self._backends = dict(backends)
        # One assignment: a request sees the old split or the new one.
        self._split = (list(live.items()), list(accumulate(one.percent for one in live.values())))

    @property
    def weights(self) -> dict[str, int]:
        """Percent of requests by revision, as applied."""
        return {revision: one.percent for revision, one in self._backends.items()}

    def application(self) -> web.Application:
        """Return the aiohttp application that answers everything by forwarding it."""
        app = web.Application(client_max_size=_LARGEST)
        app.router.add_route("*", "/{path:.*}", self._answer)
        app.cleanup_ctx.append(self._connections)
        return app

    def run(self, port: int) -> None:
        """Serve on 127.0.0.1 until SIGTERM or SIGINT; the requests in flight are answered first."""
        web.run_app(self.application(), host="127.0.0.1", port=port, print=None, access_log=None, handle_signals=True)

    async def _connections(self, _: web.Application) -> Any:
        async with ClientSession(connector=TCPConnector(limit=64), timeout=ClientTimeout(total=self._deadline)) as session:
            self._session = session
            yield

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        live, bounds = self._split
        if not live:
            return web.json_response({"error": "no revision is ready"}, status=503)
        revision, backend = self._random.choices(live, cum_weights=bounds)[0]
        url = backend.url + request.path_qs
        if request.method != "POST":  # health and metadata are no predictions: they stay out of the counts
            response = await self._forward(request, url, request.headers.get("traceparent"))
        else:
            with self._telemetry[revision].request(headers=request.headers) as observed:
                response = await self._forward(request, url, observed.traceparent)
                observed.status(response.status)
        response.headers["x-revision"] = revision
        return response

    async def _forward(self, request: web.Request, url: str, traceparent: str | None) -> web.Response:
        assert self._session is not None  # noqa: S101 - set before the first request is taken
        headers = {key: value for key in _FORWARDED if (value := request.headers.get(key))}
        if traceparent:
            headers["traceparent"] = traceparent
        try:
            async with self._session.request(request.method, url, headers=headers, data=await request.read()) as answer:
                return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)
        except (TimeoutError, ClientError, OSError) as error:
            return web.json_response({"error": f"no answer: {type(error).__name__}"}, status=503, headers={"retry-after": "1"})
