"""A Rollout object is all that a person writes: what becomes of it, of its edits and of its deletion."""

import contextlib
import json

import pytest

from mlops_obs.adapters.kubernetes.api import ApiError
from mlops_obs.adapters.kubernetes.reconcile import behind_guard
from mlops_obs.adapters.kubernetes.resources import FINALIZER, RECORDS, ROLLOUTS
from mlops_obs.errors import ObsError, StateError, TargetError, UsageError
from mlops_obs.rollout.ports import Finishes
from mlops_obs.testing.targets import FakeTarget
from tests.kubernetes.cluster_world import BAD, ClusterWorld, Leader


@pytest.fixture
def world(api, namespace):
    return ClusterWorld(api, namespace)


@pytest.fixture
def bad_world(api, namespace):
    return ClusterWorld(api, namespace, errors=BAD)


def begun(world, **spec):
    world.apply(**spec)
    world.run(20, until=lambda state: state.weight == 20 and state.step_started_at is not None)
    return world


def test_a_good_canary_is_promoted_and_the_object_says_so(world, kubectl):
    world.apply()

    world.run(90)

    assert world.share == 100
    status = world.status
    assert (status["phase"], status["weight"], status["stable"], status["step"]) == ("Promoted", 100, "v1", "3/3")
    assert world.condition("Succeeded") == ("True", "Promoted")
    assert world.condition("Degraded")[0] == world.condition("Progressing")[0] == "False"
    assert world.condition("WayBack") == ("True", "Ready")
    assert status["observedGeneration"] == world.object["metadata"]["generation"]
    assert world.people.broken_record() is None
    header, row = kubectl("get", "rollouts").splitlines()
    assert header.split() == ["NAME", "PHASE", "WEIGHT", "CANARY", "STABLE", "VERDICT", "MESSAGE", "AGE"]
    assert row.split()[:6] == ["credit-risk", "Promoted", "100", "v2", "v1", "accepted"]


def test_a_bad_canary_is_rolled_back_and_everybody_is_told_why(bad_world):
    bad_world.apply()

    state = bad_world.run(60)

    assert bad_world.share == 0
    assert state.phase == "RolledBack"
    assert bad_world.condition("Degraded") == ("True", "RolledBack")
    assert "v2" in bad_world.status["message"]
    assert [one for one in bad_world.told.reasons() if one != "Holding"][-2:] == ["RollingBack", "RolledBack"]
    assert max(split.get("v2", 0) for split in bad_world.target.history) == 20


def test_every_decision_of_a_rollout_in_a_cluster_is_replayed_byte_for_byte(bad_world):
    from mlops_obs.rollout.log.replay import replay

    bad_world.apply()
    state = bad_world.run(60)

    records = bad_world.people.history(state.id)

    assert list(replay(records)) == []


def test_an_operator_that_starts_anew_at_every_look_ends_in_the_same_place(api, namespace, world):
    world.apply()
    for _ in range(90):
        world.second(look=False)
        state = world.look(world.operator(world.leader)).state
        if state and state.over:
            break

    assert state.phase == "Promoted"
    assert world.people.broken_record() is None


def test_what_a_person_asks_by_annotation_is_done_and_recorded_with_the_name(world, kubectl):
    begun(world)
    world.ask("pause", "lunch")
    world.second()
    paused = world.status["phase"]
    kubectl("annotate", "rollout", world.name, 'request.mlops-obs.dev/99={"kind":"abort","actor":"bob","reason":"wrong model"}')
    world.run(5)

    assert (paused, world.status["phase"], world.share) == ("Paused", "Aborted", 0)
    asked = [(one["action"], one["actor"]) for one in world.people.records(world.name) if one["kind"] == "request"]
    assert asked == [("start", "kubernetes"), ("pause", "ada"), ("abort", "bob")]


def test_a_request_that_cannot_be_read_is_told_of_once_and_never_guessed_at(world, kubectl):
    begun(world)
    kubectl("annotate", "rollout", world.name, "request.mlops-obs.dev/5=pause please")
    for _ in range(3):
        world.second()

    ignored = [one for one in world.told.events if one.reason == "RequestIgnored"]
    assert len(ignored) == 1
    assert "request.mlops-obs.dev/5 is no request" in ignored[0].message
    assert world.people.load(world.name).state.paused is False


