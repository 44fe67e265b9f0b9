"""What all importers do alike: plain names, labels that rules may carry, tiers, and an SLO whose alerts can fire.

The other tools take names, labels and alert windows that we refuse for a reason. Each such value is changed to the nearest one
that works, and the change is said; an SLO is never refused for its spelling.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from mlops_obs.durations import format_duration
from mlops_obs.errors import SpecError
from mlops_obs.slo.foreign.fields import Fields
from mlops_obs.slo.foreign.losses import Carried
from mlops_obs.slo.spec import RESERVED_LABELS, SLO, Severity, SpecErrors
from mlops_obs.slo.tiers import Tier, plan_tiers

NAME_LENGTH, LABEL_LENGTH = 63, 200
GRID, HOUR = 300, 3_600
UNASSIGNED = "unassigned"
_ORDER = (
    "name", "description", "objective", "period", "time_zone", "budgeting", "slice_objective", "indicator", "group_by", "severities",
    "min_bad_events", "expected_traffic", "statistical_bound", "upstream", "budget_policy", "labels", "tiers", "replan",
)  # fmt: skip
_PAGES = frozenset({"critical", "page", "pager", "sev1", "p1", "emergency"})


@dataclass(slots=True)
class Draft:
    """One SLO on its way: its document, the fields it came from, and the line of each field."""

    service: str
    team: str
    entry: dict[str, Any]
    fields: Fields
    places: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WantedTier:
    """An alert of another tool: burn above `factor` over `long` and `short` seconds, for `hold` seconds."""

    name: str
    severity: Severity
    factor: Decimal
    long: int
    short: int
    hold: int = 0


def plain_name(text: str, fields: Fields, *keys: int | str) -> str:
    """Return `text` as a plain name (a-z, 0-9, -, at most 63); a change is a loss at `keys`."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:NAME_LENGTH].strip("-") or "unnamed"
    if name != text:
        fields.loss("changed", f"{text[:NAME_LENGTH]!r} is no plain name: it is called {name} now", *keys)
    return name


def team_of(given: str, labels: Mapping[str, str], fields: Fields) -> str:
    """Return the team: as `given`, else from the labels team or owner; an assumption is a loss."""
    if given:
        return given
    for key in ("team", "owner"):
        if labels.get(key):
            return plain_name(labels[key], fields, "labels", key)
    fields.loss("assumed", f"nobody owns it: team is {UNASSIGNED}; name one with --team", "team")
    return UNASSIGNED


def fit_labels(labels: Mapping[str, str], fields: Fields, *keys: int | str) -> dict[str, str]:
    """Return the labels that rules may carry; the others are losses below `keys`."""
    found: dict[str, str] = {}
    for key, value in labels.items():
        name = re.sub(r"[^a-zA-Z0-9_]", "_", key)
        name = f"_{name}" if name[:1].isdigit() else name
        if name in RESERVED_LABELS or name.startswith(("__", "sloth_")) or not name:
            fields.loss("dropped", f"the rules set the label {key[:NAME_LENGTH]} themselves", *keys, key)
        elif not 0 < len(value) <= LABEL_LENGTH:
            fields.loss("dropped", "the label is empty or longer than 200 characters", *keys, key)
        elif name in found:
            fields.loss("dropped", f"another label is called {name} already", *keys, key)
        else:
            if name != key:
                fields.loss("changed", f"the label is called {name} now", *keys, key)
            found[name] = value
    return found


def severity_of(text: str, fields: Fields, *keys: int | str) -> Severity:
    """Return page or ticket for another tool's severity; a word that is not usual is a loss."""
    mine: Severity = "page" if text.lower() in _PAGES else "ticket"
    if text and text not in ("critical", "warning", "page", "ticket"):
        fields.loss("changed", f"severity {text[:NAME_LENGTH]} is {mine} now", *keys)
    return mine


def tier_entries(wanted: Sequence[WantedTier], period: int, fields: Fields, *keys: int | str) -> list[dict[str, Any]]:
    """Return the `tiers` of a spec; windows and factors are moved to what can be evaluated, and the moves are losses."""
    found = []
    for one in wanted:
        short = max(GRID, _fitting(one.short))
        long = min(max(_fitting(one.long), 3 * GRID if one.long <= short else 0), period)
        if long <= short:
            fields.loss("dropped", f"alert {one.name}: the period is too short for two windows", *keys)
            continue
        factor = max(one.factor, Decimal(1))
        moved = [
            f"{what} {_show(before)} is {_show(after)} now"
            for what, before, after in (("long", one.long, long), ("short", one.short, short))
            if before != after
        ]
        if factor != one.factor:
            moved.append(f"factor {one.factor:.4g} is 1 now: below 1 it alerts although the objective is met")
        hold = one.hold // 60 * 60
        if moved:
            fields.loss("changed", f"alert {one.name}: {', '.join(moved)}", *keys)
        found.append(tier_entry(Tier(one.name, one.severity, Decimal(0), long, short, factor, Decimal(0), hold)))
    return found


