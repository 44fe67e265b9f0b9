"""A group of LLMInferenceServices when something goes wrong, on a real API server. Scenario 29: the second write of the weights fails."""

from __future__ import annotations

from fractions import Fraction

import pytest
from rigs import LLMRig

from mlops_obs.adapters.kserve_llm import LLM_SERVICES, STOP, KServeLLMTarget
from mlops_obs.adapters.kubernetes.api import ApiError
from mlops_obs.errors import Conflict, TargetError

pytestmark = pytest.mark.stack


@pytest.fixture
def rig(cluster):
    rig = LLMRig(cluster)
    rig.target.deploy("v2", rig.package("v2"))
    yield rig
    rig.close()


def member(rig, name):
    return rig.cluster.get(LLM_SERVICES, rig.namespace, name)


def weights(rig):
    return tuple(member(rig, name)["spec"]["router"]["route"]["weight"] for name in (rig.a, rig.b))


def step(rig, share):
    wanted = {"v1": 100 - share, "v2": share}
    assert rig.until(lambda: not rig.refused(lambda: rig.target.set_weights(wanted, rig.target.weights())))
    rig.eventually({revision: percent for revision, percent in wanted.items() if percent})


class Watching:
    """Notes the weights after each write, and lets chosen writes fail before they are applied."""

    def __init__(self, rig, fail=()):
        self.rig, self.fail, self.seen, self.count = rig, set(fail), [weights(rig)], 0
        self.real = rig.api.patch
        rig.api.patch = self.patch

    def patch(self, *args, **options):
        self.count += 1
        if self.count in self.fail:
            raise ApiError("OBS-KUBE-005", "the API server does not answer", todo="try again")
        done = self.real(*args, **options)
        self.seen.append(weights(self.rig))
        return done

    def shares(self):
        return [Fraction(b, a + b) for a, b in self.seen]


@pytest.mark.parametrize("share", [1, 20, 33, 50, 99])
def test_every_share_below_a_hundred_is_one_write(rig, share):
    watching = Watching(rig)

    rig.target.set_weights({"v1": 100 - share, "v2": share}, {"v1": 100})

    assert watching.count == 1
    assert abs(watching.shares()[-1] * 100 - share) < Fraction(1, 50)


def test_no_write_on_the_way_up_or_down_gives_the_canary_more_than_before_or_after_and_none_takes_all_traffic_away(rig):
    steps = [0]
    for share in (20, 100, 0, 50, 5, 99, 100, 60, 0):
        watching = Watching(rig)
        step(rig, share)
        rig.api.patch = watching.real
        steps.append(share)

        low, high = sorted(steps[-2:])
        assert all(a + b > 0 for a, b in watching.seen), watching.seen
        assert all(low - 0.5 <= one * 100 <= high + 0.5 for one in watching.shares()), (steps[-2:], watching.seen)


def test_scenario_29_a_second_write_that_fails_is_finished_by_asking_again(rig):
    step(rig, 100)
    watching = Watching(rig, fail={2})

    with pytest.raises(TargetError, match="OBS-KUBE-005"):
        rig.target.set_weights({"v1": 100, "v2": 0}, {"v2": 100})
    half = watching.shares()[-1]
    # As a retreat does: from whatever it finds, again and again.
    assert rig.until(lambda: not rig.refused(lambda: rig.target.set_weights({"v1": 100, "v2": 0}, rig.target.weights())))

    assert 0 < half < 1
    rig.eventually({"v1": 100})


def test_scenario_29_a_canary_taken_back_from_a_step_is_at_zero_with_the_first_write(rig):
    step(rig, 50)
    watching = Watching(rig, fail={2})

    rig.target.set_weights({"v1": 100, "v2": 0}, {"v1": 50, "v2": 50})

    assert watching.shares()[-1] == 0


def test_members_with_different_models_are_no_group_and_the_canary_gets_nothing(rig):
    name = [{"op": "replace", "path": "/spec/model/name", "value": "another"}]
    rig.cluster.patch(LLM_SERVICES, rig.namespace, rig.b, name)
    rig.until(lambda: rig.refused(rig.target.weights))

    with pytest.raises(TargetError, match=r"the members' routes do not agree.*GroupDegraded.*OBS-KSERVE-024"):
        rig.target.weights()


def test_scenario_20_a_member_that_was_stopped_is_no_way_back_and_is_started_by_the_next_deploy(rig):
    step(rig, 100)
    rig.target.finish("v2")
    stopped = rig.target.way_back("v1")
    rig.eventually({"v2": 100})

    rig.target.deploy("v3", rig.package("v3"))
    step_up = member(rig, rig.a)

    assert (stopped.ready, "deployed anew" in stopped.reason) == (False, True)
    assert step_up["spec"]["model"]["uri"] == rig.package("v3")
    assert STOP not in step_up["metadata"]["annotations"]
    assert rig.split() == {"v2": 100}


def test_a_model_without_a_name_is_refused_before_anything_is_changed(cluster):
    rig = LLMRig(cluster)
    rig.cluster.patch(LLM_SERVICES, rig.namespace, rig.a, [{"op": "remove", "path": "/spec/model/name"}])
    before = rig.snapshot()

    with pytest.raises(TargetError, match=r"the model has no name.*OBS-KSERVE-027"):
        rig.target.deploy("v2", rig.package("v2"))

    assert before == rig.snapshot()
    rig.close()


def test_neither_member_is_told_as_such(rig):
    with pytest.raises(TargetError, match="OBS-KSERVE-026"):
        KServeLLMTarget("default", "absent-a", "absent-b", "group", api=rig.api).weights()


def test_scenario_17_a_canary_that_someone_edits_gets_no_more_traffic_but_can_be_taken_back(rig):
    step(rig, 20)
    rig.cluster.patch(LLM_SERVICES, rig.namespace, rig.b, [{"op": "replace", "path": "/spec/model/uri", "value": "hf://models/other"}])

    with pytest.raises(Conflict, match=r"v2 was edited: it has hf://models/other now.*OBS-KSERVE-005"):
        rig.target.set_weights({"v1": 50, "v2": 50}, {"v1": 80, "v2": 20})

    step(rig, 0)


def test_scenario_17_a_canary_that_someone_edits_at_a_hundred_percent_is_not_finished(rig):
    step(rig, 100)
    rig.cluster.patch(LLM_SERVICES, rig.namespace, rig.b, [{"op": "replace", "path": "/spec/model/uri", "value": "hf://models/other"}])

    with pytest.raises(Conflict, match="OBS-KSERVE-005"):
        rig.target.finish("v2")
