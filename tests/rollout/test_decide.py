"""`decide` under arbitrary weather: random verdicts, faults, requests and meddling. Safety always, liveness when it clears."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.errors import TargetError
from mlops_obs.rollout.judging.judge import Verdict
from mlops_obs.rollout.machine.decide import decide, settle
from mlops_obs.rollout.machine.state import Deploy, Request, RolloutState, Seen, SetWeights
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.testing.targets import FakeTarget

SPEC = Rollout(service="credit-risk", canary="v2", package="/packages/v2", step_duration_min=2.0, deadline=500.0)
VERDICTS = ("undecided", "accepted", "unknown", "condemned")
REQUESTS = (None, None, None, None, None, "pause", "resume", "promote", "promote-full", "abort", "rollback")
FAULTS = (None, None, None, "timeout-before", "timeout-after", "conflict", "down")

weather = st.tuples(st.sampled_from(VERDICTS), st.sampled_from(REQUESTS), st.sampled_from(FAULTS), st.booleans(), st.integers(0, 20))


def new_state() -> RolloutState:
    return RolloutState(id="credit-risk-v2-1", spec=SPEC, created_at=0.0)


def tick(state, target, verdict, now, request=None, fault=None, visible=True):
    """One look and one act, as the controller does it."""
    requests = (Request(int(now), request, "ada", "", now),) if request else ()
    weights = target.weights() if visible else None
    decision = decide(state, Seen(weights, Verdict(verdict, verdict), requests, "" if visible else "timeout"), now)
    state, action = decision.state, decision.action
    if action is not None:
        if fault:
            target.fail("deploy" if isinstance(action, Deploy) else "set_weights", fault)
        try:
            if isinstance(action, Deploy):
                target.deploy(action.revision, action.package)
            else:
                target.set_weights(action.weights, action.expected)
            state = settle(state, action, None, now)
        except TargetError as error:
            state = settle(state, action, error, now)
    return state, action, decision


@given(st.lists(weather, min_size=5, max_size=60))
@settings(max_examples=300, deadline=None)
def test_traffic_never_rises_without_evidence_and_never_after_a_retreat_was_decided(days):
    state, target, now = new_state(), FakeTarget({"v1": 100}), 0.0
    for verdict, request, fault, visible, meddling in days:
        now += 1.0
        if meddling == 0:
            target.force({"v1": 30, "v2": 70} if "v2" in target.packages else {"v1": 100})
        share, retreating = target._weights.get("v2", 0), state.goal != "forward"
        state, action, _ = tick(state, target, verdict, now, request, fault, visible)
        if isinstance(action, SetWeights) and action.weights.get("v2", 0) > share:
            assert visible
            assert verdict != "condemned"
            assert not retreating
            assert verdict != "unknown" or state.waived >= state.step
        if retreating:
            assert target._weights.get("v2", 0) <= share


@given(st.lists(weather, max_size=40))
@settings(max_examples=200, deadline=None)
def test_a_condemned_canary_reaches_zero_once_the_target_answers(days):
    state, target, now = new_state(), FakeTarget({"v1": 100}), 0.0
    for verdict, request, fault, visible, _ in days:
        now += 1.0
        state, _, _ = tick(state, target, verdict, now, request, fault, visible)
    for _ in range(15):
        now += 1.0
        state, _, _ = tick(state, target, "condemned", now)

    assert state.over or not state.deployed
    assert state.phase == "Promoted" or target._weights.get("v2", 0) == 0


@given(st.lists(weather, max_size=30))
@settings(max_examples=100, deadline=None)
def test_deciding_again_from_the_same_state_gives_the_same_answer(days):
    state, target, now = new_state(), FakeTarget({"v1": 100}), 0.0
    for verdict, request, fault, visible, _ in days:
        now += 1.0
        seen = Seen(target.weights() if visible else None, Verdict(verdict, verdict))

        assert decide(state, seen, now) == decide(RolloutState.model_validate_json(state.model_dump_json()), seen, now)
        state, _, _ = tick(state, target, verdict, now, request, fault, visible)


def test_unknown_evidence_holds_and_does_not_expose_the_canary_at_all():
    state, target = new_state(), FakeTarget({"v1": 100})
    for now in range(1, 20):
        state, _, _ = tick(state, target, "unknown", float(now))

    assert state.phase == "Holding"
    assert state.deployed
    assert target.history == [{"v1": 100}]


def test_a_promotion_by_hand_does_not_outlive_proven_harm():
    state, target, now = new_state(), FakeTarget({"v1": 100}), 0.0
    for verdict, request in [("undecided", None)] * 4 + [
        ("undecided", "promote-full"),
        ("condemned", None),
        ("condemned", None),
        ("accepted", None),
    ]:
        now += 1.0
        state, _, _ = tick(state, target, verdict, now, request)

    assert state.phase == "RolledBack"
    assert target._weights == {"v1": 100, "v2": 0}
