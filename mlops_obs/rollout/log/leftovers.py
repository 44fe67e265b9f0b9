"""What a retreat leaves behind: in the cluster, in the Rollout object, in Git and in the list of bad packages. And the deadline.

The trap is the rollback that looks finished. A controller takes traffic back; it writes no Git. Whoever does not revert
there ships the same model again, at the next sync.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_obs.rollout.log.records import Record
from mlops_obs.rollout.machine.state import RolloutState
from mlops_obs.rollout.spec.target import Target


@dataclass(frozen=True, slots=True)
class Home:
    """Where a rollout is carried out: the target where its spec names none, and the Rollout object if it is one of Kubernetes."""

    target: Target | None = None
    object: str = ""


NOWHERE = Home()


def holds(state: RolloutState, records: Sequence[Record] = (), home: Home = NOWHERE) -> dict[str, str]:
    """Return what the traffic, the cluster, the Rollout object, Git and the list of bad packages hold after a retreat, in words.

    Empty on the way forward. `records` are those of the rollout; without them nothing is known of the file that started it.
    """
    if state.goal == "forward" and state.phase not in ("RolledBack", "Aborted"):
        return {}
    canary, stable = state.spec.canary, state.stable or "stable"
    share = _last_seen(records).get(canary, 0) if records else state.desired.get(canary, 0)
    out = {
        "traffic": f"{canary} has {share} % of it" if share else f"{stable} has all of it, {canary} none",
        "cluster": f"{canary} still answers" if share else _left_on(state, state.spec.target or home.target),
    }
    if home.object:
        out["object"] = f"the spec of Rollout {home.object} still names {canary}; nothing is retried by itself"
    origin: Mapping[str, Any] = next((one["evidence"]["origin"] for one in records if one["evidence"].get("origin")), {})
    again = "revert that, or the next start or sync ships it again"
    if origin.get("file"):
        changed = " and changes on top" if origin.get("dirty") else ""
        commit = f", commit {str(origin['commit'])[:10]}{changed}," if origin.get("commit") else ""
        out["git"] = f"{origin['file']}{commit} named {canary} when this began: {again}"
    else:
        out["git"] = f"whatever names {canary} there still does: {again}"
    if state.phase == "RolledBack" and state.spec.digest:
        out["package"] = f"{state.spec.digest} is known as bad now: only obs rollout retry --reason ... ships it again"
    return out


def _left_on(state: RolloutState, target: Target | None) -> str:
    """Return what the platform keeps of the canary."""
    canary, stable = state.spec.canary, state.stable or "stable"
    if target is None:
        return f"{canary} stays deployed at weight 0"
    if target.kserve is not None:
        entry = f"the InferenceService keeps {canary} as an entry of spec.canary at 0 %: remove it"
        held = f"spec.predictor of the InferenceService still is {canary}'s, held at canaryTrafficPercent 0"
        revert = f"put {stable}'s package back before that percent is dropped"
        other = "" if target.kserve.mode == "Knative" else " (in Standard mode: remove the entry of spec.canary)"
        return entry if target.kserve.mode == "Standard" else f"{held}: {revert}{other}"
    if target.kserve_llm is not None:
        return f"the LLMInferenceService {target.kserve_llm.canary} runs on at weight 0: delete it, or correct it for a new rollout"
    if target.kuberay is not None:
        return f"the RayService has {stable}'s serveConfigV2 and cluster spec again"
    return f"the application of {canary} runs on at weight 0 until it is deleted, or replaced by the next rollout"


def _last_seen(records: Sequence[Record]) -> Mapping[str, int]:
    """Return the split as the target showed or took it last; what was only decided is a wish."""
    for one in reversed(records):
        split: Mapping[str, int] | None = one["weights_after"] if one["kind"] == "result" and one["ok"] else one["weights_before"]
        if split:
            return split
    return {}


def deadline_left(state: RolloutState, now: float) -> float | None:
    """Return the seconds until the deadline at `now`, times that do not count left out; None when the rollout is over."""
    if state.over:
        return None
    held = state.held_for + (max(0.0, now - state.held_at) if state.held_at is not None else 0.0)
    return state.spec.deadline + held - (now - state.created_at)
