"""How the mistakes of a document are collected and worded.

pydantic stops a model's own checks at the first exception, and people want every mistake of a file at once. A check
therefore raises `mistakes([...])`: one pydantic error that carries several, which `spec_document.py` takes apart again and
gives their lines.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

from mlops_obs.durations import parse_duration
from mlops_obs.errors import ObsError, SpecError

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class SpecErrors(SpecError):
    """Every mistake of one document; `errors` holds them in file order and the text has one line for each."""

    def __init__(self, errors: Sequence[ObsError]) -> None:
        self.errors = tuple(errors)
        first = self.errors[0]
        super().__init__(first.code, first.what, todo=first.todo, where=first.where)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in getattr(self, "errors", ()))


class Strict(BaseModel):
    """A part of a document: frozen, and a key that nobody knows is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong: its code, what it is, what to write instead, and the keys below the checked model that lead to it."""

    code: str
    what: str
    todo: str
    at: tuple[int | str, ...] = ()


def mistake(code: str, what: str, todo: str, at: tuple[int | str, ...] = ()) -> PydanticCustomError:
    """Return the exception for one mistake, to be raised inside a validator."""
    return mistakes([Mistake(code, what, todo, at)])


def mistakes(found: Sequence[Mistake]) -> PydanticCustomError:
    """Return the exception for several mistakes at once; `found` must not be empty."""
    return PydanticCustomError("OBS", "{what}", {"what": found[0].what, "found": tuple(found)})


def meant(word: str, known: Sequence[str]) -> str:
    """Return the advice for an unknown word: the one that was probably meant, or all there are."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def seconds(value: str, field: str) -> Decimal:
    """Return the seconds of a duration in a spec; a wrong one is a mistake of `field`."""
    try:
        return parse_duration(value)
    except SpecError as error:
        raise mistake("OBS-SLO-005", f"{field} {error.what}", error.todo) from None


def share(value: object, field: str, example: str) -> Decimal:
    """Return an exact share strictly between 0 and 1; a percentage is refused with the share that was meant."""
    text = str(value).strip()
    number = text.removesuffix("%").strip()
    try:
        exact = Decimal(number)
    except ArithmeticError:
        raise mistake("OBS-SLO-005", f"{field} {text!r} is not a number", f"write for example {example}") from None
    if not exact.is_finite() or exact.adjusted() > 3 or len(number) > 20:
        raise mistake("OBS-SLO-005", f"{field} {text} is not a share", f"write for example {example}")
    if text.endswith("%") or 1 < exact <= 100:
        raise mistake("OBS-SLO-003", f"{field} {text} is a percentage", f"write {format((exact / 100).normalize(), 'f')}")
    if not 0 < exact < 1:
        nothing = "leaves no error budget or is no share" if field == "objective" else "is no share"
        raise mistake("OBS-SLO-005", f"{field} {text} {nothing}", f"write a number between 0 and 1, for example {example}")
    return exact