def test_deleting_the_object_gives_the_traffic_back_before_it_is_gone(world):
    begun(world)
    world.delete()
    assert world.object["metadata"]["finalizers"] == [FINALIZER]

    for _ in range(20):
        world.second()

    assert world.share == 0
    with pytest.raises(ApiError, match="404"):
        _ = world.object
    assert "LetGo" in world.told.reasons()
    assert {"abort"} <= {one["action"] for one in world.people.records(world.name)}


def test_deleting_an_object_whose_rollout_is_over_takes_no_time(world):
    world.apply()
    world.run(90)
    world.delete()
    world.look()

    with pytest.raises(ApiError, match="404"):
        _ = world.object
    assert world.share == 100


def test_an_object_whose_target_is_gone_is_let_go(world, api):
    class Gone(TargetError):
        status = 404

    begun(world)
    world.target.weights = lambda: (_ for _ in ()).throw(Gone("OBS-FAKE-404", "no such service"))
    world.delete()
    world.second()

    with pytest.raises(ApiError, match="404"):
        _ = world.object


def test_an_object_whose_target_is_only_silent_is_kept_until_the_traffic_is_back(world):
    begun(world)
    world.target.fail("weights", "down", 10)
    world.delete()
    for _ in range(8):
        world.second()
    kept = world.object["metadata"]["finalizers"]
    for _ in range(20):
        world.second()

    assert kept == [FINALIZER]
    assert world.share == 0
    with pytest.raises(ApiError, match="404"):
        _ = world.object


def test_a_third_version_comes_after_the_second_was_taken_back(world):
    begun(world)
    world.apply(canary="v3", package="/packages/v3")
    world.run(200, until=lambda state: state.phase == "Promoted")

    assert [one.spec.canary for one in world.people.rollouts(world.name)] == ["v2", "v3"]
    assert [one.phase for one in world.people.rollouts(world.name)] == ["Aborted", "Promoted"]
    assert world.target._weights.get("v3") == 100
    assert not any(split.get("v2") and split.get("v3") for split in world.target.history)
    assert world.people.broken_record() is None
    reasons = [one["reason"] for one in world.people.records(world.name) if one["kind"] == "request"]
    assert reasons[1].startswith("the spec names v3 (/packages/v3) now")


def test_a_change_of_settings_is_for_the_next_rollout(world, kubectl):
    begun(world)
    kubectl("patch", "rollout", world.name, "--type=merge", "-p", '{"spec":{"alpha":0.4}}')
    world.second()

    state = world.people.load(world.name).state

    assert state.spec.alpha == 0.01
    assert world.condition("SpecAccepted") == ("True", "Later")
    assert world.status["observedGeneration"] == 2


FOREIGN = {"kserve": {"namespace": "someone-else", "name": "credit-risk"}}


def test_a_target_in_another_namespace_is_refused_in_words_and_nothing_is_touched(world):
    world.apply(target=FOREIGN)

    looked = world.look()

    assert looked.again is None
    assert world.condition("SpecAccepted") == ("False", "Refused")
    assert "OBS-KUBE-016" in world.status["message"]
    assert world.status["phase"] == "Refused"
    assert world.target.calls == []
    assert world.told.reasons() == ["SpecRefused"]


RAY = {"address": "10.0.0.5:6379", "url": "http://ray:8000", "import_path": "my_app:predictor_app"}


def test_whoever_writes_a_rollout_does_not_choose_what_code_the_operator_runs(world):
    world.apply(target={"ray_serve": RAY})
    world.look()

    assert world.condition("SpecAccepted") == ("False", "Refused")
    assert "OBS-KUBE-020" in world.status["message"]
    assert "--allow-ray-serve my_app:predictor_app@10.0.0.5:6379" in world.status["message"]
    assert world.target.calls == []


