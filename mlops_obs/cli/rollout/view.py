"""A rollout on a screen: the tree of `obs rollout watch`, in plain text so that tests compare whole screens.

The trap: a screen that shows what was declared as if it were true. Declared and observed traffic stand side by side, and
the message says when the target or the metrics disagree or cannot be asked. Lines break between words at the width of
the terminal; a name is never cut, for half a name sends somebody to the wrong revision.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterable, Sequence
from typing import Any

from mlops_obs.cli.rollout.standing import as_json
from mlops_obs.durations import humanize_duration
from mlops_obs.rollout.judging.judge import at_most_worse
from mlops_obs.rollout.log.forecast import Forecast
from mlops_obs.rollout.log.records import Record
from mlops_obs.rollout.machine.state import RolloutState

GLYPHS = {
    "Pending": "·",
    "Progressing": "◌",
    "Watching": "◉",
    "Holding": "॥",
    "Paused": "॥",
    "Promoted": "✔",
    "RolledBack": "✖",
    "Aborted": "✖",
}
COLOURS = {
    "Pending": "dim",
    "Progressing": "blue",
    "Watching": "cyan",
    "Holding": "yellow",
    "Paused": "yellow",
    "Promoted": "green",
    "RolledBack": "red",
    "Aborted": "red",
}
FAULTS = {
    "canary": "the canary's own: stable did well in the same minutes",
    "shared": "shared: both revisions suffer, so the canary is not blamed and the deadline stands still",
    "telemetry": "telemetry: metrics or a split that cannot be trusted decide nothing, for or against the canary",
}
WIDTH, _LABEL, _BAR = 100, 13, 20


def tree(
    state: RolloutState,
    evidence: Record | None,
    controller: str | None,
    now: float,
    *,
    width: int = WIDTH,
    records: Sequence[Record] = (),
    foretold: Sequence[Forecast] = (),
) -> list[str]:
    """Return the lines of the watch view at `now` (Unix seconds), at most `width` columns unless a name is longer."""
    return screen(as_json(state, evidence, controller, now, records, foretold), now, width)


def screen(data: dict[str, Any], now: float, width: int = WIDTH) -> list[str]:
    """Draw what `as_json` says: nothing is on the screen that is not in the data."""
    lines: list[str] = []
    for label, text in _head(data, now):
        lines += field(label, text, width)
    end = data["ended_at"] or now
    ways = f"{data['stable'] or '?'} → {data['canary']}"
    lines += ["", *flow((f"⟳ {data['service']}", ways, humanize_duration(max(0.0, end - data["created_at"]))), width, 2)]
    branches = [[f"{'✔' if data['deployed'] else '◌'} deploy {data['canary']}"], *_steps(data, end, width), *_watch(data)]
    for index, branch in enumerate(branches):
        last = index == len(branches) - 1
        lines.append(f"{'└' if last else '├'}──{branch[0]}")
        lines += [f"{' ' if last else '│'}  {line}".rstrip() for line in branch[1:]]
    return lines


def field(label: str, text: str, width: int = WIDTH) -> list[str]:
    """Return `label: text` with the text in its column, broken between words."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=f"{label + ':' if label else '':<{_LABEL}}",
        subsequent_indent=" " * _LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [f"{label}:"]


