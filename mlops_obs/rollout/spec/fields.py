"""What the parts of a rollout document share: strict models, durations in seconds, names, and mistakes that carry their remedy.

The trap is the number that a tool wrote: YAML gives exact decimals, JSON floats and people text. All of them must become
the same seconds, and nothing that is not finite may pass.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError

from mlops_obs.durations import format_duration, parse_duration
from mlops_obs.errors import SpecError

SHORTEST, LONGEST = 1e-6, 366 * 86_400.0  # seconds
_FINE = re.compile(r"([0-9]{1,6}\.[0-9]{1,6})ms")
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DURATION_PATTERN = "^([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+(\\.[0-9]+)?ms)?$"
_AS_JSON = {"anyOf": [{"type": "string", "minLength": 1, "pattern": DURATION_PATTERN}, {"type": "number", "minimum": 0}]}


class Strict(BaseModel):
    """A part of a document: frozen, a key that nobody knows is an error, and no number is infinite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True)


def wrong(what: str, todo: str, *at: str | int) -> PydanticCustomError:
    """Return the exception for a mistake, to be raised inside a validator; `at` are keys below the checked model."""
    return PydanticCustomError("OBS", "{what}", {"what": what, "todo": todo, "at": at})


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise wrong("is no duration", "write a duration such as 10s or 250ms")
    seconds = _parsed(value) if isinstance(value, str) else value
    if (isinstance(seconds, Decimal) and seconds.is_nan()) or not 0 < seconds < math.inf:
        raise wrong("is no duration", "a duration is positive and finite, for example 10s")
    if not SHORTEST <= seconds <= LONGEST:
        raise wrong("is too short or too long", "write a microsecond or more, and a year or less")
    return float(seconds)


def _parsed(text: str) -> float:
    fine = _FINE.fullmatch(text)  # bounds of histograms lie between milliseconds, which Prometheus' durations cannot say
    if fine:
        return float(Decimal(fine[1]) / 1000)
    try:
        return float(parse_duration(text))
    except SpecError as error:
        raise wrong(error.what, error.todo) from error


def _seconds_or_none_at_all(value: object) -> float:
    if not isinstance(value, bool) and value in (0, "0", "0s"):
        return 0.0
    return _seconds(value)


def _plain_name(value: object) -> object:
    if isinstance(value, str) and not NAME.fullmatch(value):
        raise wrong(f"{value!r} is not a plain name", "use at most 63 of a-z, 0-9 and -, ends without -")
    return value


Seconds = Annotated[float, BeforeValidator(_seconds), WithJsonSchema(_AS_JSON, mode="validation")]
"""A positive duration: written `10s`, `1h30m` or as a number of seconds, held in seconds."""

SecondsOrZero = Annotated[float, BeforeValidator(_seconds_or_none_at_all), WithJsonSchema(_AS_JSON, mode="validation")]
"""The same, or 0."""

_NAME_AS_JSON = {"type": "string", "maxLength": 63, "pattern": f"^{NAME.pattern}$"}
PlainName = Annotated[str, BeforeValidator(_plain_name), WithJsonSchema(_NAME_AS_JSON)]
"""At most 63 of a-z, 0-9 and -: what Kubernetes and Prometheus both take as a name."""


def no_truth(value: object) -> object:
    """Refuse `yes` where a number or text belongs, also in a list: Python takes it for 1. For a validator of mode `before`."""
    if isinstance(value, bool):
        raise wrong(f"{str(value).lower()} is neither text nor a number", "write the value, in quotes if it is text")
    for index, one in enumerate(value if isinstance(value, list | tuple) else ()):
        if isinstance(one, bool):
            raise wrong(f"{str(one).lower()} is not a whole number", "write for example 20", index)
    return value


def as_duration(seconds: float) -> str:
    """Write seconds as a document has them: `0s`, `90s`, `2.5ms`."""
    milliseconds = Decimal(str(seconds)) * 1000
    if milliseconds != milliseconds.to_integral_value():
        return f"{milliseconds.normalize():f}ms"
    return format_duration(seconds) if seconds else "0s"


@lru_cache(maxsize=32)
def durations(model: type[BaseModel]) -> frozenset[str]:
    """Return the keys of `model` that hold durations."""
    properties = model.model_json_schema(by_alias=True)["properties"]
    return frozenset(key for key, schema in properties.items() if any(one.get("pattern") == DURATION_PATTERN for one in _kinds(schema)))


def _kinds(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the alternatives of a schema; those of what may also be null are one level down."""
    return [inner for one in schema.get("anyOf", ()) for inner in one.get("anyOf", [one])]