@pytest.mark.parametrize(
    ("changes", "accepted"), [({}, "True"), ({"address": "10.6.6.6:6379"}, "False"), ({"import_path": "os:system"}, "False")]
)
def test_a_target_on_ray_serve_is_taken_where_the_operator_was_started_with_its_module_and_its_cluster(world, changes, accepted):
    trusting = world.operator(world.leader, ray_serve=[("my_app:predictor_app", "10.0.0.5:6379")])
    world.apply(target={"ray_serve": {**RAY, **changes}})
    world.look(trusting)

    assert world.condition("SpecAccepted")[0] == accepted


def test_a_spec_that_was_refused_is_not_looked_at_again_until_it_changes(world, calls):
    world.apply(target=FOREIGN)
    world.look()
    calls.clear()
    world.look()

    assert {verb for verb, *_ in calls} == {"get"}


def test_a_refused_spec_begins_once_it_is_mended(world):
    world.apply(target=FOREIGN)
    world.look()
    world.apply()
    world.run(90)

    assert world.status["phase"] == "Promoted"


def test_a_wrong_edit_does_not_disturb_the_rollout_that_runs(world):
    begun(world)
    world.apply(target=FOREIGN)
    world.run(90)

    assert world.status["phase"] == "Promoted"
    assert world.condition("SpecAccepted") == ("False", "Refused")


def test_a_spec_that_the_server_refuses_is_the_users_error_with_the_servers_words(world):
    with pytest.raises(UsageError, match="latency_threshold.*OBS-KUBE-019"):
        world.apply(latency_threshold=0.123)


def test_retry_starts_the_same_spec_anew_under_a_new_id(bad_world):
    bad_world.apply(digest="sha256:" + "cd" * 32)
    first = bad_world.run(60)
    bad_world.errors = 0.0
    bad_world.ask("retry", "the database was down, not the model")
    bad_world.run(120, until=lambda state: state.phase == "Promoted")

    states = bad_world.people.rollouts(bad_world.name)

    assert [(one.id, one.phase) for one in states] == [(first.id, "RolledBack"), ("credit-risk-2", "Promoted")]


def test_a_known_bad_digest_is_not_shipped_again_under_another_name(bad_world):
    digest = "sha256:" + "cd" * 32
    bad_world.apply(digest=digest)
    bad_world.run(60)
    bad_world.apply(canary="v2-again", package="/packages/v2", digest=digest)
    for _ in range(40):
        bad_world.second()

    assert not any("v2-again" in split for split in bad_world.target.history)
    assert bad_world.status["phase"] == "Holding"
    assert "credit-risk-1" in bad_world.status["message"]


def test_two_operators_that_both_believe_to_lead_cannot_both_write(world):
    begun(world)
    second = world.operator(Leader(2))
    world.second(look=False)
    world.look(second)
    world.second(look=False)

    with pytest.raises(StateError, match="OBS-ROLL-01[23]"):
        world.look()
    assert world.status["token"] == 2


def test_an_operator_that_leads_no_longer_does_nothing(world, calls):
    begun(world)
    world.leader.now = None
    calls.clear()
    world.target.calls.clear()

    looked = world.second()

    assert (looked.again, calls, world.target.calls) == (None, [], [])


def test_leadership_lost_between_the_intent_and_the_act_keeps_the_traffic_where_it_is(world):
    begun(world)

    saved = world.reconciler._stores(world.namespace)
    write = saved._write

    def write_then_lose(*arguments):
        write(*arguments)
        if json.loads(arguments[2]["state"])["step"] == 1:
            world.leader.now = None

    saved._write = write_then_lose
    with pytest.raises(StateError, match="OBS-ROLL-013"):
        world.run(60)

    assert world.share == 20
    other = world.operator(Leader(2))
    for _ in range(90):
        world.second(look=False)
        state = world.look(other).state
        if state and state.over:
            break
    assert (state.phase, world.share) == ("Promoted", 100)


def test_deciding_conditions_change_their_time_only_with_their_value(world):
    begun(world)
    before = {one["type"]: one["lastTransitionTime"] for one in world.status["conditions"]}
    for _ in range(12):
        world.second()
    after = {one["type"]: one["lastTransitionTime"] for one in world.status["conditions"]}

    assert after["Available"] == before["Available"]
    assert after["Progressing"] == before["Progressing"]


