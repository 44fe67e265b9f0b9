"""The second pass over a reference's table: the sections that need the first pass's cuts, and what is left out of a file for privacy.

Each section is made by the module that reads it; one that cannot be made (too few rows, labels of one kind) is left out and said, since
a reference without it still works.

The trap: what was left out when the reference was made (a row's number, its time) must not come back as "new columns" in every
comparison. The section `table` remembers it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from mlops_obs.collectors.drift.columns import Block
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.sketches import CategorySketch
from mlops_obs.errors import SpecError

TABLE = "table"
LEAST_ROWS = 5  # of a name, to be kept by name in a reference
Blocks = Callable[[], Iterable[Block]]  # the rows once more, from the start


@dataclass(frozen=True, slots=True)
class Plan:
    """What a person asked for: names of columns (empty: none), importance by feature, and why columns were left out."""

    segment: str = ""
    time: str = ""
    prediction: str = ""
    label: str = ""
    money: str = ""
    currency: str = "EUR"
    importance: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    least_rows: int = LEAST_ROWS


def with_sections(profile: ReferenceProfile, blocks: Blocks, plan: Plan) -> tuple[ReferenceProfile, list[str]]:
    """Return the profile with every section that can be made, and what a person should know about those that cannot."""
    from mlops_obs.collectors.drift import joint
    from mlops_obs.collectors.drift.alarms import natural
    from mlops_obs.collectors.drift.attribution import build, impact
    from mlops_obs.collectors.drift.expectations.derive import SECTION as EXPECTATIONS
    from mlops_obs.collectors.drift.expectations.derive import section_from_profile
    from mlops_obs.collectors.drift.matched import SEASONS, SEGMENTS, seasons_of, segments_section
    from mlops_obs.collectors.drift.thinning import all_thinned

    notes: list[str] = []
    made: dict[str, bytes | None] = {TABLE: _table(plan), EXPECTATIONS: section_from_profile(profile)}
    by_weight = sorted(plan.importance, key=lambda name: (-plan.importance[name], name))
    made[joint.SECTION] = joint.section_from_blocks(
        profile, all_thinned(blocks()), [name for name in by_weight if name in profile.sketches]
    )
    made[natural.SECTION] = natural.section_from_blocks(profile, blocks())
    if made[natural.SECTION] is None:
        notes.append("how features vary by themselves is not kept: too few rows, or the table is sorted by a feature instead of by time")
    if plan.segment:
        made[SEGMENTS] = segments_section(profile, blocks(), plan.segment, least_rows=plan.least_rows)
        if made[SEGMENTS] is None:
            notes.append(f"no references of segments are kept: {plan.segment} has no two values of {plan.least_rows} rows")
    if plan.time:
        made[SEASONS], seasonal = seasons_of(profile, blocks(), plan.time)
        found = f"the hour of the week matters for {', '.join(seasonal)}: they are compared with the same hour" if seasonal else ""
        notes.append(
            found or "no references by hour of the week are kept: the table spans less than three weeks, or no column has a season"
        )
    if plan.prediction and plan.label:
        try:
            made[impact.SECTION] = build.section_from_blocks(
                profile,
                blocks(),
                prediction=plan.prediction,
                label=plan.label,
                importance=plan.importance or None,
                money=plan.money or None,
                currency=plan.currency,
            )
        except SpecError as error:
            made[impact.SECTION] = None
            notes.append(f"what a drift costs is not kept: {error.what}")
        else:
            if made[impact.SECTION] is None:
                notes.append(f"what a drift costs is not kept: {plan.label} has no rows of both kinds, or {plan.prediction} is no score")
    for name, content in made.items():
        if content is not None:
            profile = profile.with_section(name, content)
    return profile, notes


def left_out_of(reference: ReferenceProfile) -> dict[str, str]:
    """Return the columns that were left out when the reference was made, with the reason."""
    try:
        return {str(name): str(why) for name, why in json.loads(reference.sections[TABLE])["left_out"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def time_of(reference: ReferenceProfile) -> str:
    """Return the name of the column of a row's time; empty if none was named when the reference was made."""
    try:
        return str(json.loads(reference.sections[TABLE])["time"])
    except (KeyError, TypeError, ValueError):
        return ""


def importances_of(reference: ReferenceProfile) -> dict[str, float]:
    """Return the importances that were given when the reference was made."""
    try:
        return {str(name): float(value) for name, value in json.loads(reference.sections[TABLE])["importance"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def without_rare_names(profile: ReferenceProfile, least_rows: int = LEAST_ROWS) -> ReferenceProfile:
    """Return the profile without the names of fewer than `least_rows` rows: a name of one person is not for a file that is passed on.

    Their rows stay counted, in hash buckets of which each stands for countless names.
    """
    sketches = {
        name: sketch.without_rare(least_rows) if isinstance(sketch, CategorySketch) else sketch for name, sketch in profile.sketches.items()
    }
    return ReferenceProfile(profile.schema, sketches, profile.sections)


def _table(plan: Plan) -> bytes:
    about = {
        "left_out": dict(sorted(plan.left_out.items())),
        "segment": plan.segment,
        "time": plan.time,
        "importance": dict(sorted(plan.importance.items())),
    }
    return json.dumps(about, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode()