def settle(draft: Draft) -> None:
    """Leave out tiers that are the usual ones, and stretch those that could never fire."""
    entry = draft.entry
    try:
        slo = SLO.model_validate({"service": draft.service, "team": draft.team, **entry})
    except ValidationError:
        return  # parse_slos tells it, with its place
    if slo.tiers is not None and _usual(slo):
        del entry["tiers"]
        slo = slo.model_copy(update={"tiers": None})
    if slo.tiers is not None and slo.replan and _planned(slo.model_copy(update={"replan": False})):
        del entry["replan"]  # the tiers are stretched already
    elif not slo.replan:
        _revive(draft, slo)


def _usual(slo: SLO) -> bool:
    """Say whether the tiers of `slo` are those it would have without any: as they are, or as they are stretched."""
    usual = slo.model_copy(update={"tiers": None})
    easy = {"objective": Decimal("0.9999"), "replan": False, "expected_traffic": None, "min_bad_events": 1}
    if _planned(usual.model_copy(update=easy)) == _planned(slo.model_copy(update=easy)):
        return True
    return slo.replan and _planned(usual) == _planned(slo.model_copy(update={"replan": False}))


def _revive(draft: Draft, slo: SLO) -> None:
    stretched = slo.model_copy(update={"replan": True})
    try:
        plan_tiers(slo)
    except SpecError as error:
        if not _planned(stretched):
            return
        for one in error.errors if isinstance(error, SpecErrors) else [error]:
            draft.fields.loss("changed", f"{one.what}; its windows are stretched", "objective")
        if slo.tiers is None:
            draft.entry["replan"] = True
        else:
            draft.entry["tiers"] = [tier_entry(tier) for tier in plan_tiers(stretched)]


def tier_entry(tier: Tier) -> dict[str, Any]:
    """Return `tier` as an entry of a spec's `tiers`."""
    entry = {"name": tier.name, "severity": tier.severity, "factor": _plain(tier.factor), "long": format_duration(tier.long)}
    return {**entry, "short": format_duration(tier.short), **({"hold": format_duration(tier.hold)} if tier.hold else {})}


def gather(drafts: Sequence[Draft]) -> list[Carried]:
    """Return the documents, one for each service and team, in order of their first SLO; equal names are told apart."""
    groups: dict[tuple[str, str], list[Draft]] = {}
    for draft in drafts:
        groups.setdefault((draft.service, draft.team), []).append(draft)
    taken: dict[str, set[str]] = {}
    return [_document(service, team, group, taken.setdefault(service, set())) for (service, team), group in groups.items()]


def _document(service: str, team: str, drafts: Sequence[Draft], taken: set[str]) -> Carried:
    for draft in drafts:
        name, count = str(draft.entry["name"]), 2
        while draft.entry["name"] in taken:
            draft.entry["name"] = f"{name[: NAME_LENGTH - 5].rstrip('-')}-{count}"
            count += 1
        if draft.entry["name"] != name:
            draft.fields.loss("changed", f"there is another {name}: it is called {draft.entry['name']} now", "name")
        taken.add(str(draft.entry["name"]))
        settle(draft)
    entries = [{key: draft.entry[key] for key in _ORDER if key in draft.entry} for draft in drafts]
    body = {"service": service, "team": team, "slos": entries}
    return Carried(body, [{"": draft.fields.at(), **draft.places} for draft in drafts])


def _planned(slo: SLO) -> list[tuple[object, ...]]:
    try:
        return [(tier.name, tier.severity, tier.factor, tier.long, tier.short, tier.hold) for tier in plan_tiers(slo)]
    except SpecError:
        return []


def _fitting(seconds: int) -> int:
    """Return the nearest length that can be evaluated: whole minutes, above an hour multiples of 5 minutes."""
    step = 60 if seconds <= HOUR else GRID
    return max(step, (seconds + step // 2) // step * step)


def _plain(factor: Decimal) -> Decimal:
    """Return `factor` with the 12 digits that tiers have, never as a power of ten."""
    return Decimal(format(Decimal(f"{factor:.12g}").normalize(), "f"))


def _show(seconds: int) -> str:
    return format_duration(seconds)
