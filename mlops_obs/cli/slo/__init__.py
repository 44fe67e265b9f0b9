"""`obs slo`: everything about SLO specs, a module for each command; each imports what it needs when it is called."""

from __future__ import annotations

import typer

from mlops_obs.cli.slo import backfill, backtest, export, import_, lint, reference, render, report, status, test, validate

app = typer.Typer(no_args_is_help=True, add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})
for _command in (validate.validate, render.render, lint.lint, status.status, report.report, reference.reference):
    app.command()(_command)
app.command("test")(test.run_tests)
app.command()(backtest.backtest)
app.command()(backfill.backfill)
app.command("import")(import_.import_)
app.command("export")(export.export)
# The names of 0.1, kept for scripts.
app.command("check", hidden=True)(validate.validate)
app.command("compile", hidden=True)(render.render)
