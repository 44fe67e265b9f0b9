"""Where a rollout stands, as plain data and as an exit code: what `-o json` prints and every screen is drawn from.

Keys are added and never renamed: scripts of others read them. All times are Unix seconds, weights percent by revision:

    rollout service stable canary package digest phase reason why (of a retreat) goal actor dry_run deployed watch (seconds, None: no watch)
    step (1-based; 0 before the first) steps pace manual_gates      weights: what we declared last
    traffic: {declared, observed, requests}                         the canary's share in percent, observed None: not known
    attribution (none canary shared telemetry)  power: [{test, ratio, seconds}]  evidence: the newest record's numbers
    forecast: [{scenario, outcome (accepted condemned None), seconds, words}], what the judge would decide if ...
    way_back: {ready, reason, seconds}, None: not asked yet  budget  policy: {slo: action}
    notices: [{key, kind, title, at}], not delivered yet
    created_at began_at step_started_at updated_at ended_at deadline_left watch_left (seconds, None: does not run)
    holds: {traffic, cluster, object, git, package} after a retreat, in words; controller: who acts, None: nobody
    object: name of the Rollout in Kubernetes, None: kept in a file
    exit_code: 0 well or going on, 3 rolled back or aborted, 4 waiting
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mlops_obs.rollout.log.explain import foretold_in_words
from mlops_obs.rollout.log.forecast import Forecast
from mlops_obs.rollout.log.leftovers import NOWHERE, Home, deadline_left, holds
from mlops_obs.rollout.log.records import Record
from mlops_obs.rollout.machine.pace import plan_of
from mlops_obs.rollout.machine.state import RolloutState

EXIT_ROLLED_BACK, EXIT_HOLDING, EXIT_CONNECTION = 3, 4, 5


def exit_code(state: RolloutState) -> int:
    """Return what a script should see: 0 promoted or going on, 3 rolled back or aborted, 4 waiting for somebody or something."""
    if state.phase in ("RolledBack", "Aborted"):
        return EXIT_ROLLED_BACK
    return EXIT_HOLDING if state.phase in ("Holding", "Paused") else 0


def as_json(
    state: RolloutState,
    evidence: Record | None,
    controller: str | None,
    now: float | None = None,
    records: Sequence[Record] = (),
    foretold: Sequence[Forecast] = (),
    home: Home = NOWHERE,
) -> dict[str, Any]:
    """Return the status as plain data. `evidence` is the newest record with test results, `records` those of the rollout.

    Without `now` (Unix seconds) clocks are left out; without `records` nothing is known of the file that started it.
    """
    spec, numbers = state.spec, (evidence or {}).get("evidence", {})
    return {
        "rollout": state.id,
        "service": spec.service,
        "stable": state.stable,
        "canary": spec.canary,
        "package": spec.package,
        "digest": spec.digest,
        "phase": state.phase,
        "reason": state.reason,
        "why": state.why,
        "step": state.step + 1,
        "steps": list(state.plan or plan_of(spec)),
        "pace": spec.pace,
        "manual_gates": list(spec.manual_gates),
        "weights": state.desired,
        "traffic": traffic(state, numbers),
        "dry_run": spec.dry_run,
        "deployed": state.deployed,
        "watch": spec.watch,
        "attribution": state.attribution,
        "power": list(numbers.get("power", ())),
        "forecast": [{**asdict(one), "words": foretold_in_words(one, state)} for one in foretold],
        "way_back": way_back(state, numbers),
        "budget": state.budget,
        "policy": state.policy,
        "notices": [{"key": one.key, "kind": one.kind, "title": one.title, "at": one.at} for one in state.outbox],
        "goal": state.goal,
        "actor": state.actor,
        "created_at": state.created_at,
        "began_at": state.began_at,
        "step_started_at": state.step_started_at,
        "updated_at": state.updated_at,
        "ended_at": state.ended_at,
        "deadline_left": None if now is None else deadline_left(state, now),
        "watch_left": None if now is None else watch_left(state, now),
        "evidence": numbers,
        "holds": holds(state, records, home),
        "controller": controller,
        "object": home.object or None,
        "exit_code": exit_code(state),
    }


def traffic(state: RolloutState, numbers: dict[str, Any]) -> dict[str, Any]:
    """Return the canary's share of the traffic in percent: as declared, and as the counters saw it (None: not counted)."""
    told = numbers.get("traffic") or {}
    share = told.get("observed")
    return {
        "declared": state.desired.get(state.spec.canary, 0),
        "observed": None if share is None else round(100 * share, 2),
        "requests": told.get("requests", 0),
    }


def way_back(state: RolloutState, numbers: dict[str, Any]) -> dict[str, Any] | None:
    """Return whether all traffic could return to stable: ready, reason, and seconds that it would take (None: not known)."""
    if state.way_back:
        return {"ready": False, "reason": state.way_back, "seconds": None}
    told: dict[str, Any] | None = numbers.get("way_back")
    return told


def watch_left(state: RolloutState, now: float) -> float | None:
    """Return the seconds of the watch that are left at `now`; None while it does not run."""
    if state.phase != "Watching" or state.watch_started_at is None or state.spec.watch is None:
        return None
    return max(0.0, state.spec.watch - (now - state.watch_started_at))
