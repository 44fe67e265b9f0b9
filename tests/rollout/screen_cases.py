"""Fixed moments of rollouts: a state and the numbers of its newest record, for the golden screens of `test_screens.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops_obs.rollout.evidence.slices import Counts, Slice
from mlops_obs.rollout.log.forecast import Forecast
from mlops_obs.rollout.log.records import make_record
from mlops_obs.rollout.machine.inputs import write_slice
from mlops_obs.rollout.machine.state import RolloutState
from mlops_obs.rollout.ports import Notice
from mlops_obs.rollout.spec.rollout import Rollout

START = 1_800_000_000.0
NOW = START + 754.0
OWNER = "node-7/4711/1799990000"


def make_spec(**changes: Any) -> Rollout:
    fields = {"service": "credit-risk", "canary": "v2", "package": "s3://models/credit-risk/v2", "latency_threshold": "250ms"}
    return Rollout.model_validate({**fields, **changes})


def make_state(spec: Mapping[str, Any] | None = None, **changes: Any) -> RolloutState:
    fields: dict[str, Any] = {
        "id": "credit-risk-v2-7",
        "spec": make_spec(**(spec or {})),
        "created_at": START,
        "updated_at": NOW - 1,
        "actor": "ada",
        "stable": "v1",
        "deployed": True,
        "phase": "Progressing",
        "step": 1,
        "desired": {"v1": 50, "v2": 50},
        "plan": (20, 50, 100),
        "began_at": START + 12,
        "step_started_at": NOW - 245,
    }
    return RolloutState(**{**fields, **changes})


def make_test(bad: int, total: int, peers_bad: int, peers: int, **changes: Any) -> dict[str, Any]:
    numbers = {
        "canary_bad": bad,
        "canary_total": total,
        "stable_bad": peers_bad,
        "stable_total": peers,
        "log10_e": 0.31,
        "log10_e_peak": 0.42,
        "log10_bound": 2.30103,
        "difference_upper": 0.031,
        "margin": 0.05,
        "step_requests": total,
        "condemned": False,
        "accepted": False,
        "ratio": 0.83,
        "ratio_low": 0.31,
        "ratio_high": 2.2,
        "log10_alike": 0.0,
        "log10_alike_bound": 0.0,
    }
    return {**numbers, **changes}


ERRORS = make_test(12, 2_410, 14, 2_398, difference_upper=0.056, log10_alike=0.7, log10_alike_bound=1.3)
SLOW = make_test(31, 2_410, 28, 2_398, accepted=True, margin=0.1, difference_upper=0.024, ratio=1.1, ratio_low=0.7, ratio_high=1.8)
POWER = [{"test": "errors", "ratio": 2.0, "seconds": 371.0}, {"test": "slow", "ratio": 2.0, "seconds": None}]
WAY = {"ready": True, "reason": "2 of 2 replicas of v1 are ready", "seconds": 4.0}
SPLIT = {"declared": 0.5, "observed": 0.493, "requests": 4_808}
OPEN = {
    "verdict": "undecided",
    "attribution": "none",
    "until": NOW - 1,
    "slices": 360,
    "tests": {"errors": ERRORS, "slow": SLOW},
    "power": POWER,
    "way_back": WAY,
    "traffic": SPLIT,
}
PROVEN = {
    **OPEN,
    "verdict": "condemned",
    "attribution": "canary",
    "tests": {
        "errors": make_test(
            212,
            2_410,
            14,
            2_398,
            log10_e=9.4,
            log10_e_peak=9.4,
            difference_upper=0.113,
            condemned=True,
            ratio=15.1,
            ratio_low=6.4,
            ratio_high=39.0,
        ),
        "slow": SLOW,
    },
}
BLIND = {"verdict": "unknown", "attribution": "telemetry", "unknown": "the newest sample of v2 is 45 s old", "way_back": WAY}
WHY_BACK = "8.8% (212/2410) of v2's requests failed against 0.6% (14/2398) of v1's; evidence 10^9:1 >= 200:1"


@dataclass(frozen=True)
class Case:
    """One screen: what is shown, at which width."""

    state: RolloutState
    evidence: Mapping[str, Any] = field(default_factory=lambda: OPEN)
    controller: str | None = OWNER
    width: int = 100
    origin: Mapping[str, Any] = field(default_factory=dict)
    foretold: tuple[Forecast, ...] = ()
    landed: bool = True

    def records(self) -> list[dict[str, Any]]:
        """Return a short log: the start, the decision, and what came of it."""
        slices = [
            Slice(NOW - 8 + 2 * k, NOW - 6 + 2 * k, Counts(20, k, 20, 1), Counts(20, 0, 20, 1), 50, "no sample of v2" if k == 2 else "")
            for k in range(4)
        ]
        back = self.state.goal != "forward"
        verb = "rollback" if self.state.phase == "RolledBack" else "promote" if self.state.phase == "Promoted" else "hold"
        verb = "abort" if self.state.phase == "Aborted" else "rollback" if not self.landed else verb
        after = {"v1": 100, "v2": 0} if back else dict(self.state.desired)
        rows: list[tuple[str, str, Any, Any]] = [
            ("request", "start", None, dict(self.origin)),
            ("decision", verb, {"v1": 50, "v2": 50}, dict(self.evidence)),
            ("result", verb, {"v1": 50, "v2": 50}, {}),
        ]
        return [
            {
                **make_record(
                    kind,
                    self.state,
                    at=NOW - 3 + index,
                    action=action,
                    reason=self.state.reason,
                    before=before,  # type: ignore[arg-type]
                    after=None if before is None else after,
                    evidence=evidence,
                    ok=self.landed or kind != "result",
                    given={"slices": [write_slice(one) for one in slices]} if kind == "decision" else {},
                ),
                "seq": index + 1,
                "hash": f"{index + 1:064x}",
            }
            for index, (kind, action, before, evidence) in enumerate(rows)
        ]


_BACK: dict[str, Any] = {
    "phase": "RolledBack",
    "goal": "rollback",
    "why": WHY_BACK,
    "reason": WHY_BACK,
    "desired": {"v1": 100, "v2": 0},
    "ended_at": NOW - 2,
    "attribution": "canary",
}
_OPEN_WORDS = "errors: after 2410 requests at this step v2 could be 5.6% worse (must be under 5.0%)"
_MISMATCH = "the canary gets 31.0% (1490/4808) of the requests instead of 50%; evidence 10^13:1 >= 200:1"
_SPENT = "promotions are frozen: 6 % of the 30d error budget of availability is left (freeze below 10 %)"
_GATES = {
    "drift": {
        "canary": 0.31,
        "stable": 0.08,
        "ok": False,
        "words": "feature income drifts: PSI 0.31 of v2, 0.08 of v1, limit 0.20",
        "on_fail": "hold",
        "dry_run": False,
    },
    "gpu": {"canary": None, "stable": None, "ok": None, "words": "no GPU seconds of v2 yet", "on_fail": "hold", "dry_run": True},
}
_KSERVE = {"target": {"kserve": {"namespace": "models", "name": "credit-risk"}}, "digest": "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e"}
_LONG = {"service": "retail-credit-risk-eu-central", "canary": "transformer-2026-11-23-rc4", "package": "p"}

CASES: dict[str, Case] = {
    "pending": Case(
        make_state(
            phase="Pending",
            reason="waiting for the controller",
            step=-1,
            desired={},
            stable="",
            deployed=False,
            began_at=None,
            step_started_at=None,
        ),
        {},
        None,
    ),
    "progressing": Case(
        make_state(reason=_OPEN_WORDS), foretold=(Forecast("as now", "accepted", 130.0), Forecast("as stable", None, 1800.0))
    ),
    "progressing-80-columns": Case(make_state(reason=_OPEN_WORDS), width=80),
    "progressing-gates": Case(make_state(phase="Holding", reason=f"drift: {_GATES['drift']['words']}"), {**OPEN, "gates": _GATES}),
    "waiting-for-a-person": Case(
        make_state({"manual_gates": [100]}, phase="Holding", reason="100 % is entered only after: obs rollout promote")
    ),
    "budget-frozen": Case(
        make_state(phase="Holding", reason=_SPENT, budget=_SPENT, frozen_at=NOW - 60, held_at=NOW - 60),
        {**OPEN, "budget": {"in_force": [{"slo": "availability", "action": "freeze", "below": 0.1, "remaining": 0.06}]}},
    ),
    "shared-incident": Case(
        make_state(
            phase="Holding", reason="both revisions fail: 4.1% of v1's requests against 0.6% before", attribution="shared", held_at=NOW - 90
        ),
        {**OPEN, "attribution": "shared"},
    ),
    "telemetry-lost": Case(
        make_state(phase="Holding", reason="the newest sample of v2 is 45 s old", attribution="telemetry", held_at=NOW - 45), BLIND
    ),
    "traffic-mismatch": Case(
        make_state(phase="Holding", reason=_MISMATCH, attribution="telemetry", held_at=NOW - 45),
        {
            **OPEN,
            "verdict": "unknown",
            "attribution": "telemetry",
            "unknown": _MISMATCH,
            "traffic": {"declared": 0.5, "observed": 0.31, "requests": 4_808, "problem": _MISMATCH},
        },
    ),
    "way-back-lost": Case(
        make_state(
            phase="Holding",
            reason="v1 could not take the traffic back: 0 of 2 replicas are ready",
            way_back="0 of 2 replicas of v1 are ready",
        ),
        {**OPEN, "way_back": {"ready": False, "reason": "0 of 2 replicas of v1 are ready", "seconds": None}},
    ),
    "paused": Case(make_state(phase="Paused", paused=True, reason="pause asked by ada: release freeze")),
    "rolling-back": Case(
        make_state(goal="rollback", why=WHY_BACK, reason=WHY_BACK, attribution="canary", desired={"v1": 100, "v2": 0}), PROVEN
    ),
    "rollback-stuck": Case(
        make_state(
            goal="rollback",
            why="rollback asked by ada: customers complain",
            phase="Holding",
            reason="could not set v1 100 % v2 0 %: 503 from the API server",
            attribution="telemetry",
            desired={"v1": 100, "v2": 0},
        ),
        {**OPEN, "verdict": "unknown", "attribution": "telemetry", "unknown": "the newest sample of v2 is 45 s old"},
        landed=False,
    ),
    "rolled-back": Case(
        make_state(
            **_BACK,
            outbox=(
                Notice("credit-risk-v2-7/rollback", "rollback", "credit-risk", NOW - 60, "v2 of credit-risk is rolled back", WHY_BACK, {}),
            ),
        ),
        PROVEN,
    ),
    "rolled-back-on-kserve-from-git": Case(
        make_state(_KSERVE, **_BACK),
        PROVEN,
        origin={"origin": {"file": "rollouts/credit-risk.yaml", "commit": "4be1f0e2a7c6d5b4", "dirty": False}},
    ),
    "aborted": Case(
        make_state(**{**_BACK, "phase": "Aborted", "goal": "abort", "reason": "abort asked by ada: wrong package", "attribution": "none"})
    ),
    "watching": Case(
        make_state(
            {"watch": "30m", "watch_weight": 5},
            phase="Watching",
            step=2,
            desired={"v1": 5, "v2": 95},
            watch_started_at=NOW - 600,
            step_started_at=NOW - 600,
            reason="v2 has all the traffic that it gets; 20 min of the watch are left",
        )
    ),
    "promoted": Case(
        make_state(
            phase="Promoted", step=2, desired={"v1": 0, "v2": 100}, ended_at=NOW - 2, reason="v2 is at most 2.4% worse (slow, margin 10.0%)"
        ),
        {**OPEN, "verdict": "accepted", "tests": {"errors": {**ERRORS, "accepted": True, "difference_upper": 0.021}, "slow": SLOW}},
    ),
    "dry-run": Case(make_state({"dry_run": True}, reason=_OPEN_WORDS)),
    "pace-auto": Case(make_state({"pace": "auto"}, plan=(5, 10), desired={"v1": 90, "v2": 10}, reason=_OPEN_WORDS)),
    "long-names-80-columns": Case(
        make_state(
            _LONG,
            id="retail-credit-risk-eu-central-transformer-2026-11-23-rc4-7",
            stable="transformer-2026-10-02",
            desired={"transformer-2026-10-02": 50, "transformer-2026-11-23-rc4": 50},
            reason=_OPEN_WORDS,
        ),
        width=80,
    ),
}
