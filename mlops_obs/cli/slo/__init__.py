"""`obs slo`: everything about SLO specs, a module for each command; each imports what it needs when it is called."""

from __future__ import annotations

import typer

from mlops_obs.cli.slo import render, status, validate

app = typer.Typer(no_args_is_help=True, add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})
for _command in (validate.validate, render.render, status.status):
    app.command()(_command)
# The names of 0.1, kept for scripts.
app.command("check", hidden=True)(validate.validate)
app.command("compile", hidden=True)(render.render)
