"""A package that was rolled back is not shipped again by accident.

The trap: after a rollback Git still names the bad revision, and the next sync, or the next person, ships it again under a
new name. The digest tells that it is the same; only a person who says why may pass.
"""

from __future__ import annotations

from collections.abc import Mapping

from mlops_obs.errors import UsageError
from mlops_obs.rollout.machine.state import RolloutState
from mlops_obs.rollout.spec.rollout import Rollout


def rolled_back(state: RolloutState) -> bool:
    """Tell whether `state` makes its digest a known-bad one; a dry run has touched and proven nothing for others to obey."""
    return state.phase == "RolledBack" and bool(state.spec.digest) and not state.spec.dry_run


def refuse_known_bad(spec: Rollout, bad: Mapping[str, str], override: str = "") -> None:
    """Refuse a digest that was rolled back before; `bad` is rollout by digest, `override` why a person lets it pass.

    Raises:
        UsageError: OBS-ROLL-022.
    """
    if not spec.digest or spec.digest not in bad or override:
        return
    what = f"the package of {spec.canary} (digest {spec.digest}) was rolled back before, in {bad[spec.digest]}"
    raise UsageError("OBS-ROLL-022", what, todo="ship another package, or say why with --reason, which is recorded")


def again(state: RolloutState, *, at: float, actor: str, reason: str = "") -> RolloutState:
    """Return the state of a new rollout of the same spec, for `retry`; the store gives it its number. `at` in Unix seconds.

    Raises:
        UsageError: OBS-ROLL-024 if `state` was not rolled back or aborted.
    """
    if state.phase not in ("RolledBack", "Aborted"):
        what = f"rollout {state.id} is {state.phase}, and only one that was rolled back or aborted is tried again"
        raise UsageError("OBS-ROLL-024", what, todo="start another rollout, or wait for this one")
    spec = state.spec
    return RolloutState(id=f"{spec.service}-{spec.canary}", spec=spec, created_at=at, updated_at=at, actor=actor, override=reason)
