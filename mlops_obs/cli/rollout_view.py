"""A rollout on a screen: the tree of `obs rollout watch`, in plain text so that tests compare whole screens.

The trap: a screen that shows what was declared as if it were true. The weights shown are those declared; the message
says when the target or the metrics disagree or cannot be asked.
"""

from __future__ import annotations

import time
from typing import Any

from mlops_obs.durations import humanize_duration
from mlops_obs.rollout.records import Record
from mlops_obs.rollout.state import RolloutState

GLYPHS = {
    "Pending": "·",
    "Progressing": "◌",
    "Holding": "॥",
    "Paused": "॥",
    "Promoted": "✔",
    "RolledBack": "✖",
    "Aborted": "✖",
}
COLOURS = {
    "Pending": "dim",
    "Progressing": "blue",
    "Holding": "yellow",
    "Paused": "yellow",
    "Promoted": "green",
    "RolledBack": "red",
    "Aborted": "red",
}
EXIT_ROLLED_BACK, EXIT_HOLDING = 3, 4


def exit_code(state: RolloutState) -> int:
    """Return what a script should see: 0 promoted or going on, 3 rolled back or aborted, 4 waiting for somebody or something."""
    if state.phase in ("RolledBack", "Aborted"):
        return EXIT_ROLLED_BACK
    return EXIT_HOLDING if state.phase in ("Holding", "Paused") else 0


def as_json(state: RolloutState, evidence: Record | None, controller: str | None) -> dict[str, Any]:
    """Return the status as plain data; `weights` are percent by revision as declared, times Unix seconds."""
    return {
        "rollout": state.id,
        "service": state.spec.service,
        "stable": state.stable,
        "canary": state.spec.canary,
        "phase": state.phase,
        "reason": state.reason,
        "step": state.step + 1,
        "steps": list(state.spec.steps),
        "weights": state.desired,
        "budget": state.budget,
        "policy": state.policy,
        "goal": state.goal,
        "actor": state.actor,
        "created_at": state.created_at,
        "began_at": state.began_at,
        "step_started_at": state.step_started_at,
        "updated_at": state.updated_at,
        "ended_at": state.ended_at,
        "evidence": (evidence or {}).get("evidence", {}),
        "controller": controller,
        "exit_code": exit_code(state),
    }


def tree(state: RolloutState, evidence: Record | None, controller: str | None, now: float) -> list[str]:
    """Return the lines of the watch view at `now` (Unix seconds)."""
    canary, weights = state.spec.canary, " ".join(f"{name} {percent} %" for name, percent in sorted(state.desired.items()))
    lines = [
        f"Rollout:     {state.id}",
        f"Status:      {GLYPHS[state.phase]} {state.phase}",
        f"Message:     {state.reason}",
        f"Traffic:     {weights or 'not read yet'}",
        *([f"Budget:      {state.budget}"] if state.budget else []),
        f"Controller:  {controller or 'none is running: obs rollout controller'}",
        "",
        f"⟳ {state.spec.service}  {state.stable or '?'} → {canary}  {humanize_duration((state.ended_at or now) - state.created_at)}",
        f"├──{'✔' if state.deployed else '◌'} deploy {canary}",
    ]
    for index, share in enumerate(state.spec.steps):
        here = index == state.step
        last = index == len(state.spec.steps) - 1
        lines.append(
            f"{'└' if last else '├'}──{_step_glyph(state, index)} step {index + 1}  {share:>3} %{_since(state, now) if here else ''}"
        )
        if here:
            bar = " " if last else "│"
            lines += [f"{bar}  {line}" for line in _findings(evidence)]
    return lines


def _step_glyph(state: RolloutState, index: int) -> str:
    if index > state.step:
        return "·"
    if index < state.step or state.phase == "Promoted":
        return "✔"
    return "✖" if state.goal != "forward" else GLYPHS[state.phase]


def _since(state: RolloutState, now: float) -> str:
    if state.step_started_at is None:
        return "  waiting for the target"
    return f"  for {humanize_duration((state.ended_at or now) - state.step_started_at)}"


def _findings(evidence: Record | None) -> list[str]:
    tests: dict[str, dict[str, Any]] = (evidence or {}).get("evidence", {}).get("tests", {})
    return [
        f"{'✖' if one['condemned'] else '✔' if one['accepted'] else '◌'} {name:<7} canary {one['canary_bad']}/{one['canary_total']}"
        f"  stable {one['stable_bad']}/{one['stable_total']}  evidence 10^{one['log10_e_peak']:.1f} of 10^{one['log10_bound']:.1f}"
        f"  worse by at most {one['difference_upper']:.1%} (limit {one['margin']:.1%})"
        for name, one in sorted(tests.items())
    ]


def history_line(one: Record) -> str:
    """Return a record of the evidence log as text: what, by whom, the weights after it, and under a decision its numbers."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one["at"]))
    after = one["weights_after"]
    weights = " [" + " ".join(f"{name} {percent} %" for name, percent in sorted(after.items())) + "]" if after else ""
    who = "" if one["actor"] == "controller" else f" by {one['actor']}"
    failed = "" if one["ok"] else " FAILED"
    lines = [f"{one['seq']:>4} {moment} {one['rollout']} {one['kind']:<8} {one['action']}{failed}{who}{weights} {one['reason']}"]
    if one["kind"] == "decision":
        lines += [
            f"{' ' * 25}{name}: canary {test['canary_bad']}/{test['canary_total']}, stable {test['stable_bad']}/{test['stable_total']}, "
            f"evidence 10^{test['log10_e_peak']:.1f} of 10^{test['log10_bound']:.1f}, worse by at most {test['difference_upper']:.1%}"
            for name, test in sorted(one["evidence"].get("tests", {}).items())
        ]
        lines += [
            f"{' ' * 25}budget of {rung['slo']}: {rung['remaining']:.1%} left, below {rung['below']:.1%}: {rung['action']}"
            for rung in one["evidence"].get("budget", {}).get("in_force", [])
        ]
    return "\n".join(lines)
