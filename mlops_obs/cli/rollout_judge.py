"""`obs rollout judge TRACE.csv...`: any table of counts through the very same judge, with nothing shipped.

One file prints a verdict per interval, several a line of summary each. A file that cannot be read costs the others nothing:
it is told on standard error, the rest is judged, and the exit code is that of the first mistake.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mlops_obs.errors import ObsError, SpecError, UsageError


class Output(StrEnum):
    """How verdicts are printed."""

    text = "text"
    json = "json"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("judge")(judge)


def judge(
    traces: Annotated[
        list[str], typer.Argument(metavar="TRACE.csv...", help="Tables t,arm,pod,requests,errors,slow; - is standard input.")
    ],
    alpha: Annotated[float | None, typer.Option(help="Chance that a healthy canary is ever rolled back (default 0.01).")] = None,
    weight: Annotated[str | None, typer.Option(help="Declared share of the canary, as 10, 10% or 0.1; the observed one is tested.")] = None,
    spec: Annotated[Path | None, typer.Option(help="Rollout spec (YAML) that says what is tolerated.")] = None,
    output: Annotated[Output, typer.Option("-o", "--output", help="Format; json: an object per line.")] = Output.text,
) -> None:
    """Judge tables of counts as a rollout would have been judged: a row per interval (`t` in seconds), arm (stable, canary) and pod.

    A missing row is missing data, never zero. One file: a verdict per interval (continue, promote, hold, rollback) with its
    attribution (none, canary, shared, telemetry), the statistics against their bounds, and the power. Several: a line each.
    """
    from mlops_obs.rollout.judging.trace import Summary, judge_trace, read_trace, whole

    chosen, share = _spec(spec, alpha), _weight(weight)
    failed: list[ObsError] = []
    wide = max(map(len, traces))
    for name in traces:
        try:
            intervals = judge_trace(read_trace(_lines(name), name), chosen, share, stop=len(traces) > 1)
            if len(traces) == 1:
                for one in intervals:
                    _print(one.numbers() if output is Output.json else _line(one.numbers()))
                continue
            summary = Summary()
            for one in intervals:
                summary.add(one)
            found = {
                "file": name,
                "verdict": summary.verdict,
                "t": None if summary.t is None else whole(summary.t),
                "attribution": summary.attribution,
                "reason": summary.reason,
            }
            when = "" if found["t"] is None else found["t"]
            line = f"{name:<{wide}}  {summary.verdict:<8}  {when:>8}  {summary.attribution:<9}  {summary.reason}"
            _print(found if output is Output.json else line)
        except (ObsError, ArithmeticError, ValueError) as caught:
            # One table that nobody thought of must not take the others with it.
            error = caught if isinstance(caught, ObsError) else SpecError("OBS-ROLL-121", f"cannot be judged: {caught}", where=name)
            failed.append(error)
            typer.echo(f"obs: {error}", err=True)
    if failed:
        raise typer.Exit(failed[0].exit_code)


def _lines(name: str) -> Iterable[str]:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise UsageError("OBS-ROLL-122", f"cannot be read: {error.strerror or error}", where=name, todo="check the path") from error
    try:
        return data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SpecError("OBS-ROLL-120", f"not text in UTF-8 (byte {error.start})", where=name, todo="write the table as CSV") from error


def _spec(path: Path | None, alpha: float | None) -> Any:
    from mlops_obs.rollout.judging.trace import default_spec
    from mlops_obs.rollout.spec.rollout import Rollout, parse_rollout

    if alpha is not None and not 0 < alpha < 0.5:
        raise UsageError("OBS-ROLL-123", f"--alpha {alpha:g} is no error rate", todo="write a number between 0 and 0.5, for example 0.01")
    if path is None:
        return default_spec(alpha)
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError("OBS-ROLL-122", f"cannot be read: {error.strerror or error}", where=str(path), todo="check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError("OBS-ROLL-001", "not a YAML document", where=str(path), todo="start with service:, canary: and package:") from error
    if isinstance(document, dict) and "spec" not in document:  # what is judged is in the table, not on a platform
        document = {"canary": "canary", "package": "-", "service": "trace", **document}
    found = parse_rollout(document, lambda _: str(path))
    return found if alpha is None else Rollout.model_validate({**found.model_dump(by_alias=True), "alpha": alpha})


def _weight(text: str | None) -> float | None:
    """Return percent from 10, 10% or 0.1; a bare number under 1 is a share."""
    if text is None:
        return None
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = -1.0
    value = value * 100 if value < 1 and not text.strip().endswith("%") else value
    if not 0 < value <= 100:
        raise UsageError(
            "OBS-ROLL-123", f"--weight {text} is no share of the traffic", todo="write percent, for example 10, or 10%, or 0.1"
        )
    return value


def _print(what: dict[str, Any] | str) -> None:
    typer.echo(what if isinstance(what, str) else json.dumps(what, allow_nan=False))


def _line(numbers: dict[str, Any]) -> str:
    shown = "  ".join(f"{name} 10^{test['log10_e']:.1f}/10^{test['log10_bound']:.1f}" for name, test in numbers["tests"].items())
    return f"{numbers['t']:>8}  {numbers['verdict']:<8}  {numbers['attribution']:<9}  {shown:<40}  {numbers['reason']}"
