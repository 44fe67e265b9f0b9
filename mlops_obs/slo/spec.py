"""What people write in `slo/*.yaml`: objectives, periods and indicators of one service.

Objectives are exact decimals. Binary floats would make `1 - 0.999` read 0.0010000000000000009 in every rule, and a
threshold that is off by one bit either pages or does not. The trap for writers is the percentage: 99.9 is refused.
Every mistake of a document is reported at once, each with its line.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from mlops_obs import metric_names as names
from mlops_obs.durations import parse_duration
from mlops_obs.errors import ObsError, SpecError

Severity = Literal["page", "ticket"]
Locate = Callable[[tuple[int | str, ...]], str]
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_STAGES = (names.STAGE_FEATURES, names.STAGE_TRAIN, names.STAGE_SERVE, names.STAGE_INGRESS)


class SpecErrors(SpecError):
    """Every mistake of one document; `errors` holds them in file order and the text has one line for each."""

    def __init__(self, errors: Sequence[ObsError]) -> None:
        self.errors = tuple(errors)
        first = self.errors[0]
        super().__init__(first.code, first.what, todo=first.todo, where=first.where)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in getattr(self, "errors", ()))


def _mistake(code: str, what: str, todo: str) -> PydanticCustomError:
    return PydanticCustomError(code, "{what}", {"what": what, "todo": todo})


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Indicator(_Strict):
    """Which events count, and which of them are bad.

    `availability`: requests that ended in an error of ours. `latency`: requests slower than `threshold`, a bucket bound
    of the instrumentation. `freshness`: online feature reads that were late or missing. `drift`: scored windows that
    drifted. `stage` is where requests are counted (what the caller saw: `ingress`).
    """

    type: Literal["availability", "latency", "freshness", "drift"]
    stage: str = names.STAGE_INGRESS
    threshold: str | None = None
    feature_view: str | None = None

    @field_validator("stage")
    @classmethod
    def _known_stage(cls, value: str) -> str:
        if value not in _STAGES:
            raise _mistake("OBS-SLO-005", f"stage {value!r} is not one of {', '.join(_STAGES)}", _meant(value, _STAGES))
        return value

    @field_validator("threshold")
    @classmethod
    def _real_bucket(cls, value: str | None) -> str | None:
        if value is None:
            return None
        seconds = _duration(value, "threshold")
        if all(Decimal(str(bound)) != seconds for bound in names.LATENCY_BUCKETS):
            nearest = sorted(names.LATENCY_BUCKETS, key=lambda bound: abs(Decimal(str(bound)) - seconds))[:2]
            raise _mistake(
                "OBS-SLO-006",
                f"threshold {value} is not a bucket of the latency histogram, so it cannot be counted",
                "write " + " or ".join(f"{round(bound * 1000, 3):g}ms" for bound in sorted(nearest)),
            )
        return value

    @model_validator(mode="after")
    def _fields_fit_the_type(self) -> Indicator:
        if self.type == "latency" and self.threshold is None:
            raise _mistake("OBS-SLO-004", "a latency indicator needs a threshold", "write for example threshold: 250ms")
        if self.type != "latency" and self.threshold is not None:
            raise _mistake("OBS-SLO-005", f"a {self.type} indicator has no threshold", "remove threshold")
        if self.type != "freshness" and self.feature_view is not None:
            raise _mistake("OBS-SLO-005", f"a {self.type} indicator has no feature_view", "remove feature_view")
        return self

    @property
    def threshold_seconds(self) -> float | None:
        """The latency threshold in seconds, None for other indicators."""
        return None if self.threshold is None else float(parse_duration(self.threshold))


class SLO(_Strict):
    """One objective of one service. Durations are Prometheus durations; `objective` is a share of good events.

    `severities` says whether it may page or only open tickets. `min_bad_events` in the long window keep a handful of
    failures on an idle service from paging. `replan` stretches alert windows that could never fire, which are an
    error otherwise.
    """

    service: str
    team: str
    name: str
    description: str = ""
    objective: Decimal
    period: str = "30d"
    indicator: Indicator
    group_by: tuple[str, ...] = ()
    severities: tuple[Severity, ...] = ("page", "ticket")
    min_bad_events: int = Field(default=5, ge=1, le=1_000_000)
    replan: bool = False

    @field_validator("service", "team", "name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not _NAME.match(value):
            raise _mistake("OBS-SLO-005", f"{value!r} is not a plain name", "use at most 63 of a-z, 0-9 and -, ends without -")
        return value

    @field_validator("objective", mode="before")
    @classmethod
    def _share_not_percentage(cls, value: object) -> object:
        text = str(value).strip()
        number = text.removesuffix("%").strip()
        try:
            exact = Decimal(number)
        except ArithmeticError:
            raise _mistake("OBS-SLO-005", f"objective {text!r} is not a number", "write for example 0.999") from None
        if not exact.is_finite() or exact.adjusted() > 3 or len(number) > 20:
            raise _mistake("OBS-SLO-005", f"objective {text} is not a share", "write for example 0.999")
        if text.endswith("%") or 1 < exact <= 100:
            share = format((exact / 100).normalize(), "f")
            raise _mistake("OBS-SLO-003", f"objective {text} is a percentage", f"write {share}")
        if not 0 < exact < 1:
            raise _mistake(
                "OBS-SLO-005",
                f"objective {text} leaves no error budget or is no share",
                "write a number between 0 and 1, for example 0.999",
            )
        return exact

    @field_validator("period")
    @classmethod
    def _sane_period(cls, value: str) -> str:
        if not 86_400 <= _duration(value, "period") <= 90 * 86_400:
            raise _mistake("OBS-SLO-007", f"period {value} is not between 1d and 90d", "write for example 30d")
        return value

    @model_validator(mode="after")
    def _groups_exist(self) -> SLO:
        allowed = group_labels(self.indicator)
        for label in self.group_by:
            if label not in allowed:
                raise _mistake("OBS-SLO-008", f"a {self.indicator.type} indicator cannot be grouped by {label!r}", _meant(label, allowed))
        if not self.severities:
            raise _mistake("OBS-SLO-005", "severities is empty, so the SLO could never alert", "write severities: [page, ticket]")
        return self

    @property
    def budget(self) -> Decimal:
        """The share of events that may be bad, exact."""
        return 1 - self.objective

    @property
    def period_seconds(self) -> int:
        """Length of the period in seconds."""
        return int(parse_duration(self.period))


def group_labels(indicator: Indicator) -> tuple[str, ...]:
    """Return the labels by which the counters of `indicator` can be grouped."""
    return (names.FEATURE_VIEW,) if indicator.type == "freshness" else (names.REVISION,)


def parse_slos(document: object, locate: Locate = lambda _path: "") -> list[SLO]:
    """Turn a loaded YAML document into SLOs; `locate` says where (`file:line`) a path of keys stands.

    Raises:
        SpecErrors: every mistake of the document, in file order.
    """
    if not isinstance(document, Mapping):
        raise SpecErrors(
            [SpecError("OBS-SLO-001", "the document is not a mapping", todo="write service:, team: and slos:", where=locate(()))]
        )
    errors: list[ObsError] = []
    head = {key: document.get(key) for key in ("service", "team")}
    for key in document:
        if key not in ("service", "team", "slos"):
            errors.append(_unknown_key(key, ("service", "team", "slos"), locate((str(key),))))
    for key, value in head.items():
        if not isinstance(value, str):
            errors.append(SpecError("OBS-SLO-004", f"{key} is missing", todo=f"write {key}: a-plain-name", where=locate((key,))))
        elif not _NAME.match(value):
            errors.append(SpecError("OBS-SLO-005", f"{value!r} is not a plain name", todo="use a-z, 0-9 and -", where=locate((key,))))
    entries = document.get("slos")
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        errors.append(SpecError("OBS-SLO-004", "slos is missing or empty", todo="list at least one under slos:", where=locate(("slos",))))
        entries = []
    placeholder = {"service": "x", "team": "x"}  # so that a bad head does not repeat itself in every entry
    slos: list[SLO] = []
    for index, entry in enumerate(entries):
        path = ("slos", index)
        if not isinstance(entry, Mapping):
            errors.append(
                SpecError("OBS-SLO-005", "an SLO is not a mapping", todo="write name:, objective:, indicator:", where=locate(path))
            )
            continue
        stray = [key for key in ("service", "team") if key in entry]
        errors.extend(_unknown_key(key, _keys(SLO), locate((*path, key))) for key in stray)
        body = {str(key): value for key, value in entry.items() if key not in stray}
        try:
            slo = SLO.model_validate({**(placeholder if errors else head), **body})
        except ValidationError as error:
            errors.extend(_translate(error, path, locate))
        else:
            if any(slo.name == other.name for other in slos):
                errors.append(
                    SpecError("OBS-SLO-009", f"SLO {slo.name!r} is there twice", todo="rename one", where=locate((*path, "name")))
                )
            slos.append(slo)
    if errors:
        raise SpecErrors(sorted(errors, key=_line))
    return slos


def _line(error: ObsError) -> int:
    line = error.where.rpartition(":")[2]
    return int(line) if line.isdigit() else 0


def _translate(error: ValidationError, base: tuple[int | str, ...], locate: Locate) -> list[ObsError]:
    found: list[ObsError] = []
    for item in error.errors(include_url=False, include_input=False):
        path = (*base, *item["loc"])
        last, kind = str(item["loc"][-1]) if item["loc"] else "", item["type"]
        if kind == "extra_forbidden":
            owner = Indicator if item["loc"][0] == "indicator" else SLO
            found.append(_unknown_key(last, _keys(owner), locate(path)))
        elif kind == "missing":
            found.append(SpecError("OBS-SLO-004", f"{last} is missing", todo=f"add {last}:", where=locate(path[:-1])))
        elif kind.startswith("OBS-"):
            context: dict[str, Any] = item.get("ctx", {})
            found.append(SpecError(kind, str(context["what"]), todo=str(context["todo"]), where=locate(path)))
        else:
            found.append(
                SpecError(
                    "OBS-SLO-005",
                    f"{last or 'value'}: {item['msg'].lower()}",
                    todo="see the comments in slo/credit-risk.yaml",
                    where=locate(path),
                )
            )
    return found


def _unknown_key(key: object, known: Sequence[str], where: str) -> SpecError:
    return SpecError("OBS-SLO-002", f"unknown key {str(key)!r}", todo=_meant(str(key), known), where=where)


def _meant(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def _keys(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(key for key in model.model_fields if key not in ("service", "team"))


def _duration(value: str, field: str) -> Decimal:
    try:
        return parse_duration(value)
    except SpecError as error:
        raise _mistake("OBS-SLO-005", f"{field} {error.what}", error.todo) from None
