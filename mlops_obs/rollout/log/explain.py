"""Why a rollout is where it is: the deciding numbers of a recorded decision, and what would have changed it.

It reads nothing but the records and the state, so that it says the same a year later. The trap is an explanation that is
made up afterwards: every number here was written down together with the decision, and what is estimated says "about".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mlops_obs.durations import humanize_duration
from mlops_obs.errors import StateError
from mlops_obs.rollout.evidence.slices import Counts
from mlops_obs.rollout.log.forecast import Forecast, forecast
from mlops_obs.rollout.log.leftovers import NOWHERE, Home, holds
from mlops_obs.rollout.log.records import Record
from mlops_obs.rollout.log.replay import steps
from mlops_obs.rollout.machine.inputs import slices_of
from mlops_obs.rollout.machine.state import RolloutState

_ENDS = frozenset({"rollback", "abort", "promote", "finish"})
_SAMPLES = 8  # slices that are shown


@dataclass(frozen=True, slots=True)
class Explanation:
    """One decision explained. `samples` are the newest slices it rests on, `changes` what would have changed it, in words."""

    seq: int
    at: float
    rollout: str
    action: str
    phase: str
    actor: str
    reason: str
    verdict: str
    attribution: str
    weights_seen: dict[str, int] | None
    weights_set: dict[str, int] | None
    tests: dict[str, dict[str, Any]]
    power: tuple[dict[str, Any], ...]
    samples: tuple[dict[str, Any], ...]
    changes: tuple[str, ...]
    forecast: tuple[dict[str, Any], ...]
    holds: dict[str, str]
    budget: dict[str, Any]
    gates: dict[str, Any]
    way_back: dict[str, Any]
    traffic: dict[str, Any]
    unknown: str = ""  # why it could not be judged

    def plain(self) -> dict[str, Any]:
        """Return it as plain data, lists for tuples."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def deciding(records: Sequence[Record], seq: int | None = None) -> Record | None:
    """Return the decision `seq`; without it the one that ended the rollout, else the newest; None if there is none.

    A number between two decisions means the one before it: `history` shows intents and results with numbers of their own.
    """
    decisions = [one for one in records if one["kind"] == "decision"]
    if seq is not None:
        return next((one for one in reversed(decisions) if one["seq"] <= seq), None) if any(one["seq"] == seq for one in records) else None
    if decisions and records[-1]["phase"] in ("RolledBack", "Aborted", "Promoted"):
        return next((one for one in reversed(decisions) if one["action"] in _ENDS), decisions[-1])
    return decisions[-1] if decisions else None


def explain(state: RolloutState, records: Sequence[Record], seq: int | None = None, home: Home = NOWHERE) -> Explanation | None:
    """Explain the decision `seq` of `records` (all of one rollout, in order); by default the one that made it what it is."""
    chosen = deciding(records, seq)
    if chosen is None:
        return None
    evidence: Mapping[str, Any] = chosen["evidence"]
    foretold = foretell(records, chosen) if evidence.get("verdict") == "undecided" else []
    return Explanation(
        seq=int(chosen["seq"]),
        at=float(chosen["at"]),
        rollout=str(chosen["rollout"]),
        action=str(chosen["action"]),
        phase=str(chosen["phase"]),
        actor=str(chosen["actor"]),
        reason=str(chosen["reason"]),
        verdict=str(evidence.get("verdict", "")),
        attribution=str(evidence.get("attribution", "none")),
        weights_seen=chosen["weights_before"],
        weights_set=chosen["weights_after"] if chosen["weights_after"] != chosen["weights_before"] else None,
        tests=dict(evidence.get("tests", {})),
        power=tuple(evidence.get("power", ())),
        samples=tuple(samples(records, chosen)),
        changes=(*(f"if {foretold_in_words(one, state)}" for one in foretold), *_refused(records, chosen), *changes(state, chosen)),
        forecast=tuple(asdict(one) for one in foretold),
        holds=holds(state, records, home) if seq is None or chosen["action"] in ("rollback", "abort") else {},
        budget=dict(evidence.get("budget", {})),
        gates=dict(evidence.get("gates", {})),
        way_back=dict(evidence.get("way_back") or {}),
        traffic=dict(evidence.get("traffic") or {}),
        unknown=str(evidence.get("unknown", "")),
    )


def samples(records: Sequence[Record], chosen: Record, count: int = _SAMPLES) -> list[dict[str, Any]]:
    """Return the newest slices that were known when `chosen` was decided, oldest first; missing ones say why."""
    return slices_until(records, int(chosen["seq"]))[-count:]


def slices_until(records: Sequence[Record], seq: int | None = None) -> list[dict[str, Any]]:
    """Return all slices recorded up to `seq` as plain data: start, end, weight, missing, and the counts of both arms."""
    known = records if seq is None else [one for one in records if one["seq"] <= seq]
    return [
        {
            "start": one.start,
            "end": one.end,
            "weight": one.weight,
            "missing": one.missing,
            "canary": _counted(one.canary),
            "stable": _counted(one.stable),
        }
        for one in slices_of(known)
    ]


def _counted(one: Counts) -> dict[str, int]:
    return {"total": one.total, "errors": one.errors, "timed": one.timed, "slow": one.slow}


