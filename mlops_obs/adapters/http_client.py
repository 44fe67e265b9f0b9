"""The few HTTP calls that monitoring makes, on the standard library, with every way to fail turned into one type.

The trap: `urllib` obeys `http_proxy` even for 127.0.0.1, so on a machine with a corporate proxy every loopback scrape
would ask the proxy and fail. Loopback addresses are therefore always reached directly.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_LOOPBACK = {"localhost", "::1"}
_TOO_LARGE = 64 * 1024 * 1024


class Unreachable(Exception):
    """No usable HTTP answer: refused, timed out, cut off in the middle, or larger than the limit. The text says which."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer of any status, read in full."""

    status: int
    content_type: str
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON. Raises ValueError if it is something else, e.g. a proxy's login page."""
        return json.loads(self.body)


def is_loopback(url: str) -> bool:
    """Say whether `url` names this machine."""
    host = urlsplit(url).hostname or ""
    return host in _LOOPBACK or host.startswith("127.")


def fetch(
    url: str,
    *,
    timeout: float,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    limit: int = _TOO_LARGE,
) -> Answer:
    """GET `url`, or POST `body` to it, within `timeout` seconds per network operation.

    Raises:
        Unreachable: there was no complete answer of at most `limit` bytes. Statuses such as 503 are answers.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError as error:  # http://[::1
        raise Unreachable(f"{url!r} is not an address: {error}") from error
    if scheme not in {"http", "https"}:
        raise Unreachable(f"{url!r} is not an http address")
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}))  # noqa: S310 - scheme checked above
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({})) if is_loopback(url) else urllib.request.build_opener()
    try:
        with opener.open(request, timeout=timeout) as response:
            return _read(response.status, response, limit)
    except urllib.error.HTTPError as error:
        with error:
            return _read(error.code, error, limit)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(_words(error, timeout)) from error


def _read(status: int, response: Any, limit: int) -> Answer:
    try:
        body = response.read(limit + 1)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"the answer was cut off ({type(error).__name__})") from error
    if len(body) > limit:
        raise Unreachable(f"the answer is larger than {limit} bytes")
    return Answer(status, response.headers.get("Content-Type", ""), body)


def _words(error: Exception, timeout: float) -> str:
    cause = getattr(error, "reason", error)
    if isinstance(cause, TimeoutError):
        return f"no answer in {timeout:g} s"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    return str(cause) or type(error).__name__
