"""The `obs` command. Sub-commands are imported only when they are called: `obs --help` must answer at once."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable

import typer

from mlops_obs.errors import ObsError

# name -> (module with a typer app called `app`, one-line help)
COMMANDS = {
    "demo": ("mlops_obs.cli.demo", "Run the whole loop on this machine, a promotion and a rollback included."),
    "slo": ("mlops_obs.cli.slo", "Validate SLO specs; render them to rules, routing and tests; backtest, lint, report."),
    "rollout": ("mlops_obs.cli.rollout", "Ship a model revision; it rolls back by itself on evidence."),
    "page": ("mlops_obs.cli.page", "Explain a page, or send a marked test page."),
    "dashboards": ("mlops_obs.cli.dashboards", "Render, lint, preview and push Grafana dashboards."),
    "runbooks": ("mlops_obs.cli.runbooks", "Render and lint the runbooks, one per alert."),
    "collect": ("mlops_obs.cli.collect", "Run collectors (GPU, freshness) and serve their metrics."),
    "drift": ("mlops_obs.cli.drift", "Watch features for drift: in tables, in the stream, within a budget of false alarms."),
    "monitor": ("mlops_obs.cli.monitor", "Scrape, evaluate SLOs and page without Prometheus."),
}

_HELP = ["-h", "--help"]
_INTERRUPTED = 130
app = typer.Typer(
    name="obs",
    help="Observability and reliability for the ML life cycle on Ray and KServe.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": _HELP},
)


def _forward(name: str, module: str) -> Callable[[typer.Context], None]:
    def command(ctx: typer.Context) -> None:
        group = importlib.import_module(module).app
        group(args=ctx.args, prog_name=f"obs {name}", help_option_names=_HELP)

    return command


_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
for _name, (_module, _help) in COMMANDS.items():
    app.command(_name, help=_help, add_help_option=False, context_settings=_PASS_ON)(_forward(_name, _module))


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Show the version and exit.")) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"obs {installed('mlops-obs')}")
        raise typer.Exit


def main() -> None:
    """Run `obs`; turn our errors into one line on stderr and an exit code, never a traceback."""
    try:
        app()
    except ObsError as error:
        typer.echo(f"obs: {error}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != _INTERRUPTED:
            raise
        typer.echo("obs: interrupted", err=True)  # typer makes Ctrl-C this exit code and says nothing
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