def foretell(records: Sequence[Record], chosen: Record) -> list[Forecast]:
    """Return what would have followed if the minutes after `chosen` were like those before; empty without recorded inputs."""
    try:
        step = next((one for one in steps(records) if one.record.get("seq") == chosen["seq"]), None)
    except StateError:  # a log of an older release carries conclusions only
        return []
    return forecast(step.before, step.slices) if step else []


def foretold_in_words(one: Forecast, state: RolloutState) -> str:
    """Return a forecast as a clause without its "if"."""
    canary, stable = state.spec.canary, state.stable or "stable"
    when = "it goes on like the last minutes" if one.scenario == "as now" else f"{canary} does as {stable} does from then on"
    if one.outcome is None:
        return f"{when}: still open after {humanize_duration(one.seconds)}"
    return f"{when}: {canary} is {'accepted' if one.outcome == 'accepted' else 'rolled back'} in about {humanize_duration(one.seconds)}"


def _refused(records: Sequence[Record], chosen: Record) -> list[str]:
    """Return why nothing came of a decision, if the target refused its act."""
    done = next((one for one in records if one["seq"] > chosen["seq"] and one["kind"] != "intent"), None)
    done = done if done and done["kind"] == "result" else None
    return [f"the target: {done['reason']}; it is tried again by itself"] if done and not done["ok"] else []


def changes(state: RolloutState, record: Record) -> list[str]:
    """Return what would have changed this decision, in words; the first is the nearest."""
    canary, evidence, action = state.spec.canary, record["evidence"], record["action"]
    verdict, tests = evidence.get("verdict"), evidence.get("tests", {})
    if action in ("rollback", "abort"):
        again = f"ship a corrected model under a new revision, or {canary} once more: obs rollout retry --reason ..."
        return [f"nothing: a retreat is never taken back; {again}"]
    if record["phase"] == "Promoted":
        return [f"obs rollout rollback --reason ... gives the traffic back to {record['stable'] or 'stable'}"]
    if record["phase"] == "Paused":
        return ["obs rollout resume; harm that is proven rolls back also while paused"]
    out: list[str] = []
    if evidence.get("budget", {}).get("in_force"):
        out += [
            f"the error budget of {rung['slo']} back above {rung['below']:.0%} ({rung['remaining']:.1%} is left)"
            for rung in evidence["budget"]["in_force"]
            if rung["action"] in ("freeze", "rollback")
        ]
    way = evidence.get("way_back") or {}
    if way and not way["ready"]:
        out.append(f"a way back to {record['stable']} again (now: {way['reason']})")
    if verdict == "unknown":
        wrong = (evidence.get("traffic") or {}).get("problem")
        split = "the declared split again: look for sticky sessions, retries and clients that go around it"
        seen = split if wrong else "metrics that can be read and trusted again"
        return [*out, seen, "obs rollout promote --reason ... passes this step without evidence"]
    if evidence.get("attribution") == "shared":
        return [*out, "the end of the incident that both revisions are in; until then the deadline stands still"]
    out += [
        f"{name} passing (now: {one['words']})"
        for name, one in sorted(evidence.get("gates", {}).items())
        if not one["ok"] and not one["dry_run"]
    ]
    for name, one in sorted(tests.items()):
        out += _test_changes(name, one, canary)
    if tests and all(one["accepted"] for one in tests.values()) and not out:
        out.append("the rest of this step's time")
    return out or ["the next look of the controller"]


def _test_changes(name: str, one: Mapping[str, Any], canary: str) -> list[str]:
    """Return how far a test is from its two answers; the number of requests is an estimate."""
    out = []
    alike, asked = one.get("log10_alike", 0.0), one.get("log10_alike_bound", 0.0)
    if one["difference_upper"] <= one["margin"] and alike < asked:
        out.append(f"{name}: evidence {10 ** min(asked - alike, 300):,.0f} times as strong that {canary} is no worse would accept it")
    elif not one["accepted"]:
        shown = f"{canary} is at most {one['margin']:.1%} worse"
        out.append(
            f"{name}: about {more:,} more requests like those so far would show that {shown}"
            if (more := requests_to_accept(one)) is not None
            else f"{name}: no number of requests like those so far would show that {shown}; fewer bad ones would"
        )
    missing = one["log10_bound"] - one["log10_e_peak"]
    if not one["condemned"] and missing > 0:
        out.append(f"{name}: evidence {10 ** min(missing, 300):,.0f} times as strong would roll {canary} back")
    return out


def requests_to_accept(one: Mapping[str, Any]) -> int | None:
    """Estimate how many more requests a test needs to accept the canary; None if none would do at the present difference.

    What is not difference is uncertainty, which shrinks with the root of the number of requests.
    """
    if not one["canary_total"] or not one["stable_total"]:
        return None
    difference = one["canary_bad"] / one["canary_total"] - one["stable_bad"] / one["stable_total"]
    room, width = one["margin"] - difference, one["difference_upper"] - difference
    if room <= 0 or width <= 0:
        return None
    here = int(one.get("step_requests") or one["canary_total"])
    return max(1, int(here * ((width / room) ** 2 - 1) + 0.5))
