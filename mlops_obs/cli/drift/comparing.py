"""Tables compared with a reference as `score` and `report` do it: one pass that sketches, and a second one over what has drifted.

The first pass reads every column of every file once, on whatever engine; the second reads the drifted columns only, for since when and
in which segments. Segments and the time of a row are asked for, or known to the reference.

The trap: every further question is a further chance of a false alarm. Half of the level goes to all rows, half to the segments together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_obs.cli.drift.inputs import is_profile, load_reference, load_tables
from mlops_obs.cli.drift.questions import compare_segments, files_of, look_closer, segment_references, with_classifier, with_labels

if TYPE_CHECKING:
    from mlops_obs.adapters.drift_scan import Over, Part
    from mlops_obs.collectors.drift.attribution import Carriers
    from mlops_obs.collectors.drift.compare import Settings
    from mlops_obs.collectors.drift.reference import ReferenceProfile
    from mlops_obs.collectors.drift.results import Comparison, Since
    from mlops_obs.collectors.drift.statistics.performance import Performance

_JOINT_ROWS = 2_000_000  # of a reference that is a table; summing its rows as a whole is a second pass over it


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asked for: names of columns, or empty; `joint` None: where it is cheap or the reference has it."""

    reference: str
    current: Sequence[str]
    segment: str = ""
    time: str = ""
    joint: bool | None = None
    domain_classifier: bool = False
    schema: Path | None = None
    resume: Path | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """What was found: the comparison of all rows, those of the segments, the profiles and the files."""

    comparison: Comparison
    segments: tuple[Comparison, ...]
    reference: ReferenceProfile
    current: ReferenceProfile
    sources: Sequence[str]
    performance: tuple[Performance, Performance] | None = None

    def document(self) -> dict[str, Any]:
        """Return the document of `obs drift score -o json`."""
        from mlops_obs.collectors.drift.report import to_plain

        return to_plain(self.comparison, self.segments, self.performance)


def compare_tables(asked: Asked, settings: Settings, over: Over, each: Callable[[ReferenceProfile, Part], None] | None = None) -> Compared:
    """Compare tables with a reference.

    Args:
        asked: what, and with which questions.
        settings: how to judge.
        over: engine of the first pass.
        each: told of every file, with the reference.

    Raises:
        UsageError: OBS-DRF-039 if segments are asked for that the reference does not keep; of reading.
        SpecError: of reading.
    """
    from mlops_obs.collectors.drift.building import time_of
    from mlops_obs.collectors.drift.compare import compare
    from mlops_obs.collectors.drift.estimated import estimated_performance
    from mlops_obs.collectors.drift.matched import segment_column
    from mlops_obs.collectors.drift.reference import ReferenceProfile
    from mlops_obs.collectors.drift.results import Change

    profile = load_reference(asked.reference, over=over, resume=asked.resume, schema=asked.schema)
    segment = asked.segment or segment_column(profile)
    settings = replace(settings, importance=settings.importance or importances_of(profile))
    profile = _with_joint(profile, asked, settings)

    def tell(part: Part) -> None:
        if each:
            each(profile, part)

    found, sources = load_tables(asked.current, profile, over=over, resume=asked.resume, schema=asked.schema, each=tell)
    whole = replace(settings, alpha=settings.alpha / 2) if segment else settings
    result = compare(profile, found, whole)
    references = segment_references(profile, asked.reference, segment) if segment else {}
    segments = compare_segments(references, found, sources, segment, settings) if references else ()
    time = asked.time or time_of(profile)
    margins = [one for one in result.features if one.alarm and one.name in found.sketches and one.kind is not Change.CORRELATION]
    drifted = [one.name for one in margins]
    began, carrying = look_closer(profile, found, sources, drifted, time, references, segment)
    result = explained(result, profile, found, sources, began, carrying, timed=bool(time))
    result = with_labels(result, profile, sources)
    if asked.domain_classifier:
        result = with_classifier(result, profile, asked.reference, sources, settings)
    problems = [one for one in result.problems if not one.startswith(f"{segment}: ")] if segment else result.problems
    now, before = estimated_performance(profile, found), estimated_performance(profile, profile)
    return Compared(
        replace(result, problems=tuple(problems)),
        segments,
        profile,
        ReferenceProfile(found.schema, found.sketches),
        sources,
        (before, now) if before and now else None,
    )


def explained(
    result: Comparison,
    reference: ReferenceProfile,
    current: ReferenceProfile,
    sources: Sequence[str] = (),
    began: Mapping[str, Since] | None = None,
    carrying: Mapping[str, Carriers] | None = None,
    *,
    timed: bool = False,
) -> Comparison:
    """Return the comparison with cost, since when, segments, and what a gone column may be called now.

    Without times, `began` holds numbers of files: they are said by name.
    """
    from mlops_obs.collectors.drift.attribution import explain
    from mlops_obs.collectors.drift.renamed import renamed

    began = dict(began or {})
    if not timed and began:
        said = {name: files_of(one, sources) for name, one in began.items()}
        features = [replace(one, words=f"{one.words}, {said[one.name]}") if said.get(one.name) else one for one in result.features]
        result, began = replace(result, features=tuple(features)), {}
    result = explain(result, reference, current, since=began, segments=carrying or {})
    hints = renamed(reference, current)
    told = [one for one in result.problems if not any(one.startswith(f"{new}: ") for new in hints.values())]
    told = [f"{old} is gone; {new} is new with the same distribution: renamed?" for old, new in hints.items()] + told
    return replace(result, problems=tuple(told))


def importances_of(reference: ReferenceProfile) -> dict[str, float]:
    """Return the importances that the reference knows; none if it knows none."""
    from mlops_obs.collectors.drift import building
    from mlops_obs.collectors.drift.attribution import importances

    measured = {name: max(0.0, value) for name, value in importances(reference).items()}
    return measured or building.importances_of(reference)


def _with_joint(profile: ReferenceProfile, asked: Asked, settings: Settings) -> ReferenceProfile:
    """Return the reference with the section `joint` if rows are to be compared as a whole: made now if the reference is a table."""
    from mlops_obs.adapters.tables import blocks, expand
    from mlops_obs.collectors.drift.columns import Schema
    from mlops_obs.collectors.drift.joint import SECTION, joint_of, section_from_blocks
    from mlops_obs.collectors.drift.reference import ReferenceProfile
    from mlops_obs.collectors.drift.thinning import thinned

    judged = {name for name in profile.feature_names if settings.features is None or name in settings.features}
    judged -= {name for name, value in settings.importance.items() if value == 0}
    known = joint_of(profile)
    if known and asked.joint is not False:
        return profile
    profile = replace(profile, sections={name: part for name, part in profile.sections.items() if name != SECTION})
    if asked.joint is False or is_profile(asked.reference) or (asked.joint is None and profile.rows > _JOINT_ROWS):
        return profile
    schema = Schema(tuple(one for one in profile.schema if one.name in judged))
    part = ReferenceProfile(schema, {one.name: profile.sketches[one.name] for one in schema})
    section = section_from_blocks(part, (thinned(block) for source in expand([asked.reference]) for block in blocks(source, schema)))
    return profile if section is None else profile.with_section(SECTION, section)
