"""Importing: documents of Argo Rollouts or Flagger in, rollout documents of ours and a list of losses out.

Every mistake of every document is told at once, and then nothing is carried. A metric that has no counterpart is left out and
listed; the rest comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mlops_obs.errors import ObsError, SpecError
from mlops_obs.rollout.foreign.argo import read_argo
from mlops_obs.rollout.foreign.drafts import Draft, Options
from mlops_obs.rollout.foreign.flagger import read_flagger
from mlops_obs.slo.foreign.carry import Source
from mlops_obs.slo.foreign.fields import Report
from mlops_obs.slo.foreign.losses import Loss
from mlops_obs.slo.spec_errors import SpecErrors

Tool = Literal["argo", "flagger"]
TOOLS: tuple[Tool, ...] = ("argo", "flagger")


def carry(tool: Tool, sources: Sequence[Source], options: Options) -> tuple[list[Draft], list[Loss]]:
    """Return a draft for each of their rollouts (one for all templates, if there is none), and what is not the same.

    Raises:
        SpecErrors: every mistake of every document (OBS-IMP-001 to 003).
    """
    read = [(document, Report(locate)) for document, locate in sources]
    drafts = (read_argo if tool == "argo" else read_flagger)(read, options)
    # A template that is used twice is read twice.
    errors: list[ObsError] = list({str(error): error for _, report in read for error in report.errors}.values())
    if not sources:
        errors = [SpecError("OBS-IMP-002", "there is no document to import", todo="name a file that holds one")]
    if errors:
        raise SpecErrors(sorted(errors, key=_place))
    for _, report in read:
        report.finish()
    losses = dict.fromkeys(loss for _, report in read for loss in report.losses)
    return drafts, sorted(losses, key=lambda loss: _line(loss.where))


def _place(error: ObsError) -> tuple[str, int]:
    return _line(error.where)


def _line(where: str) -> tuple[str, int]:
    file, _, line = where.rpartition(":")
    return (file, int(line)) if line.isdigit() else (where, 0)
