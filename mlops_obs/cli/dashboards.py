"""`obs dashboards`: render the committed JSON, lint it, look at it without Grafana, push it to one."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mlops_obs.durations import parse_duration
from mlops_obs.errors import SpecError, UsageError

app = typer.Typer(no_args_is_help=True, add_completion=False, context_settings={"help_option_names": ["-h", "--help"]}, help=__doc__)
Folder = Annotated[Path, typer.Option("--dir", help="Folder of the dashboard JSON files.")]
HERE = Path("dashboards")


@app.command()
def render(
    folder: Folder = HERE, check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a file is not current.")] = False
) -> None:
    """Write each dashboard as Grafana JSON. The same catalogue gives the same bytes."""
    from mlops_obs.adapters.files import write_atomically
    from mlops_obs.dashboards.catalogue import DASHBOARDS
    from mlops_obs.dashboards.grafana_json import render as to_json

    stale = []
    for dashboard in DASHBOARDS:
        path, text = folder / f"{dashboard.uid}.json", to_json(dashboard)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(str(path))
        if not check:
            write_atomically(path, text)
    if check and stale:
        raise SpecError("OBS-DASH-003", f"not current: {', '.join(stale)}", todo="run obs dashboards render and commit the result")
    typer.echo(f"{len(DASHBOARDS)} dashboards, {len(stale)} written" if stale else f"{len(DASHBOARDS)} dashboards are current")


@app.command()
def lint(folder: Folder = HERE) -> None:
    """Check dashboards against the rules of Grafana's linter and our own. `.lint` in the folder may switch rules off, with a reason."""
    from mlops_obs.dashboards.lint import lint as findings_of

    exclusions = _exclusions(folder / ".lint")
    findings = [finding for _, board in _boards(folder) for finding in findings_of(board, exclusions)]
    for finding in findings:
        typer.echo(str(finding))
    if findings:
        raise typer.Exit(1)
    typer.echo("no findings")


@app.command()
def push(
    url: Annotated[str, typer.Option(envvar="GRAFANA_URL", help="Address of the Grafana.")],
    token: Annotated[str, typer.Option(envvar="GRAFANA_TOKEN", help="Service account token; better in the environment than here.")],
    folder: Folder = HERE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, change nothing.")] = False,
) -> None:
    """Push the dashboards to a Grafana. Repeating it changes nothing."""
    from mlops_obs.adapters.grafana import Grafana

    grafana = Grafana(url, token)
    for path, board in _boards(folder):
        typer.echo(f"{path.stem}: {grafana.push(board, dry_run=dry_run)}{' (dry run)' if dry_run else ''}")


@app.command()
def preview(
    uid: Annotated[str, typer.Argument(help="Dashboard, e.g. mlops-obs-service.")],
    out: Annotated[Path, typer.Option(help="HTML file to write.")],
    env: Annotated[Path | None, typer.Option("--env", help="Environment file (obs.yaml).")] = None,
    prometheus: Annotated[str, typer.Option(help="Address of a Prometheus, instead of --env.")] = "",
    service: Annotated[str, typer.Option(help="Service; empty means all.")] = "",
    revision: Annotated[str, typer.Option(help="Revision; empty means all.")] = "",
    last: Annotated[str, typer.Option(help="Time range up to now.")] = "1h",
) -> None:
    """Draw a dashboard from live queries into one HTML file, without Grafana."""
    from mlops_obs.adapters.files import write_atomically
    from mlops_obs.adapters.prometheus import PrometheusCounters
    from mlops_obs.dashboards.catalogue import dashboard
    from mlops_obs.dashboards.preview import render_preview
    from mlops_obs.dashboards.promql import TARGETS_UP

    chosen = dashboard(uid)
    end = time.time()
    source = PrometheusCounters(prometheus or _prometheus_of(env))
    source.query(TARGETS_UP)  # a page on which every panel is unknown is no success
    page = render_preview(chosen, source.query_range, {"service": service, "revision": revision}, end - float(parse_duration(last)), end)
    write_atomically(out, page)
    typer.echo(str(out))


def _prometheus_of(env: Path | None) -> str:
    from mlops_obs.cli.wiring import load_environment

    url = load_environment(env).metrics.prometheus
    if not url:
        raise UsageError("OBS-DASH-005", "a preview needs Prometheus, and this environment has none", todo="give --prometheus URL")
    return url


def _boards(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise UsageError("OBS-DASH-006", "no dashboards here", where=str(folder), todo="run obs dashboards render, or give --dir")
    boards = []
    for path in paths:
        try:
            board = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise SpecError(
                "OBS-DASH-007", f"not JSON: {error.msg}", where=f"{path}:{error.lineno}", todo="run obs dashboards render"
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise SpecError("OBS-DASH-007", f"cannot be read: {reason}", where=str(path), todo="run obs dashboards render") from error
        if not isinstance(board, dict):
            raise SpecError("OBS-DASH-007", "not a dashboard", where=str(path), todo="run obs dashboards render")
        boards.append((path, board))
    return boards


def _exclusions(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    from mlops_obs.adapters.files import load_yaml

    document = load_yaml(path)[0] or {}
    rules = document.get("exclusions", {}) if isinstance(document, dict) else None
    if not isinstance(rules, dict) or not all(isinstance(reason, str) and reason.strip() for reason in rules.values()):
        todo = "write exclusions: {rule-name: why it does not apply}"
        raise SpecError("OBS-DASH-008", "every exclusion needs a reason", where=str(path), todo=todo)
    return {str(rule): reason for rule, reason in rules.items()}
