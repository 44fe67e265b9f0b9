"""One rollout decided look by look, with a FakeTarget and verdicts by hand: for tests of the state machine alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mlops_obs.errors import TargetError
from mlops_obs.rollout.judging.judge import Verdict
from mlops_obs.rollout.machine.decide import decide, settle
from mlops_obs.rollout.machine.state import Decision, Deploy, Finish, Request, RolloutState, Seen
from mlops_obs.rollout.ports import Finishes
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.testing.targets import FakeTarget, FinishingTarget

ACCEPTED, UNDECIDED = Verdict("accepted", "as good as v1"), Verdict("undecided", "too few requests")
CONDEMNED, UNKNOWN = Verdict("condemned", "v2 fails", attribution="canary"), Verdict("unknown", "503", attribution="telemetry")
SHARED = Verdict("undecided", "both arms fail", attribution="shared")


class Desk:
    """`look` decides once and acts once, as the controller does; `now` moves by `seconds` before."""

    def __init__(self, *, finishes: bool = False, **spec: Any) -> None:
        fields = {"service": "credit-risk", "canary": "v2", "package": "/p", "step_duration_min": 2.0, "deadline": 600.0, **spec}
        self.now = 1_000_000.0
        self.state = RolloutState(id="r", spec=Rollout.model_validate(fields), created_at=self.now, updated_at=self.now)
        self.target = (FinishingTarget if finishes else FakeTarget)({"v1": 100}, {"v1": "/p1"})
        self.decision: Decision | None = None
        self.requests = 0
        self.extra: dict[str, Any] = {}

    @property
    def share(self) -> int:
        return dict(self.target._weights).get("v2", 0)

    @property
    def notices(self) -> list[str]:
        return [one.key.removeprefix("r/") for one in self.state.outbox]

    def look(self, verdict: Verdict = UNDECIDED, *kinds: str, seconds: float = 2.0, **seen: Any) -> RolloutState:
        self.now += seconds
        requests = []
        for kind in kinds:
            self.requests += 1
            requests.append(Request(self.requests, kind, "ada", "because", self.now))  # type: ignore[arg-type]
        try:
            weights, problem = dict(self.target.weights()), ""
        except TargetError as error:
            weights, problem = None, str(error)
        way = self.target.way_back(self.state.stable) if self.state.stable else None
        found = Seen(weights, verdict, tuple(requests), problem, way_back=way, finishes=isinstance(self.target, Finishes))
        self.decision = decide(self.state, replace(found, **self.extra, **seen), self.now)
        self.state = self.decision.state.model_copy(update={"updated_at": self.now})
        action = self.decision.action
        if action is not None:
            try:
                if isinstance(action, Deploy):
                    self.target.deploy(action.revision, action.package)
                elif isinstance(action, Finish):
                    self.target.finish(action.revision)  # type: ignore[attr-defined]
                else:
                    self.target.set_weights(action.weights, action.expected)
                self.state = settle(self.state, action, None, self.now)
            except TargetError as error:
                self.state = settle(self.state, action, error, self.now)
        return self.state

    def looks(self, count: int, verdict: Verdict = UNDECIDED, **seen: Any) -> RolloutState:
        for _ in range(count):
            self.look(verdict, **seen)
        return self.state

    def at(self, share: int) -> Desk:
        """Go on until the target shows `share` percent of the canary and the step has begun."""
        for _ in range(60):
            if self.share == share and self.state.step_started_at is not None:
                return self
            self.look(ACCEPTED)
        raise AssertionError(f"{share} % was never reached: {self.state.reason}")
