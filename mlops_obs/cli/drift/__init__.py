"""`obs drift`: references, and rows compared with them, in tables and in the stream; a module for each command.

The modules are imported together, so each one imports what it needs inside of its command: `obs drift --help` must not load pyarrow.
Exit codes: 0 no drift (an inconclusive window included), 3 drift, 2 wrong usage or input that cannot be read.
"""

from __future__ import annotations

import typer

from mlops_obs.cli.drift import calibrate, check, expectations, payloads, performance, profile, report, rules, score, skew, stream

app = typer.Typer(
    name="drift",
    no_args_is_help=True,
    add_completion=False,
    help="Watch features, predictions and labels for drift: in tables, in the stream, within a budget of false alarms.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (
    profile.profile,
    score.score,
    check.check,
    report.report,
    stream.stream,
    calibrate.calibrate,
    skew.skew,
    expectations.expectations,
    expectations.expect,
    payloads.payloads,
    performance.performance,
    rules.rules,
):
    app.command()(_command)
