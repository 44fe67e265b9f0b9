"""Instrument what somebody else wrote: functions, Ray Serve deployment classes, KServe models.

The result is the same kind of thing: a coroutine function stays one (Ray Serve and KServe both ask), a class stays a class that
Ray can ship by value, an instance stays that very instance. The trap is `__call__`: Python looks it up on the type, so an
attribute on a KServe model would never be called; the instance gets a subclass instead, and `isinstance` still holds.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any

from mlops_obs.lifecycle.api import Request, Telemetry, Wrapped

_log = logging.getLogger("mlops_obs")
_MARK = "__mlops_obs_wrapped__"


def wrap(telemetry: Telemetry, obj: Wrapped) -> Wrapped:
    """Return `obj` instrumented by `telemetry`; unchanged, with a warning, if it is nothing that can be called."""
    target: Any = obj
    if getattr(target, _MARK, False):
        return obj
    if inspect.isroutine(target) or isinstance(target, functools.partial):
        return _function(telemetry, target)  # type: ignore[return-value]  # a function went in
    if hasattr(target, "func_or_class"):
        _log.warning("mlops_obs: %r is already a Ray Serve deployment; put @telemetry.wrap below @serve.deployment", target)
        return obj
    kind = target if inspect.isclass(target) else type(target)
    if not callable(getattr(kind, "__call__", None)) or ("__call__" not in vars_of(kind)):  # noqa: B004 - we want the method itself
        _log.warning("mlops_obs: %r has no __call__ to instrument; use `with telemetry.request():` inside it", target)
        return obj
    instrumented = _subclass(telemetry, kind)
    if inspect.isclass(target):
        return instrumented  # type: ignore[return-value]  # a class went in
    target.__class__ = instrumented
    return obj


def vars_of(kind: type) -> set[str]:
    """Return the names defined on `kind` and its bases, `object` and `type` left out: every class has a `type.__call__`."""
    return {name for base in kind.__mro__ if base is not object for name in vars(base)}


def _subclass(telemetry: Telemetry, kind: type) -> type:
    call = _function(telemetry, kind.__call__)
    # Empty slots keep the memory layout of `kind`, without which an instance could not change its class.
    names = {
        "__call__": call,
        "__slots__": (),
        "__doc__": kind.__doc__,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        _MARK: True,
    }
    return type(kind.__name__, (kind,), names)


def _function(telemetry: Telemetry, func: Callable[..., Any]) -> Callable[..., Any]:
    traceparent_of = _traceparent_finder(func)

    if inspect.isasyncgenfunction(func):

        @functools.wraps(func)
        async def stream_async(*args: Any, **kwargs: Any) -> Any:
            with telemetry.request(traceparent=traceparent_of(args, kwargs)):
                async for item in func(*args, **kwargs):
                    yield item

        result: Callable[..., Any] = stream_async
    elif inspect.isgeneratorfunction(func):

        @functools.wraps(func)
        def stream(*args: Any, **kwargs: Any) -> Any:
            with telemetry.request(traceparent=traceparent_of(args, kwargs)):
                return (yield from func(*args, **kwargs))

        result = stream
    elif inspect.iscoroutinefunction(func):

        @functools.wraps(func)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            with telemetry.request(traceparent=traceparent_of(args, kwargs)) as request:
                return _answered(request, await func(*args, **kwargs))

        result = call_async
    else:

        @functools.wraps(func)
        def call(*args: Any, **kwargs: Any) -> Any:
            with telemetry.request(traceparent=traceparent_of(args, kwargs)) as request:
                return _answered(request, func(*args, **kwargs))

        result = call
    setattr(result, _MARK, True)
    return result


def _answered(request: Request, answer: Any) -> Any:
    """Read the status of a returned HTTP response: a 503 that was returned is as bad as one that was raised."""
    status = getattr(answer, "status_code", None)
    if type(status) is int:
        request.status(status)
    return answer


def _traceparent_finder(func: Callable[..., Any]) -> Callable[[tuple[Any, ...], dict[str, Any]], str | None]:
    """Decide once where the trace context of a call is: in `traceparent`, in `headers`, or in an argument that has `.headers`."""
    try:
        names = list(inspect.signature(func).parameters)
    except (TypeError, ValueError):
        names = []
    name = next((one for one in ("traceparent", "headers") if one in names), "")
    position = names.index(name) if name else 0

    def find(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        try:
            if name:
                value = args[position] if position < len(args) else kwargs.get(name)
                return _text(value.get("traceparent") if value and name == "headers" else value)
            for value in args[:2]:
                headers = getattr(value, "headers", None)
                if headers is not None:
                    return _text(headers.get("traceparent"))
        except Exception:  # noqa: BLE001 - a strange argument must never fail the call; it only loses its trace
            return None
        return None

    return find


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
