"""The drift document: what a team writes about the alarms of one model, next to its SLOs.

    service: credit-risk
    budget: 1 per 90d              # false alarms of the whole model, on average
    reference: models/credit-risk  # profile, model package or table
    importance: {income: 3, age: 1, channel: 0}   # parts of the budget; 0: watched, never alarms
    tolerance: 0.05                # a shift by this many standard deviations is no news
    window: 1h                     # rows that a score is made of
    severity: page                 # or ticket

The trap: a key that is misspelt would be silently ignored, and a budget nobody reads protects nobody. Unknown keys are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from mlops_obs.collectors.drift.alarms.budget import Budget
from mlops_obs.durations import parse_duration
from mlops_obs.errors import ObsError, SpecError
from mlops_obs.slo.spec_errors import NAME, SpecErrors, Strict, meant, mistake

Locate = Callable[[tuple[int | str, ...]], str]
DEFAULT_BUDGET = "1 per 90d"


class DriftDocument(Strict):
    """A drift document; every key has a default, so that the shortest one names the service only."""

    service: str = ""
    budget: str = DEFAULT_BUDGET
    reference: str = ""
    importance: Mapping[str, float] = Field(default_factory=dict)
    tolerance: float = Field(default=0.05, ge=0, le=2)
    window: str = "1h"
    severity: Literal["page", "ticket"] = "page"

    @field_validator("service")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if value and not NAME.fullmatch(value):
            raise mistake("OBS-ALM-004", f"service {value!r} is not a plain name", "use a-z, 0-9 and -")
        return value

    @field_validator("budget")
    @classmethod
    def _readable_budget(cls, value: str) -> str:
        try:
            Budget.parse(value)
        except SpecError as error:
            raise mistake(error.code, error.what, error.todo) from None
        return value

    @field_validator("window")
    @classmethod
    def _readable_window(cls, value: str) -> str:
        try:
            parse_duration(value)
        except SpecError as error:
            raise mistake("OBS-ALM-004", f"window {error.what}", error.todo) from None
        return value

    @field_validator("importance")
    @classmethod
    def _not_negative(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        wrong = [name for name, one in value.items() if not 0 <= one < 1e12]
        if wrong:
            raise mistake("OBS-ALM-004", f"importance of {', '.join(wrong)} is no part of a budget", "write a number from 0 up")
        if value and not any(value.values()):
            raise mistake("OBS-ALM-004", "every importance is 0: nothing could raise an alarm", "give one of them more")
        return value


def parse_drift(document: object, locate: Locate = lambda _path: "") -> DriftDocument:
    """Turn a loaded YAML document into a drift document.

    Raises:
        SpecErrors: OBS-ALM-001 and OBS-ALM-004, every mistake of the document with its place.
    """
    if not isinstance(document, Mapping):
        what = "the drift document is not a mapping"
        raise SpecErrors([SpecError("OBS-ALM-004", what, todo="write for example service: and budget:", where=locate(()))])
    try:
        # YAML reads exact numbers; pydantic turns them into floats
        return DriftDocument.model_validate({str(key): value for key, value in document.items()})
    except ValidationError as error:
        raise SpecErrors([_worded(one, locate) for one in error.errors(include_url=False)]) from None


def _worded(item: object, locate: Locate) -> ObsError:
    assert isinstance(item, dict)  # noqa: S101 - pydantic's documented form
    where, kind = locate(tuple(item["loc"])), item["type"]
    name = str(item["loc"][0]) if item["loc"] else "document"
    if kind == "extra_forbidden":
        return SpecError(
            "OBS-ALM-004", f"{name} is no key of a drift document", todo=meant(name, list(DriftDocument.model_fields)), where=where
        )
    if kind == "OBS":
        found = item["ctx"]["found"][0]
        return SpecError(found.code, found.what, todo=found.todo, where=where)
    return SpecError("OBS-ALM-004", f"{name}: {str(item['msg']).lower()}", todo="see collectors/drift/README.md", where=where)
