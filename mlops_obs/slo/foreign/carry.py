"""Importing: documents of another tool in, documents of ours and a list of losses out. One entry for all tools.

Every mistake of every document is told at once, and then nothing is carried: half an import is worse than none. An SLO that has no
counterpart is left out and listed; the others come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from mlops_obs.durations import parse_duration
from mlops_obs.errors import ObsError, SpecError
from mlops_obs.slo.foreign.drafts import gather
from mlops_obs.slo.foreign.fields import Promql, Report
from mlops_obs.slo.foreign.losses import Carried, Loss
from mlops_obs.slo.foreign.openslo import read_openslo
from mlops_obs.slo.foreign.pyrra import Owner, read_pyrra
from mlops_obs.slo.foreign.sloth import read_sloth
from mlops_obs.slo.foreign.sloth_import import sloth_drafts
from mlops_obs.slo.foreign.sloth_rules import SLOTH_VERSION, render_sloth_rules
from mlops_obs.slo.foreign.sloth_windows import Windows, read_windows, windows_for
from mlops_obs.slo.spec import SpecErrors

Tool = Literal["sloth", "pyrra", "openslo"]
TOOLS: tuple[Tool, ...] = ("sloth", "pyrra", "openslo")
Source = tuple[object, Callable[[tuple[int | str, ...]], str]]  # a parsed document, and where each path of keys stands


@dataclass(frozen=True, slots=True)
class Options:
    """What the documents do not say.

    `service` (of Pyrra's, which knows none) and `team` count before labels. `period` is Sloth's, a flag there. `catalogues` are documents
    of Sloth's kind AlertWindows. `promql` says what is wrong with an expression (kind, text, place); without it none is checked.
    """

    service: str = ""
    team: str = ""
    period: str = "30d"
    catalogues: Sequence[Source] = ()
    promql: Promql | None = None


def carry(tool: Tool, sources: Sequence[Source], options: Options) -> tuple[list[Carried], list[Loss]]:
    """Return the documents of ours, one for each service and team, and what is not the same in them.

    Raises:
        SpecErrors: every mistake of every document (OBS-IMP-...), in order.
    """
    reports = [Report(locate, options.promql) for _, locate in sources]
    read = list(zip([document for document, _ in sources], reports, strict=True))
    if tool == "sloth":
        windows = _windows(options)
        specs = [(read_sloth(document, report), report) for document, report in read]
        drafts = [draft for spec, report in specs for draft in sloth_drafts(spec, windows, report, team=options.team)]
    elif tool == "pyrra":
        owner = Owner(options.service, options.team)
        drafts = [draft for document, report in read for draft in read_pyrra(document, report, owner)]
    else:
        drafts = read_openslo(read, team=options.team)
    _refuse(reports, sources)
    carried = gather(drafts)
    return carried, _sorted([loss for report in reports for loss in report.losses])


def carry_rules(
    sources: Sequence[Source], options: Options, *, version: str = SLOTH_VERSION, guard_idle: bool = False
) -> tuple[str, list[Loss]]:
    """Return Sloth's own rule file for Sloth specs, and what could not be made.

    Args:
        sources: the documents.
        options: the period and its windows.
        version: value of `sloth_version` on `sloth_slo_info`.
        guard_idle: divide by `((total) > 0)`, as newer Sloth does.

    Raises:
        SpecErrors: every mistake of every document.
    """
    windows = _windows(options)
    reports = [Report(locate, options.promql) for _, locate in sources]
    specs = [read_sloth(document, report) for (document, _), report in zip(sources, reports, strict=True)]
    slos = [slo for spec in specs for slo in spec.slos]
    for index, slo in enumerate(slos):
        if any(slo.id == other.id for other in slos[:index]):
            slo.fields.wrong("name", f"{slo.id!r} is there twice: their groups would have one name", "rename one")
    _refuse(reports, sources)
    text = render_sloth_rules(specs, windows, version=version, guard_idle=guard_idle)
    return text, _sorted([loss for report in reports for loss in report.losses])


def _windows(options: Options) -> Windows:
    errors: list[ObsError] = []
    catalogue: dict[int, Windows] = {}
    for document, locate in options.catalogues:
        report = Report(locate)
        found = read_windows(document, report)
        errors += report.errors
        if found is not None:
            catalogue[found.period] = found
    try:
        windows = windows_for(int(parse_duration(options.period)), catalogue)
    except SpecError as error:
        errors.append(SpecError(error.code, error.what, todo=error.todo, where="--period"))
    if errors:
        raise SpecErrors(errors)
    return windows


def _refuse(reports: Sequence[Report], sources: Sequence[Source]) -> None:
    errors = [error for report in reports for error in sorted(report.errors, key=lambda error: _line(error.where))]
    for report in reports:
        report.finish()
    if not sources:
        errors = [SpecError("OBS-IMP-002", "there is no document to import", todo="name a file that holds one")]
    if errors:
        raise SpecErrors(errors)


def _sorted(losses: Sequence[Loss]) -> list[Loss]:
    """Return the losses by place, each once."""
    return sorted(dict.fromkeys(losses), key=lambda loss: (loss.where.rpartition(":")[0], _line(loss.where)))


def _line(where: str) -> int:
    line = where.rpartition(":")[2]
    return int(line) if line.isdigit() else 0