def flow(parts: Iterable[str], width: int, indent: int = 0) -> list[str]:
    """Set `parts` side by side, two spaces between them; what does not fit goes to the next line, whole."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + 2 + len(part) <= width:
            lines[-1] += f"  {part}"
        else:
            lines.append(" " * (indent if lines else 0) + part)
    return lines


def odds(log10: float) -> str:
    """Return evidence as odds; what speaks for the canary is no evidence against it."""
    if log10 < 0.05:
        return "none"
    return f"{10**log10:,.0f}:1" if log10 >= 1 and log10 < 6 else f"{10**log10:.1f}:1" if log10 < 1 else f"10^{log10:.0f}:1"


def share(bad: int, total: int) -> str:
    """Return a share of bad requests with its counts."""
    return f"{bad / total:.1%} ({bad:,}/{total:,})" if total else "none yet"


def ratio(value: float) -> str:
    """Return a ratio with two digits that mean something."""
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}" if value < 1_000 else "over 1,000"


def _head(data: dict[str, Any], now: float) -> list[tuple[str, str]]:
    retreating = data["goal"] != "forward" and data["phase"] not in ("RolledBack", "Aborted")
    status = f"{GLYPHS[data['phase']]} {data['phase']}"
    status += " (giving the traffic back)" if retreating else ""
    status += " (dry run: the traffic is not touched)" if data["dry_run"] else ""
    left = data["deadline_left"]
    if left is not None and not retreating and data["phase"] != "Watching":
        status += f"; deadline in {humanize_duration(left)}" if left > 0 else f"; deadline passed {humanize_duration(-left)} ago"
    message = f"{data['why']}; {data['reason']}" if retreating and data["why"] not in data["reason"] else data["reason"]
    head = [("Rollout", data["rollout"]), ("Status", status), ("Message", message), ("Traffic", _traffic(data, retreating))]
    fault = fault_of(data["attribution"], data["goal"])
    head += [("Fault", fault)] if fault else []
    soon = data["forecast"][0]["words"] if data["forecast"] and data["goal"] == "forward" and data["ended_at"] is None else ""
    optional = (
        ("Way back", _way_back(data)),
        ("Power", _power(data)),
        ("Outlook", f"if {soon}" if soon else ""),
        ("Budget", data["budget"]),
        ("Notices", _notices(data, now)),
    )
    head += [(label, text) for label, text in optional if text]
    missing = f"none is running: obs rollout {'operator' if data['object'] else 'controller'}"
    head.append(("Controller", data["controller"] or missing))
    return head + [(name.capitalize(), text) for name, text in data["holds"].items() if name != "traffic"]


def fault_of(attribution: str, goal: str) -> str:
    """Return whose fault it is, in words; empty where that decides nothing: a retreat once begun needs no evidence."""
    return FAULTS.get(attribution, "") if goal == "forward" or attribution == "canary" else ""


def _traffic(data: dict[str, Any], retreating: bool) -> str:
    declared = "  ".join(f"{name} {percent} %" for name, percent in sorted(data["weights"].items()))
    if not declared:
        return "not read yet"
    if retreating and data["holds"]:
        return f"{declared} wanted; now {data['holds']['traffic']}"
    seen = data["traffic"]
    if seen["observed"] is None or data["goal"] != "forward" or data["ended_at"] is not None:
        return f"{declared} declared"
    return f"{declared} declared; observed {data['canary']} {seen['observed']:.1f} % of {seen['requests']:,} requests"


def _way_back(data: dict[str, Any]) -> str:
    told = data["way_back"]
    if told is None or data["phase"] in ("RolledBack", "Aborted"):
        return ""
    seconds = f"; in about {humanize_duration(max(told['seconds'], 1.0))}" if told["seconds"] is not None else ""
    reason = told["reason"] or f"all traffic could return to {data['stable'] or 'stable'}"
    return f"{'✔' if told['ready'] else '✖'} {reason}{seconds}"


def _power(data: dict[str, Any]) -> str:
    if data["goal"] != "forward" or data["ended_at"] is not None:
        return ""
    return "; ".join(f"{one['test']}: {seen_in(one['ratio'], one['seconds'])}" for one in data["power"])


def seen_in(ratio: float, seconds: float | None) -> str:
    """Return the power of a test in words."""
    return f"{ratio:g}x would show in {humanize_duration(seconds)}" if seconds is not None else f"{ratio:g}x would never show"


def _notices(data: dict[str, Any], now: float) -> str:
    kinds: dict[str, list[float]] = {}
    for one in data["notices"]:
        kinds.setdefault(one["kind"], []).append(float(one["at"]))
    waiting = ", ".join(
        f"{len(times)} x {kind} (since {humanize_duration(max(0.0, now - min(times)))})" for kind, times in sorted(kinds.items())
    )
    return f"not delivered yet: {waiting}" if waiting else ""


def _steps(data: dict[str, Any], end: float, width: int) -> list[list[str]]:
    here = data["step"] - 1
    out: list[list[str]] = [] if data["steps"] else [["· steps chosen one by one, by evidence and by what the error budget can bear"]]
    for index, weight in enumerate(data["steps"]):
        line = f"{_step_glyph(data, index)} step {index + 1}  {weight:>3} %"
        if index > here and weight in data["manual_gates"]:
            line += "  only after: obs rollout promote"
        if index != here:
            out.append([line])
            continue
        since = None if data["phase"] == "Promoted" else data["step_started_at"]
        if since is not None:
            line += f"  for {humanize_duration(max(0.0, end - since))}"
        elif not data["ended_at"]:
            line += "  waiting for the target"
        out.append([line, *findings(data["evidence"], data["canary"], data["stable"], width - 3)])
    return out


def _step_glyph(data: dict[str, Any], index: int) -> str:
    here = data["step"] - 1
    if index > here:
        return "·"
    if index < here or data["phase"] in ("Promoted", "Watching"):
        return "✔"
    return "✖" if data["goal"] != "forward" else GLYPHS[data["phase"]]


def _watch(data: dict[str, Any]) -> list[list[str]]:
    """Return the branch of the watch period, if there is one."""
    if not data["watch"]:
        return []
    glyph = {"Promoted": "✔", "Watching": GLYPHS["Watching"]}.get(data["phase"], "·")
    left = f"  {humanize_duration(data['watch_left'])} left" if data["watch_left"] is not None else ""
    return [[f"{glyph} watch for {humanize_duration(data['watch'])}, {data['stable'] or 'stable'} stays warm{left}"]]


def findings(numbers: dict[str, Any], canary: str, stable: str, width: int) -> list[str]:
    """Draw each test's evidence against its bound, its counts and its margin, then the other gates."""
    lines: list[str] = []
    for name, one in sorted(numbers.get("tests", {}).items()):
        now, bound = one["log10_e"], one["log10_bound"]
        glyph = "✖" if one["condemned"] else "✔" if one["accepted"] else "◌"
        peak = f" (was {odds(one['log10_e_peak'])})" if one["log10_e_peak"] > max(now, 0.0) + 0.5 else ""
        lines.append(f"{glyph} {name:<8} {bar(now, bound)} evidence {odds(now)}{peak} of {odds(bound)}")
        parts = [f"{canary} {share(one['canary_bad'], one['canary_total'])}", f"{stable} {share(one['stable_bad'], one['stable_total'])}"]
        if one.get("ratio") is not None and one.get("ratio_low") is not None:
            parts.append(f"ratio {ratio(one['ratio'])} ({ratio(one['ratio_low'])} to {ratio(one['ratio_high'])})")
        upper = at_most_worse(one["difference_upper"])
        parts.append(f"{upper} (limit {one['margin']:.1%})" if one.get("step_requests", 1) else "nothing counted at this step yet")
        if one.get("log10_alike_bound", 0.0) > 0:
            parts.append(f"no worse {odds(one['log10_alike'])} of {odds(one['log10_alike_bound'])}")
        parts += ["(measured only)"] if one.get("dry_run") else []
        lines += [" " * 11 + line for line in flow(parts, width - 11)]
    for name, gate in sorted(numbers.get("gates", {}).items()):
        glyph = {True: "✔", False: "✖"}.get(gate["ok"], "◌")
        text = f"{glyph} {name:<8} {gate['words']}{' (measured only)' if gate['dry_run'] else ''}"
        lines += textwrap.wrap(text, width, subsequent_indent=" " * 11, break_long_words=False, break_on_hyphens=False)
    return lines


def bar(value: float, bound: float) -> str:
    """Draw evidence against its bound on the scale of logarithms: full is proof."""
    filled = round(_BAR * min(max(value / bound, 0.0), 1.0)) if bound > 0 else _BAR
    return "█" * filled + "░" * (_BAR - filled)


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
            f"evidence 10^{test['log10_e_peak']:.1f} of 10^{test['log10_bound']:.1f}, {at_most_worse(test['difference_upper'])}"
            for name, test in sorted(one["evidence"].get("tests", {}).items())
        ]
        lines += [
            f"{' ' * 25}budget of {rung['slo']}: {rung['remaining']:.1%} left, below {rung['below']:.1%}: {rung['action']}"
            for rung in one["evidence"].get("budget", {}).get("in_force", [])
        ]
    return "\n".join(lines)
