"""`obs slo import`: SLOs of Sloth, Pyrra and OpenSLO as specs of ours, or a Sloth spec as Sloth's own rules."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_obs.errors import ObsError, UsageError

if TYPE_CHECKING:
    from mlops_obs.slo.foreign.carry import Options, Source, Tool
    from mlops_obs.slo.foreign.losses import Carried, Loss

LEFT_OUT = 3  # exit code: some SLO has no counterpart

Losses = Annotated[str, typer.Option("--losses", help="How to list what is not carried over on stderr: text, json or none.")]
Force = Annotated[bool, typer.Option("--force", help="Write over files that are there.")]


def import_(
    tool: Annotated[str, typer.Argument(help="sloth, pyrra or openslo.")],
    files: Annotated[list[Path], typer.Argument(help="Their files, or folders of them; several documents in one are read.")],
    out: Annotated[Path | None, typer.Option(help="File to write; a folder if there are several services. Default: print.")] = None,
    as_rules: Annotated[str, typer.Option("--as-rules", help="sloth: print the rules that Sloth itself makes of its spec.")] = "",
    period: Annotated[str, typer.Option(help="Period of Sloth's SLOs, which is not in the spec.")] = "30d",
    windows: Annotated[list[Path] | None, typer.Option(help="Sloth's own catalogue of alert windows, if you have one.")] = None,
    service: Annotated[str, typer.Option(help="Service of Pyrra's SLOs. Default: a label, else the namespace.")] = "",
    team: Annotated[str, typer.Option(help="Team that owns the SLOs. Default: their label team or owner.")] = "",
    sloth_version: Annotated[str, typer.Option(help="With --as-rules: sloth_version on sloth_slo_info. Default: v0.16.0.")] = "",
    guard_idle: Annotated[bool, typer.Option("--guard-idle", help="With --as-rules: no NaN while idle, as newer Sloth.")] = False,
    losses: Losses = "text",
    force: Force = False,
) -> None:
    """Read SLOs of another tool and write specs of ours; list what is not the same. Exit code 3: an SLO was left out."""
    from mlops_obs.adapters.files import promql_problem
    from mlops_obs.slo.foreign.carry import TOOLS, Options, carry_rules
    from mlops_obs.slo.foreign.sloth_rules import SLOTH_VERSION

    known = next((one for one in TOOLS if one == tool), None)
    if known is None:
        raise UsageError("OBS-CLI-001", f"unknown tool {tool!r}", todo=f"write {', '.join(TOOLS)}")
    if as_rules not in ("", "sloth") or (as_rules and known != "sloth"):
        raise UsageError(
            "OBS-CLI-001", "rules of other tools are made of Sloth specs only", todo="write obs slo import sloth FILE --as-rules sloth"
        )
    check_losses(losses)
    options = Options(service, team, period, read_sources(windows or []), promql_problem)
    sources = read_sources(files)
    if as_rules:
        text, lost = carry_rules(sources, options, version=sloth_version or SLOTH_VERSION, guard_idle=guard_idle)
        deliver({out: text} if out else {}, text, force=force)
    else:
        lost = _specs(known, sources, options, files, out, losses, force=force)
    tell(lost, losses)
    if any(one.kind == "left out" for one in lost):
        raise typer.Exit(LEFT_OUT)


def _specs(
    tool: Tool, sources: Sequence[Source], options: Options, files: Sequence[Path], out: Path | None, losses: str, *, force: bool
) -> list[Loss]:
    from mlops_obs.slo.foreign.carry import carry
    from mlops_obs.slo.foreign.yaml_writer import document

    carried, lost = carry(tool, sources, options)
    if not carried:
        tell(lost, losses)
        raise UsageError("OBS-IMP-004", "no SLO could be carried over", todo="see the list above", where=str(files[0]))
    names = ", ".join(path.name for path in files)
    head = [f"Imported by `obs slo import {tool}` from {names}; what differs from there was listed by the command."]
    texts = [document(one.body, head) for one in carried]
    _check(carried, texts)
    deliver(_targets(carried, texts, out), "---\n".join(texts), force=force)
    return lost


def read_sources(paths: Sequence[Path]) -> list[Source]:
    """Read every document of files and folders; all mistakes come at once."""
    from mlops_obs.adapters.yaml_documents import read_documents
    from mlops_obs.slo.spec import SpecErrors

    found: list[Source] = []
    errors: list[ObsError] = []
    for path in [file for one in paths for file in _files(one)]:
        try:
            found += [(one.value, one.locate) for one in read_documents(path)]
        except ObsError as error:
            errors.append(error)
    if errors:
        raise SpecErrors(errors)
    return found


def _files(path: Path) -> list[Path]:
    return sorted(one for suffix in ("*.yaml", "*.yml") for one in path.glob(suffix)) if path.is_dir() else [path]


def _check(carried: Sequence[Carried], texts: Sequence[str]) -> None:
    """Prove that what will be written is a spec: no file is written if anything is wrong with any of them."""
    from mlops_obs.adapters.files import promql_problem
    from mlops_obs.adapters.yaml_documents import parse_documents
    from mlops_obs.slo.spec import SpecErrors
    from mlops_obs.slo.spec_document import parse_slos

    errors: list[ObsError] = []
    for one, text in zip(carried, texts, strict=True):
        try:
            parse_slos(parse_documents(text, "the spec")[0].value, one.locate, promql_problem)
        except SpecErrors as error:
            errors += error.errors
    if errors:
        raise SpecErrors(errors)


def _targets(carried: Sequence[Carried], texts: Sequence[str], out: Path | None) -> dict[Path, str]:
    if out is None:
        return {}
    if len(texts) == 1 and not out.is_dir():
        return {out: texts[0]}
    if out.suffix in (".yaml", ".yml"):
        owners = ", ".join(f"{one.body['service']} of {one.body['team']}" for one in carried)
        raise UsageError("OBS-IMP-007", f"SLOs of several owners ({owners}) do not fit one file", todo="name a folder", where=str(out))
    services = [str(one.body["service"]) for one in carried]
    names = [name if services.count(name) == 1 else f"{name}-{one.body['team']}" for name, one in zip(services, carried, strict=True)]
    return {out / f"{name}.yaml": text for name, text in zip(names, texts, strict=True)}


def deliver(targets: dict[Path, str], printed: str, *, force: bool) -> None:
    """Write `targets`, each whole or not at all, or print `printed` if there are none."""
    from mlops_obs.adapters.files import write_atomically

    if not targets:
        typer.echo(printed, nl=False)
        return
    there = [str(path) for path in targets if path.exists()]
    if there and not force:
        raise UsageError("OBS-IMP-008", f"is there already: {', '.join(there)}", todo="name another file, or write --force")
    for path, text in targets.items():
        write_atomically(path, text)
        typer.echo(f"written: {path}")


def check_losses(how: str) -> None:
    """Refuse a value of --losses that is not known."""
    if how not in ("text", "json", "none"):
        raise UsageError("OBS-CLI-001", f"unknown --losses {how!r}", todo="write text, json or none")


def tell(lost: Sequence[Loss], how: str) -> None:
    """List the losses on stderr."""
    if how == "json":
        typer.echo(json.dumps([one.document() for one in lost], indent=2, ensure_ascii=False), err=True)
    elif how == "text":
        for one in lost:
            typer.echo(str(one), err=True)
