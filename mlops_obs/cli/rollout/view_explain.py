"""A decision explained on a screen, in the order in which a person asks: what, why, on which numbers, what now.

The trap is the wall of figures: the reason stands first, and each number beside the bound that it was held against.
"""

from __future__ import annotations

import textwrap
import time
from typing import Any

from mlops_obs.cli.rollout.view import WIDTH, bar, fault_of, field, flow, odds, ratio, seen_in, share
from mlops_obs.rollout.judging.judge import at_most_worse
from mlops_obs.rollout.log.explain import Explanation
from mlops_obs.rollout.machine.state import RolloutState


def explained(found: Explanation, state: RolloutState, width: int = WIDTH) -> list[str]:
    """Return the lines of `obs rollout explain`."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.at))
    who = "" if found.actor == "controller" else f" by {found.actor}"
    lines = field("Decision", f"{found.seq} of {found.rollout}, {moment}: {found.action}{who}", width)
    lines += field("Why", found.reason, width)
    if found.weights_seen is not None:
        then = f", to become {_split(found.weights_set)}" if found.weights_set else ""
        lines += field("Traffic", f"{_split(found.weights_seen)}{then}", width)
    blind = "it could not be judged" if found.unknown in ("", found.reason) else found.unknown
    lines += field("Verdict", f"unknown: {blind}" if found.verdict == "unknown" else found.verdict or "not judged", width)
    fault = fault_of(found.attribution, "retreat" if found.action in ("rollback", "abort") else "forward")
    lines += field("Fault", fault, width) if fault else []
    canary, stable = state.spec.canary, state.stable or "stable"
    lines += _tests(found, canary, stable, width)
    for index, (name, one) in enumerate(sorted(found.gates.items())):
        lines += [""] if index == 0 else []
        answer = {True: "passes", False: "fails"}.get(one["ok"], "holds")
        lines += field(f"{name}", f"{answer}{' (measured only)' if one['dry_run'] else ''}: {one['words']}", width)
    for rung in found.budget.get("in_force", ()):
        lines += field("Budget", f"{rung['slo']}: {rung['remaining']:.1%} left, below {rung['below']:.0%}: {rung['action']}", width)
    lines += _samples(found, canary, stable)
    for index, text in enumerate(found.changes):
        lines += ["", "What would change it:"] if index == 0 else []
        lines += textwrap.wrap(text, width, initial_indent="  · ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    for index, (name, text) in enumerate(found.holds.items()):
        lines += ["", "What is left:"] if index == 0 else []
        lines += field(name.capitalize(), text, width)
    return lines


def _tests(found: Explanation, canary: str, stable: str, width: int) -> list[str]:
    lines: list[str] = []
    power = {one["test"]: one for one in found.power}
    for name, one in sorted(found.tests.items()):
        answer = "worse: proven" if one["condemned"] else "good enough: shown" if one["accepted"] else "open"
        lines += ["", f"{name}: {answer}{' (measured only)' if one.get('dry_run') else ''}"]
        strength = f"evidence {odds(one['log10_e_peak'])} of {odds(one['log10_bound'])}"
        lines.append(f"  worse?        {bar(one['log10_e_peak'], one['log10_bound'])} {strength}")
        alike = (
            f"; no worse {odds(one['log10_alike'])} of {odds(one['log10_alike_bound'])}" if one.get("log10_alike_bound", 0.0) > 0 else ""
        )
        lines.append(f"  good enough?  {at_most_worse(one['difference_upper'])}, limit {one['margin']:.1%}{alike}")
        parts = [f"{canary} {share(one['canary_bad'], one['canary_total'])}", f"{stable} {share(one['stable_bad'], one['stable_total'])}"]
        if one.get("ratio") is not None and one.get("ratio_low") is not None:
            parts.append(f"ratio {ratio(one['ratio'])} ({ratio(one['ratio_low'])} to {ratio(one['ratio_high'])})")
        lines += [f"  {'counted' if index == 0 else '':<14}{line}" for index, line in enumerate(flow(parts, width - 16))]
        if name in power:
            lines.append(f"  power         {seen_in(power[name]['ratio'], power[name]['seconds'])} at this traffic")
    return lines


def _samples(found: Explanation, canary: str, stable: str) -> list[str]:
    """Return the newest slices as a table: time, and bad of all requests by arm."""
    if not found.samples:
        return []
    lines = ["", "Newest samples:"]
    for one in found.samples:
        moment = time.strftime("%H:%M:%S", time.localtime(one["end"]))
        if one.get("missing"):
            lines.append(f"  {moment}  {one['missing']}")
        else:
            lines.append(f"  {moment}  {canary} {_counts(one['canary']):<26} {stable} {_counts(one['stable'])}".rstrip())
    return lines


def _counts(one: dict[str, Any]) -> str:
    return f"{one['errors']} failed, {one['slow']} slow of {one['total']}"


def _split(weights: dict[str, int]) -> str:
    return "  ".join(f"{name} {percent} %" for name, percent in sorted(weights.items())) or "no traffic"
