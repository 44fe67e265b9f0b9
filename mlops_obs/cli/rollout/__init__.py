"""`obs rollout`: ship a revision, follow it, steer it, and read why it went as it did; a module for each command or two.

Exit codes of `status` and `watch`: 0 promoted or going on, 3 rolled back or aborted, 4 holding, paused or (with
`--timeout`) not decided in time. Of every command: 1 a check failed, 2 wrong usage, 5 the store, the cluster or the
metrics cannot be reached.
"""

from __future__ import annotations

import typer

from mlops_obs.cli import rollout_import, rollout_judge, rollout_operator, rollout_schema
from mlops_obs.cli.rollout import ask, controller, explain, history, lint, replay, report, start, status
from mlops_obs.cli.rollout.shared import Group

app = typer.Typer(
    name="rollout",
    cls=Group,
    help="Ship a model revision; it rolls back by itself on evidence.",
    no_args_is_help=True,
    add_completion=False,
)
for _command in (
    *(start.start, controller.controller, status.status, status.watch),
    *(ask.promote, ask.pause, ask.resume, ask.abort, ask.rollback, start.retry),
    *(history.history, history.verify, explain.explain, replay.replay, report.report, lint.lint),
):
    app.command()(_command)
for _module in (rollout_judge, rollout_import, rollout_schema, rollout_operator):
    _module.register(app)
