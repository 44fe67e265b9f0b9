"""Whose fault was it? The one place that turns an exception or an HTTP status into ok, client_error or error.

A client error never burns the error budget, so a wrong answer here is expensive in both directions: counting bad input as our
failure pages people at night, counting our failure as bad input hides an outage.
"""

from __future__ import annotations

from mlops_obs.metric_names import OUTCOME_CLIENT_ERROR, OUTCOME_ERROR, OUTCOME_OK

# Known by name, because the API must not import the servers. KServe answers these with 400 and 404.
_CLIENT_ERROR_NAMES = frozenset({"kserve.errors.InvalidInput", "kserve.errors.ModelNotFound"})
# The caller went away. If we were too slow for it, the latency histogram says so: it counts this request with its whole duration.
_GONE_NAMES = frozenset({"CancelledError", "GeneratorExit", "ClientDisconnect"})


def outcome_of_status(code: int) -> str:
    """Return the outcome of an HTTP status. 408 and 499 mean that the caller gave up; 429 is our refusal, not the caller's mistake."""
    if code == 429 or code >= 500:
        return OUTCOME_ERROR
    return OUTCOME_CLIENT_ERROR if code >= 400 else OUTCOME_OK


def outcome_of_exception(error: BaseException, client_errors: tuple[type[BaseException], ...] = ()) -> str:
    """Return the outcome of a request that ended with `error`.

    A client error is: a type listed in `client_errors`, an exception whose `client_error` is true or whose `status_code` is 4xx
    (Starlette, FastAPI, httpx), KServe's InvalidInput and ModelNotFound, or a caller that went away. Everything else is an error.
    """
    if client_errors and isinstance(error, client_errors):
        return OUTCOME_CLIENT_ERROR
    if getattr(error, "client_error", False) is True:
        return OUTCOME_CLIENT_ERROR
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and status >= 400:
        return outcome_of_status(status)
    for kind in type(error).__mro__:
        if kind.__name__ in _GONE_NAMES or f"{kind.__module__}.{kind.__qualname__}" in _CLIENT_ERROR_NAMES:
            return OUTCOME_CLIENT_ERROR
    return OUTCOME_ERROR
