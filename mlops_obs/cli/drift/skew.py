"""`obs drift skew`: whether a feature is the same offline, online and in the model's input, request by request.

Exit codes: 0 no skew beyond what is tolerated, 3 skew, 2 input that cannot be read or has no request in common.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_obs.errors import UsageError

if TYPE_CHECKING:
    from mlops_obs.collectors.skew import Finding, SkewWatch

SKEW_EXIT = 3
_FEW = 0.5  # a smaller share of joined requests is said


def skew(
    online: Annotated[Path, typer.Option("--online", help="What was served: a folder of SkewLog, a .jsonl, .parquet or .csv file.")],
    offline: Annotated[
        Path | None,
        typer.Option("--offline", help="The same requests recomputed: .parquet, .csv or .jsonl; without it online against input."),
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="table or json.")] = "table",
    features: Annotated[str, typer.Option("--features", help="Only these features, separated by commas.")] = "",
    key: Annotated[str, typer.Option("--id", help="Column that joins the sides.")] = "request_id",
    tolerated: Annotated[float, typer.Option("--tolerated", help="Share of requests that may differ: events that come late.")] = 0.01,
) -> None:
    """Compare features offline, online and in the model's input. Exits 3 and names the transformation where they differ."""
    from mlops_obs.adapters.skew_tables import features_of, read_offline, read_online
    from mlops_obs.collectors.skew import Joiner, Settings, SkewWatch

    if output not in ("table", "json"):
        raise UsageError("OBS-DRF-008", f"{output!r} is no output format", todo="use -o table or -o json")
    settings, bad = Settings(tolerated=tolerated), [0]
    served = sorted(read_online(online, bad, key=key), key=lambda one: one.time)
    recomputed = read_offline(offline, {one.request_id for one in served}, key=key) if offline else []
    chosen = [name.strip() for name in features.split(",") if name.strip()]
    sides = (
        features_of(one.online for one in served),
        features_of(one.inputs for one in served),
        features_of(o.values for o in recomputed),
    )
    names = chosen or list(dict.fromkeys(name for side in sides for name in side))
    watch = SkewWatch("", names, settings, joiner=Joiner(capacity=len(served) + 1, max_age=float("inf")))
    by_id = {one.request_id: one for one in recomputed}
    for record in served:
        if record.request_id in by_id:
            watch.recomputed(by_id.pop(record.request_id))
        watch.served(record)
    watch.close()
    if offline and served and not watch.joined:
        raise UsageError(
            "OBS-SKW-005",
            f"none of the {len(served)} served requests is in the offline table",
            where=str(offline),
            todo=f"compare the columns {key!r} of both sides",
        )
    document = _document(watch, watch.findings(), len(served), bad[0], _problems(sides, watch, len(served), bool(offline), chosen))
    if output == "json":
        typer.echo(json.dumps(document, indent=2, allow_nan=False))
    else:
        _show(document)
    if document["skew"]:
        raise typer.Exit(SKEW_EXIT)


def _document(watch: SkewWatch, findings: list[Finding], served: int, bad: int, problems: list[str]) -> dict[str, Any]:
    verdict = "skewed" if findings else "equal" if served else "inconclusive"
    requests = {"served": served, "joined": watch.joined, "unreadable_lines": bad}
    plain = [{name: _finite(value) for name, value in one.to_json().items()} for one in findings]
    return {
        "skew": bool(findings),
        "verdict": verdict,
        "requests": requests,
        "findings": plain,
        "pairs": watch.counts(),
        "problems": problems,
    }


def _since(at: float | None) -> str:
    """When it began, if the requests have times and not numbers."""
    if at is None or not 1e8 < at < 1e11:
        return ""
    return f", since {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and (value != value or abs(value) == float("inf")) else value


def _problems(
    columns: tuple[list[str], list[str], list[str]], watch: SkewWatch, served: int, offline: bool, chosen: list[str]
) -> list[str]:
    online, inputs, computed = (set(side) for side in columns)
    found = []
    if offline:
        found += [f"{name}: only the served side has it" for name in columns[0] if name not in computed]
        found += [f"{name}: only the offline side has it" for name in columns[2] if name not in online and name not in inputs]
        if served and watch.joined < _FEW * served:
            found.append(f"only {watch.joined} of {served} served requests are in the offline table")
    found += [f"{name}: no side has it" for name in chosen if name not in online | inputs | computed]
    if not served:
        found.append("no request was served")
    return [one for one in found if not chosen or one.split(":")[0] in chosen or ":" not in one]


def _show(document: dict[str, Any]) -> None:
    from mlops_obs.collectors.drift.report import printable

    requests = document["requests"]
    for finding in document["findings"]:
        typer.echo(printable(finding["words"] + _since(finding["since"]), 600))
    if not document["findings"]:
        words = {"equal": "no feature differs beyond what is tolerated", "inconclusive": "inconclusive: no request was served"}
        typer.echo(words[document["verdict"]])
    for problem in document["problems"]:
        typer.echo(printable(f"obs: {problem}", 300), err=True)
    lost = f", {requests['unreadable_lines']} lines could not be read" if requests["unreadable_lines"] else ""
    typer.echo(f"{requests['served']} requests served, {requests['joined']} with an offline side{lost}")
