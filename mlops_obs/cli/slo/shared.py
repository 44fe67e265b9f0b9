"""What the commands of `obs slo` share: their arguments, and reading the specs with every alert proven to be able to fire."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_obs.errors import UsageError

if TYPE_CHECKING:
    from mlops_obs.slo.spec import SLO

Specs = Annotated[list[Path], typer.Argument(help="SLO files, or folders of them.")]
Replan = Annotated[bool, typer.Option("--replan", help="Stretch alert windows that could never fire, instead of refusing them.")]
Env = Annotated[Path | None, typer.Option("--env", help="Environment file (default: $OBS_ENV, else ./obs.yaml).")]
Output = Annotated[str, typer.Option("-o", "--output", help="text or json.")]


def load(specs: Sequence[Path], *, replan: bool = False) -> list[SLO]:
    """Return the SLOs in `specs`; every tier of each can fire, else SpecErrors."""
    from mlops_obs.adapters.files import load_slos

    return load_slos(*specs, replan=replan)


def as_json(output: str) -> bool:
    """Say whether `-o json` was asked for; anything but text or json is refused."""
    if output not in ("text", "json"):
        raise UsageError("OBS-CLI-001", f"unknown output {output!r}", todo="write -o text or -o json")
    return output == "json"
