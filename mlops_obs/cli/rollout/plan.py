"""`obs rollout start --dry-run`: what would happen, at which power, by which way back, and what would be refused. Starts nothing.

The trap is the plan that was never checked against the world: traffic is measured where metrics answer, and the way back
is asked of the platform itself. What cannot be asked is said, and does not stop the rest.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import typer

from mlops_obs.cli import wiring
from mlops_obs.cli.rollout.setting import Surroundings, surroundings
from mlops_obs.cli.rollout.shared import Output, columns, show
from mlops_obs.cli.rollout.view import field, seen_in
from mlops_obs.durations import humanize_duration
from mlops_obs.rollout.machine.pace import plan_of as plan_of_weights
from mlops_obs.rollout.machine.pace import useless
from mlops_obs.rollout.spec.lint import lint, step_power
from mlops_obs.rollout.spec.rollout import Rollout


def show_plan(environment: wiring.Environment, spec: Rollout, output: Output) -> None:
    """Print the plan of `spec`; exit 1 if it would be refused."""
    data = plan_of(environment, spec, time.time())
    show(data, "\n".join(plan_lines(data, columns())), output)
    raise typer.Exit(1 if data["refused"] else 0)


def plan_of(environment: wiring.Environment, spec: Rollout, now: float) -> dict[str, Any]:
    """Return the plan as plain data: spec, traffic, steps with seconds to see a regression by test, way_back, notes and refused."""
    known = surroundings(environment, spec, now)
    refused = _refusals(environment, spec)
    way_back, stable = _way_back(known, spec, refused)
    weights = plan_of_weights(spec)
    refused += [why for weight in weights if (why := useless(spec, weight))]
    seconds: list[dict[str, float | None]] = [{} for _ in weights]
    traffic = known.traffic
    for name, share in traffic.bad.items() if traffic else ():
        for index, one in enumerate(step_power(spec, traffic.rps if traffic else 0.0, share)[: len(weights)]):
            seconds[index][name] = one.seconds
    findings = [one for one in lint(spec, known.setting()) if one.level != "note"]
    return {
        "spec": spec.model_dump(mode="json"),
        "service": spec.service,
        "stable": stable,
        "canary": spec.canary,
        "ratio": spec.least_detectable_ratio,
        "traffic": None if traffic is None else {"rps": traffic.rps, "bad": traffic.bad, "measured": traffic.measured},
        "steps": [
            {
                "weight": weight,
                "canary_rps": None if traffic is None else traffic.rps * weight / 100,
                "manual": weight in spec.manual_gates,
                "seconds": seconds[index],
                "compares": weight < 100,
            }
            for index, weight in enumerate(weights)
        ],
        "watch": spec.watch,
        "deadline": spec.deadline,
        "way_back": way_back,
        "notes": [*known.notes, *_package(spec.package), *(str(one) for one in findings)],
        "refused": refused,
    }


def plan_lines(data: dict[str, Any], width: int) -> list[str]:
    """Return the plan as text."""
    ways = f"{data['service']}  {data['stable'] or '?'} → {data['canary']}"
    lines = field("Plan", f"{ways}, at most {humanize_duration(data['deadline'])}", width)
    traffic = data["traffic"]
    if traffic:
        how = "measured" if traffic["measured"] else "declared; shares of bad requests are assumed"
        shares = ", ".join(f"{name} {share:.2%}" for name, share in sorted(traffic["bad"].items()))
        lines += field("Traffic", f"{traffic['rps']:,.3g} requests/s ({how}); {shares}", width)
    way = data["way_back"]
    if way:
        took = f"; in about {humanize_duration(max(way['seconds'], 1.0))}" if way["seconds"] is not None else ""
        lines += field("Way back", f"{'✔' if way['ready'] else '✖'} {way['reason']}{took}", width)
    lines.append("")
    if not data["steps"]:
        lines.append("· steps chosen one by one, by evidence and by what the error budget can bear")
    for index, one in enumerate(data["steps"], 1):
        line = f"· step {index}  {one['weight']:>3} %"
        line += f"  {one['canary_rps']:,.3g} requests/s" if one["canary_rps"] is not None else ""
        line += "  only after: obs rollout promote" if one["manual"] else ""
        lines.append(line)
        if not one["compares"]:
            lines += field("", "stable has no traffic left to compare with; it is held against what stable did before", width)
        elif one["seconds"]:
            seen = "; ".join(f"{name}: {seen_in(data['ratio'], seconds)}" for name, seconds in sorted(one["seconds"].items()))
            lines += field("", seen, width)
    if data["watch"]:
        lines.append(f"· watch for {humanize_duration(data['watch'])}")
    for label, found in (("Note", data["notes"]), ("Refused", data["refused"])):
        lines += [""] if found else []
        for text in found:
            lines += field(label, text, width)
    return [*lines, "", "nothing was started (--dry-run)"]


def _package(package: str) -> list[str]:
    """Return a note where a path leads nowhere here: only the target knows whether it does there."""
    local = "/" in package and "://" not in package
    return [f"package {package} does not exist here; it is given to the target as written"] if local and not Path(package).exists() else []


def _refusals(environment: wiring.Environment, spec: Rollout) -> list[str]:
    if environment.store is not None:
        return []
    store = wiring.rollout_store(environment)
    running = store.load(spec.service)
    out = [f"rollout {running.state.id} of {spec.service} is still running"] if running and not running.state.over else []
    bad = store.bad_digests(spec.service).get(spec.digest) if spec.digest else None
    return [*out, f"package {spec.digest} was rolled back by {bad}; obs rollout retry --reason ... ships it again"] if bad else out


def _way_back(known: Surroundings, spec: Rollout, refused: list[str]) -> tuple[dict[str, Any] | None, str]:
    """Ask the platform for the revision that serves now, and whether the traffic could return to it."""
    if known.target is None:
        return None, ""
    try:
        weights = {name: share for name, share in known.target.weights().items() if share}
        if len(weights) != 1:
            refused.append("the traffic is split already: " + "  ".join(f"{name} {share} %" for name, share in sorted(weights.items())))
            return None, ""
        stable = next(iter(weights))
        if stable == spec.canary:
            refused.append(f"{spec.canary} has all the traffic already")
            return None, stable
        way = known.target.way_back(stable)
    except Exception as error:  # noqa: BLE001 - whatever an adapter raises, the rest of the plan is still worth reading
        return {"ready": False, "reason": f"the target cannot be asked: {error}", "seconds": None}, ""
    reason = way.reason or f"all traffic could return to {stable}"
    if not way.ready:
        refused.append(f"there is no way back to {stable}: {reason}")
    return {"ready": way.ready, "reason": reason, "seconds": way.seconds}, stable
