"""Reading a whole document of SLOs: its head, the SLOs under it, and the line of every mistake.

All mistakes of a document are reported at once. The trap is the echo: a mistake in the head must not repeat itself in
every SLO below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from mlops_obs.errors import ObsError, SpecError
from mlops_obs.slo.indicator_spec import PROMQL_FIELDS, Indicator
from mlops_obs.slo.spec import SLO, BudgetStep, TierSpec
from mlops_obs.slo.spec_errors import NAME, Mistake, SpecErrors, meant

Locate = Callable[[tuple[int | str, ...]], str]
Promql = Callable[[str, str, str], ObsError | None]
Judge = Callable[[SLO, str], Sequence[ObsError]]
HEAD = ("service", "team")
PLATFORM = "platform"  # generated/platform-rules.yaml holds the alerts about collectors and instrumentation
SHARED = ("time_zone", "budget_policy", "labels")  # written once for all SLOs of a document; an SLO's own come first
_STAND_IN = {"name": "x", "objective": "0.9"}  # for a required field that is wrong
_TOGETHER = {"period": ("time_zone", "tiers"), "budgeting": ("slice_objective",), "slice_objective": ("budgeting",)}
# What pydantic calls a mistake -> what it is, what to write.
_WORDS = {
    "string_type": ("is not text", "write text, in quotes if it looks like a number"),
    "bool_type": ("is neither true nor false", "write true or false"),
    "bool_parsing": ("is neither true nor false", "write true or false"),
    "int_type": ("is not a whole number", "write for example 3"),
    "int_parsing": ("is not a whole number", "write for example 3"),
    "int_from_float": ("is not a whole number", "write for example 3"),
    "tuple_type": ("is not a list", "write for example [one, two]"),
    "dict_type": ("is not a mapping", "write keys and values"),
    "decimal_type": ("is not a number", "write for example 0.5"),
    "decimal_parsing": ("is not a number", "write for example 0.5"),
    "model_type": ("is not a mapping", "write keys and values"),
    "literal_error": ("is not known", "write {expected}"),
    "greater_than_equal": ("is too small", "write {ge} or more"),
    "less_than_equal": ("is too large", "write {le} or less"),
}
_PARTS: dict[str, type[BaseModel]] = {"indicator": Indicator, "tiers": TierSpec, "budget_policy": BudgetStep}


def parse_slos(document: object, locate: Locate = lambda _path: "", promql: Promql | None = None, judge: Judge | None = None) -> list[SLO]:
    """Turn a loaded YAML document into SLOs.

    Args:
        document: mappings, lists, text and exact numbers.
        locate: says where (`file:line`) a path of keys stands.
        promql: says what is wrong with PromQL (kind `selector` or `expression`, text, place); None trusts the checks of the spec.
        judge: says what else is wrong with an SLO that could be read, and its place.

    Raises:
        SpecErrors: every mistake of the document, in file order.
    """
    if not isinstance(document, Mapping):
        raise SpecErrors(
            [SpecError("OBS-SLO-001", "the document is not a mapping", todo="write service:, team: and slos:", where=locate(()))]
        )
    errors: list[ObsError] = []
    head = {key: document.get(key) for key in HEAD}
    known = (*HEAD, *SHARED, "slos")
    errors.extend(_unknown_key(key, known, locate((str(key),))) for key in document if key not in known)
    for key, value in head.items():
        if value is None:
            errors.append(SpecError("OBS-SLO-004", f"{key} is missing", todo=f"write {key}: a-plain-name", where=locate((key,))))
        elif not isinstance(value, str):
            errors.append(
                SpecError(
                    "OBS-SLO-005", f"{key} {_shown(value)} is not text".replace("  ", " "), todo="put it in quotes", where=locate((key,))
                )
            )
        elif not NAME.fullmatch(value):
            errors.append(SpecError("OBS-SLO-005", f"{value!r} is not a plain name", todo="use a-z, 0-9 and -", where=locate((key,))))
        elif key == "service" and value == PLATFORM:
            what = f"service {value} would write over the rules of the platform itself"
            errors.append(SpecError("OBS-SLO-005", what, todo="choose another name", where=locate((key,))))
    shared, wrong = _shared(document, locate)
    errors.extend(wrong)
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
        stray = [key for key in HEAD if key in entry]
        errors.extend(_unknown_key(key, _keys(SLO), locate((*path, key))) for key in stray)
        body = {str(key): value for key, value in entry.items() if key not in stray}
        given = {**(placeholder if errors else head), **_inherited(shared, body)}
        try:
            slo = SLO.model_validate(given)
        except ValidationError as error:
            errors.extend(_translate(error, path, locate))
            fields = {str(item["loc"][0]) for item in error.errors(include_url=False) if item["loc"]}
            if fields and "indicator" not in fields:
                errors.extend(_hidden(given, fields, path, locate))
            if "indicator" not in fields:
                errors.extend(_wrong_promql(entry, path, locate, promql))
        else:
            errors.extend(_wrong_promql(entry, path, locate, promql))
            errors.extend(judge(slo, locate((*path, "objective"))) if judge else ())
            if any(slo.name == other.name for other in slos):
                errors.append(
                    SpecError("OBS-SLO-009", f"SLO {slo.name!r} is there twice", todo="rename one", where=locate((*path, "name")))
                )
            slos.append(slo)
    if errors:
        raise SpecErrors(sorted(errors, key=_line))
    return slos


def _shared(document: Mapping[Any, Any], locate: Locate) -> tuple[dict[str, Any], list[ObsError]]:
    """Return what the head says for all SLOs, checked once on a stand-in, and its mistakes."""
    given = {key: document[key] for key in SHARED if document.get(key) is not None}
    stand_in = {"service": "x", "team": "x", "name": "x", "objective": "0.9", "period": "month", "indicator": {"type": "availability"}}
    try:
        SLO.model_validate({**stand_in, **given})
    except ValidationError as error:
        return {}, _translate(error, (), locate)
    return given, []


def _inherited(shared: Mapping[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    merged = dict(body)
    for key, value in shared.items():
        if key == "labels" and isinstance(body.get(key, {}), Mapping):
            merged[key] = {**value, **body.get(key, {})}
        elif key == "time_zone":
            if body.get("period") in ("week", "month", "quarter"):  # a rolling period has no zone
                merged.setdefault(key, value)
        else:
            merged.setdefault(key, value)
    return merged


def services_of(document: object) -> set[str]:
    """Return the service that a document is about, as far as it can be told; for documents with mistakes."""
    service = document.get("service") if isinstance(document, Mapping) else None
    return {service} if isinstance(service, str) else set()


def _hidden(given: Mapping[str, Any], wrong: set[str], path: tuple[int | str, ...], locate: Locate) -> list[ObsError]:
    """Return mistakes between fields that are right by themselves, which pydantic does not look for once a field is `wrong`."""
    left = wrong | {other for key in wrong for other in _TOGETHER.get(key, ())}
    rest = {key: value for key, value in given.items() if key not in left}
    try:
        SLO.model_validate(rest | {key: value for key, value in _STAND_IN.items() if key in wrong})
    except ValidationError as error:
        return _translate(error, path, locate)
    return []


def _wrong_promql(entry: Mapping[Any, Any], path: tuple[int | str, ...], locate: Locate, promql: Promql | None) -> list[ObsError]:
    indicator = entry["indicator"]
    if promql is None or not isinstance(indicator, Mapping):
        return []
    kind = "expression" if indicator["type"] == "ratio" else "selector"
    fields = [name for name in PROMQL_FIELDS if indicator.get(name) is not None]
    found = [(name, promql(kind, str(indicator[name]), locate((*path, "indicator", name)))) for name in fields]
    return [SpecError(one.code, f"{name} {one.what}", todo=one.todo, where=one.where) for name, one in found if one is not None]


def _line(error: ObsError) -> int:
    line = error.where.rpartition(":")[2]
    return int(line) if line.isdigit() else 0


def _translate(error: ValidationError, base: tuple[int | str, ...], locate: Locate) -> list[ObsError]:
    found: list[ObsError] = []
    for item in error.errors(include_url=False):
        path = (*base, *item["loc"])
        last, kind = str(item["loc"][-1]) if item["loc"] else "", item["type"]
        if kind == "extra_forbidden":
            owner = _PARTS.get(str(item["loc"][0]), SLO) if len(item["loc"]) > 1 else SLO
            found.append(_unknown_key(last, _keys(owner), locate(path)))
        elif kind == "missing":
            found.append(SpecError("OBS-SLO-004", f"{last} is missing", todo=f"add {last}:", where=locate(path[:-1])))
        elif kind == "OBS":
            several: Sequence[Mistake] = item["ctx"]["found"]
            found.extend(SpecError(one.code, one.what, todo=one.todo, where=locate((*path, *one.at))) for one in several)
        elif kind in _WORDS:
            what, todo = _WORDS[kind]
            name = next((str(key) for key in reversed(item["loc"]) if isinstance(key, str)), "value")
            said = " ".join(filter(None, (name, _shown(item["input"]), what)))
            found.append(SpecError("OBS-SLO-005", said, todo=todo.format(**item.get("ctx", {})), where=locate(path)))
        else:
            what = f"{last or 'value'}: {item['msg'].lower()}"
            found.append(SpecError("OBS-SLO-005", what, todo="see slo/README.md", where=locate(path)))
    return found


def _shown(value: object) -> str:
    """Write a wrong value as a person wrote it, shortened; nothing for what is empty, a list or a mapping."""
    if value is None or isinstance(value, Mapping) or (isinstance(value, Sequence) and not isinstance(value, str)):
        return ""
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    text = text if len(text) <= 40 else f"{text[:37]}..."
    return repr(text) if isinstance(value, str) else text


def _unknown_key(key: object, known: Sequence[str], where: str) -> SpecError:
    return SpecError("OBS-SLO-002", f"unknown key {str(key)!r}", todo=meant(str(key), known), where=where)


def _keys(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(key for key in model.model_fields if key not in HEAD)
