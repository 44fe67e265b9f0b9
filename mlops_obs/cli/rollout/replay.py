"""`obs rollout replay`: every decision made again from the log alone, and what other settings or other tools would have done.

The trap is the counterfactual that goes on too long: once another rule had turned the canary back, the traffic that was
recorded afterwards would never have been. So only its first difference is told.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_obs.cli.rollout.shared import Env, Kubeconfig, Namespace, Out, Output, Which, place, show
from mlops_obs.durations import humanize_duration
from mlops_obs.errors import UsageError

if TYPE_CHECKING:
    from mlops_obs.rollout.log.records import Record

_SHOWN = 10  # differences that are printed; -o json has all
RULES = ("argo", "flagger", "kayenta")


def replay(
    env: Env = None,
    rollout: Which = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", help="Read the log from a file: what `history -o json` wrote; `-` is stdin.")
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="Also tell what this false-rollback rate would have decided.")] = None,
    rule: Annotated[
        list[str] | None, typer.Option(help="Also tell what another tool's rule would have done: argo, flagger, kayenta.")
    ] = None,
    output: Out = Output.text,
) -> None:
    """Make every decision of a rollout again, offline, and compare byte for byte. Exit 1 if one differs."""
    from mlops_obs.rollout.log import replay as again

    unknown = [one for one in rule or () if one not in RULES]
    if unknown:
        raise UsageError("OBS-ROLL-068", f"unknown rule {unknown[0]!r}", todo=f"choose from {', '.join(RULES)}")
    if alpha is not None and not 0 < alpha < 0.5:
        raise UsageError("OBS-ROLL-069", f"alpha {alpha:g} is no error rate", todo="write a number between 0 and 0.5, such as 0.01")
    if file is not None:
        records = records_in(file, rollout)
    else:
        where = place(env, namespace, kubeconfig, rollout)
        records = where.records(where.state(rollout).id)
    name = str(records[0]["rollout"]) if records else "the rollout"
    found, count = again.replay(records), again.decisions(records)
    wrong = len({one.seq for one in found})
    data: dict[str, Any] = {
        "rollout": name,
        "decisions": count,
        "reproduced": count - min(wrong, count),
        "differences": [
            {"seq": one.seq, "at": one.at, "field": one.field, "recorded": one.recorded, "replayed": one.replayed} for one in found
        ],
    }
    lines = [f"{data['reproduced']} of {count} decisions of {name} reproduced byte for byte"]
    lines += [f"  record {one.seq}: {one.field} was {_short(one.recorded)}, is {_short(one.replayed)}" for one in found[:_SHOWN]]
    lines += [f"  and {len(found) - _SHOWN} more differences"] if len(found) > _SHOWN else []
    if alpha is not None:
        data["alpha"], words = with_alpha(records, alpha)
        lines.append(words)
    if rule:
        data["rules"] = by_rules(records, rule)
        lines += rule_lines(records, data["rules"])
    show(data, "\n".join(lines), output)
    raise typer.Exit(1 if found else 0)


def records_in(file: Path, rollout: str | None) -> list[Record]:
    """Return the records of one rollout out of a file that `history -o json` wrote."""
    import sys

    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        read = json.loads(text)
        records = read["records"] if isinstance(read, dict) else read
        ids = list(dict.fromkeys(str(one["rollout"]) for one in records))
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        todo = "write it with: obs rollout history -o json > log.json"
        raise UsageError("OBS-ROLL-070", f"no evidence log: {error}", where=str(file), todo=todo) from error
    if rollout is None and len(ids) > 1:
        raise UsageError(
            "OBS-ROLL-071", f"it has {len(ids)} rollouts", where=str(file), todo=f"pass --rollout with one of {', '.join(ids)}"
        )
    return [one for one in records if rollout is None or one["rollout"] == rollout]


def with_alpha(records: Sequence[Record], alpha: float) -> tuple[dict[str, Any], str]:
    """Return the first decision that another false-rollback rate would have taken otherwise, as data and in words."""
    from mlops_obs.rollout.log.replay import what_if

    changed = what_if(records, alpha=alpha)
    first = [one for one in changed if one.seq == changed[0].seq] if changed else []
    by_field = {one.field: one for one in first}
    told: dict[str, Any] = {"alpha": alpha, "first": None}
    if not first:
        return told, f"with alpha {alpha:g}: the same decisions"
    told["first"] = {
        "seq": first[0].seq,
        "at": first[0].at,
        **{one.field: {"recorded": one.recorded, "other": one.replayed} for one in first},
    }
    verb, verdict = by_field.get("action"), by_field.get("verdict")
    what = (
        f"{verb.replayed} instead of {verb.recorded}"
        if verb
        else f"the verdict {verdict.replayed} instead of {verdict.recorded}"
        if verdict
        else ""
    )
    reason = f": {by_field['reason'].replayed}" if "reason" in by_field else ""
    moment = time.strftime("%H:%M:%S", time.localtime(first[0].at))
    return told, f"with alpha {alpha:g}: at record {first[0].seq} ({moment}) {what or 'another phase'}{reason}"


def by_rules(records: Sequence[Record], rules: Sequence[str]) -> list[dict[str, Any]]:
    """Return what the rules of other tools would have done on the minutes of this rollout."""
    from mlops_obs.rollout.judging.rivals import RIVALS, minutes_of
    from mlops_obs.rollout.machine.inputs import slices_of

    minutes = minutes_of(slices_of(records))
    out = []
    for name, judge in RIVALS.items():
        if name.split()[0].lower() in rules:
            ruling = judge(minutes)
            out.append({"rule": name, "verdict": ruling.verdict, "seconds": ruling.seconds, "reason": ruling.reason})
    return out


def rule_lines(records: Sequence[Record], ruled: Sequence[dict[str, Any]]) -> list[str]:
    """Return a table of rules, ours first."""
    from mlops_obs.rollout.machine.inputs import slices_of

    slices = slices_of(records)
    if not slices:
        return ["other tools' rules: no requests were recorded to judge by"]
    began, end = slices[0].start, slices[-1].end
    back = next((one for one in records if one["kind"] == "decision" and one["action"] in ("rollback", "abort")), None)
    ours = f"{back['action']} after {humanize_duration(float(back['at']) - began)}" if back else "no rollback"
    lines = [f"on the same {humanize_duration(end - began)} of requests:", f"  {'obs rollout':<22}{ours}"]
    for one in ruled:
        did = f"rollback after {humanize_duration(one['seconds'])}: {one['reason']}" if one["verdict"] == "rollback" else "no rollback"
        lines.append(f"  {one['rule']:<22}{did}")
    return lines


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
