"""What is asked beyond which columns have drifted: since when, in which segments, with which labels, and whether trees can tell.

Each is a second pass over the current tables, over the columns that it needs and no other.

The trap: what a question asks for may have been left out of the reference (a row's time, the segment); it is read beside its columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_obs.cli.drift.inputs import is_profile
from mlops_obs.errors import UsageError

if TYPE_CHECKING:
    from mlops_obs.collectors.drift.attribution import Carriers
    from mlops_obs.collectors.drift.columns import Schema
    from mlops_obs.collectors.drift.compare import Settings
    from mlops_obs.collectors.drift.reference import ReferenceProfile
    from mlops_obs.collectors.drift.results import Comparison, Since

_TOLD_APART = 0.55  # AUC of a classifier that tells tables apart; below, with many rows, a difference is real and does not matter


def segment_references(profile: ReferenceProfile, reference: str, segment: str) -> dict[str, ReferenceProfile]:
    """Return the references of the segments by value: those that the reference keeps, or made now from its table.

    Raises:
        UsageError: OBS-DRF-039 if it is a profile that keeps none by this column.
        SpecError: OBS-DRF-011 if the column holds no names.
    """
    from mlops_obs.adapters.tables import blocks, expand
    from mlops_obs.collectors.drift.matched import profiles_by_segment, segment_column, segments_of, values_of

    if segment_column(profile) == segment:
        return segments_of(profile)
    if is_profile(reference):
        todo = f"make it again with `obs drift profile --segment {segment}`, or give the table"
        raise UsageError("OBS-DRF-039", f"the reference keeps no segments by {segment}", where=reference, todo=todo)
    values = values_of(profile, segment)
    again = (block for source in expand([reference]) for block in blocks(source, profile.schema))
    return {value: replace(one, whole=profile) for value, one in profiles_by_segment(again, profile.schema, segment, values).items()}


def compare_segments(
    references: Mapping[str, ReferenceProfile], found: ReferenceProfile, sources: Sequence[str], segment: str, settings: Settings
) -> tuple[Comparison, ...]:
    """Compare each segment with itself; all segments together have half of the level."""
    from mlops_obs.adapters.tables import blocks
    from mlops_obs.collectors.drift.compare import compare
    from mlops_obs.collectors.drift.matched import OTHER, profiles_by_segment

    schema = _read_as(found, segment)
    values = [value for value in references if value != OTHER]
    now = profiles_by_segment((block for source in sources for block in blocks(source, schema)), found.schema, segment, values)
    level = replace(settings, alpha=settings.alpha / 2 / len(references))
    results = []
    for value, one in now.items():
        if value in references:
            result = compare(references[value], one, level)
            kept = tuple(feature for feature in result.features if feature.name != segment)
            results.append(replace(result, features=kept, problems=(), segment=f"{segment}={value}" if value != OTHER else value))
    return tuple(results)


def look_closer(
    profile: ReferenceProfile,
    found: ReferenceProfile,
    sources: Sequence[str],
    drifted: Sequence[str],
    time: str,
    references: Mapping[str, ReferenceProfile],
    segment: str,
) -> tuple[dict[str, Since], dict[str, Carriers]]:
    """Return since when (by time, or by file where rows carry none) and in which segments each of the `drifted` columns changed."""
    from mlops_obs.adapters.tables import blocks
    from mlops_obs.collectors.drift.closer import CloserLook
    from mlops_obs.collectors.drift.matched import OTHER

    if not drifted or not (time or references or len(sources) > 2):
        return {}, {}
    look = CloserLook(profile, drifted, time=time, segment=segment, segments=[value for value in references if value != OTHER])
    schema = look.schema(_read_as(found, segment, time))
    for number, source in enumerate(sources):
        for block in blocks(source, schema):
            look.add(block, number)
    return look.since(), look.carriers(references)


def with_labels(result: Comparison, profile: ReferenceProfile, sources: Sequence[str]) -> Comparison:
    """Add what the labels say, where the current rows have them and the reference knows how scores and labels went together."""
    from mlops_obs.adapters.tables import blocks
    from mlops_obs.collectors.drift.attribution import LabelLook, with_concept
    from mlops_obs.collectors.drift.columns import Schema

    look = LabelLook(profile)
    if not look.possible:
        return result
    schema = Schema(tuple(one for one in profile.schema if one.name in (look.prediction, look.label)))
    for source in sources:
        for block in blocks(source, schema):
            look.add(block)
    labels = look.result()
    return result if labels is None else with_concept(result, labels)


def with_classifier(
    result: Comparison, profile: ReferenceProfile, reference: str, sources: Sequence[str], settings: Settings
) -> Comparison:
    """Ask whether trees can tell the current rows from the reference's; they drift if that is no chance and the AUC is above 0.55."""
    from mlops_obs.adapters.domain_classifier import domain_classifier
    from mlops_obs.adapters.drift_samples import SAMPLE_ROWS, sampled
    from mlops_obs.adapters.tables import blocks, expand
    from mlops_obs.collectors.drift.columns import Role, Schema
    from mlops_obs.collectors.drift.results import Verdict

    if is_profile(reference):
        raise UsageError("OBS-DRF-040", "a profile holds no rows to learn from", where=reference, todo="give the reference's table")
    judged = {one.name for one in result.features if one.role is not Role.LABEL and settings.importance.get(one.name) != 0}
    schema = Schema(tuple(one for one in profile.schema if one.name in judged))
    before, now = (
        sampled((block for source in files for block in blocks(source, schema)), schema, SAMPLE_ROWS)
        for files in (expand([reference]), sources)
    )
    found = domain_classifier(before, now)
    if found is None:
        return replace(result, problems=(*result.problems, "too few rows to train a classifier"))
    statistics = {
        "domain_auc": found.auc,
        "domain_auc_low": found.auc_low,
        "domain_auc_high": found.auc_high,
        "domain_p_value": found.p_value,
    }
    told = found.p_value < settings.alpha / 2 and found.auc_low > _TOLD_APART
    verdict, problems = result.verdict, result.problems
    if told:
        where = ", ".join(name for name, lost in found.features[:3] if lost > 0)
        problems = (*problems, f"a classifier tells current rows from the reference's (AUC {found.auc:.2f}): look at {where}")
        verdict = Verdict.DRIFTED
    return replace(result, verdict=verdict, problems=problems, joint={**result.joint, **statistics})


def _read_as(found: ReferenceProfile, segment: str, time: str = "") -> Schema:
    """The columns to read, with the segment's and the time's where the reference left them out."""
    from mlops_obs.collectors.drift.columns import Column, ColumnKind, Schema

    known = set(found.schema.names)
    beside = ((segment, ColumnKind.CATEGORY), (time, ColumnKind.TIMESTAMP))
    return Schema((*found.schema.columns, *(Column(name, kind) for name, kind in beside if name and name not in known)))


def files_of(began: Since, sources: Sequence[str]) -> str:
    """Say in words in which file a change began; nothing if it is in all of them."""
    at, first, last = (min(int(one), len(sources) - 1) for one in (began.at, began.earliest, began.latest))
    if began.latest < 1:
        return ""
    names = [Path(sources[one]).name for one in (at, first, last)]
    return f"since {names[0]}" + (f" ({names[1]} to {names[2]})" if first != last else "")
