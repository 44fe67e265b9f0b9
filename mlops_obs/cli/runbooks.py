"""`obs runbooks`: render the committed runbooks, and lint them against the alerts and commands that exist."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Annotated, Any

import typer

from mlops_obs.errors import SpecError, UsageError

app = typer.Typer(no_args_is_help=True, add_completion=False, context_settings={"help_option_names": ["-h", "--help"]}, help=__doc__)
Folder = Annotated[Path, typer.Option("--dir", help="Folder of the runbooks, one <Alert>.md each.")]
HERE = Path("runbooks")


@app.command()
def render(
    folder: Folder = HERE, check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a file is not current.")] = False
) -> None:
    """Write one Markdown file per alert."""
    from mlops_obs.adapters.files import write_atomically
    from mlops_obs.runbooks.render import render_all

    texts = render_all()
    stale = [name for name, text in texts.items() if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text]
    if check and stale:
        raise SpecError(
            "OBS-RUN-001", f"not current: {', '.join(stale)}", where=str(folder), todo="run obs runbooks render and commit the result"
        )
    for name in stale:
        write_atomically(folder / name, texts[name])
    typer.echo(f"{len(texts)} runbooks, {len(stale)} written" if stale else f"{len(texts)} runbooks are current")


@app.command()
def lint(
    folder: Folder = HERE,
    rules: Annotated[Path, typer.Option(help="Folder of the generated rule files, which name the alerts.")] = Path("slo/generated"),
) -> None:
    """Check that every alert has a runbook, and that every command, option, query and metric in it exists."""
    from mlops_obs.runbooks.lint import lint as problems_of

    runbooks = {path.stem: _read(path) for path in sorted(folder.glob("*.md")) if path.stem != "README"}
    problems = problems_of(alerts_in(rules), runbooks, known_commands())
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{len(runbooks)} runbooks, no findings")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise SpecError("OBS-RUN-004", f"the runbook cannot be read: {reason}", where=str(path), todo="run obs runbooks render") from error


def alerts_in(folder: Path) -> set[str]:
    """Return the names of all alerts in the rule files of a folder.

    Raises:
        UsageError: OBS-RUN-002 if there are none.
        SpecError: OBS-SLO-001 if a file is not YAML, OBS-RUN-003 if it is no rule file.
    """
    from mlops_obs.adapters.files import load_yaml

    alerts: set[str] = set()
    for path in sorted(folder.glob("*rules.yaml")):
        document: Any = load_yaml(path)[0]
        try:
            alerts |= {rule["alert"] for group in document["groups"] for rule in group["rules"] if "alert" in rule}
        except (TypeError, KeyError):
            raise SpecError("OBS-RUN-003", "not a Prometheus rule file", where=str(path), todo="run obs slo render") from None
    if not alerts:
        raise UsageError("OBS-RUN-002", "no alerts here", where=str(folder), todo="run obs slo render, or give --rules")
    return alerts


def known_commands() -> dict[str, set[str]]:
    """Return every `obs` command, e.g. `rollout status`, with the options it knows; read from the commands themselves."""
    from mlops_obs.cli.main import COMMANDS

    importable = {module.name for module in pkgutil.iter_modules(importlib.import_module("mlops_obs.cli").__path__, "mlops_obs.cli.")}
    known: dict[str, set[str]] = {}
    for name, (module, _) in COMMANDS.items():
        if module not in importable:
            continue
        command = typer.main.get_command(importlib.import_module(module).app)
        for sub, one in getattr(command, "commands", {"": command}).items():
            options = {text for parameter in one.params for text in (*parameter.opts, *parameter.secondary_opts)}
            known[f"{name} {sub}".strip()] = options | {"-h", "--help"}
    return known