def test_lost_telemetry_is_a_condition_and_holds(world):
    begun(world)
    world.scraping = False
    for _ in range(30):
        world.second()

    assert world.condition("TelemetryTrusted") == ("False", "Unknown")
    assert world.condition("Progressing") == ("False", "TelemetryLost")
    assert world.share == 20


def test_a_namespace_full_of_records_stays_one_log_per_object(world, api, namespace):
    world.apply()
    world.run(90)
    other = ClusterWorld(api, namespace)
    other.name = "fraud"
    other.apply()
    other.run(90)

    assert {one["metadata"]["labels"]["mlops-obs.dev/rollout"] for one in api.list_all(RECORDS, namespace)[0]} == {"credit-risk", "fraud"}
    assert world.people.broken_record() is None
    assert sorted(world.people.keys()) == ["credit-risk", "fraud"]
    assert len(api.list_all(ROLLOUTS, namespace)[0]) == 2


def test_a_target_behind_its_guard_is_read_by_everybody_and_written_by_the_leader_alone():
    class Finishing(FakeTarget):
        def finish(self, revision):
            self.calls.append("finish")

    leads = False
    plain, finishing = (behind_guard(kind({"v1": 100}, {"v1": "", "v2": ""}), lambda: leads) for kind in (FakeTarget, Finishing))

    for write in (
        lambda: plain.deploy("v2", ""),
        lambda: plain.set_weights({"v2": 100}, {"v1": 100}),
        lambda: finishing.finish("v2"),
    ):
        with pytest.raises(TargetError, match="OBS-KUBE-013"):
            write()
    assert plain.weights() == {"v1": 100}
    assert plain.way_back("v1").ready
    assert isinstance(finishing, Finishes)
    leads = True
    plain.set_weights({"v2": 100}, {"v1": 100})
    assert plain.weights() == {"v2": 100}


def test_a_rollback_asked_of_a_promoted_rollout_is_done_although_the_spec_names_another_canary_by_then(world):
    world.apply()
    world.run(90)
    world.ask("rollback", "v2 forgets people")
    world.apply(canary="v3", package="/packages/v3")
    shares = []
    for _ in range(30):
        world.second()
        shares.append(world.share)

    asked = [(one["action"], one["actor"]) for one in world.people.records(world.name) if one["kind"] == "request"]
    assert ("rollback", "ada") in asked
    assert 0 in shares
    assert world.people.load(world.name).state.spec.canary == "v3"


def test_an_abort_that_follows_a_retry_at_once_wins(bad_world):
    bad_world.apply()
    bad_world.run(60)
    bad_world.ask("retry", "again")
    bad_world.ask("abort", "no, rather not")

    for _ in range(10):
        bad_world.second()

    assert bad_world.share == 0
    assert bad_world.status["phase"] == "RolledBack"


def test_no_record_is_lost_when_the_object_goes_right_after_a_write_that_failed(proxied, proxy, namespace):
    world = begun(ClusterWorld(proxied, namespace))
    rollout = world.status["rollout"]
    world.delete()
    proxy.fail("POST", "/rolloutrecords", "500", times=3)
    for _ in range(40):
        with contextlib.suppress(ObsError):
            world.second()

    kept = [json.loads(text) for one in world.api.list_all(RECORDS, namespace)[0] for text in one["spec"]["records"]]
    assert [one["action"] for one in sorted(kept, key=lambda one: one["seq"])][-1] == "abort"
    assert sorted(one["seq"] for one in kept) == list(range(1, len(kept) + 1))
    assert {one["rollout"] for one in kept} == {rollout}


def test_an_account_that_may_not_write_records_keeps_no_object_for_ever_and_says_what_is_lost(proxied, proxy, namespace):
    world = begun(ClusterWorld(proxied, namespace))
    world.delete()
    proxy.fail("POST", "/rolloutrecords", "422", times=1000)
    for _ in range(40):
        with contextlib.suppress(ObsError):
            world.second()

    assert "RecordsLost" in world.told.reasons()
    with pytest.raises(ApiError, match="404"):
        world.object  # noqa: B018
