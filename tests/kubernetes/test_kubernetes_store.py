"""The store on the API server keeps what every store promises, and its own promises about objects."""

import itertools
import json
import threading

import pytest

from mlops_obs.adapters.kubernetes.api import ApiConflict, ApiError
from mlops_obs.adapters.kubernetes.controller_side import new_state
from mlops_obs.adapters.kubernetes.record_log import PIECE
from mlops_obs.adapters.kubernetes.resources import RECORDS, ROLLOUTS
from mlops_obs.adapters.kubernetes.store import KubernetesRolloutStore
from mlops_obs.errors import StateError, UsageError
from mlops_obs.rollout.log.records import make_record
from tests.kubernetes.conftest import rollout
from tests.rollout.store_contract import SPEC, StoreContract, decision


class KubernetesRig:
    key = "credit-risk"

    def __init__(self, api, namespace):
        self.api, self.namespace = api, namespace
        self.store = KubernetesRolloutStore(api, namespace, clock=lambda: 7.0)
        document = rollout(digest=SPEC.digest)
        document["spec"]["target"]["kserve"]["namespace"] = namespace
        self.store.apply(document)

    def begin(self):
        state = new_state(self.key, SPEC, 1.0, "ada")
        start = {"at": 1.0, "action": "start", "reason": "started", "before": None, "after": None, "actor": "ada"}
        return self.store.begin(self.key, state, lambda one: make_record("request", one, **start), self.token()).state

    def token(self):
        return self.store._token or 0

    def ask(self, kind):
        self.store.request(f"{self.key}-1", kind, "ada", "because", 2.0)

    def other(self):
        return KubernetesRolloutStore(self.api, self.namespace)

    def object(self):
        return self.api.get(ROLLOUTS, self.namespace, self.key)


@pytest.fixture
def rig(api, namespace):
    return KubernetesRig(api, namespace)


class TestKubernetesStore(StoreContract):
    """All claims of the contract."""


def saved(rig, state, records=(), token=None, **update):
    token = token or rig.store.lease("one", 0.0, 15.0)
    state = state.model_copy(update=update)
    rig.store.save(rig.store.load(rig.key), state, list(records), token)
    return state


def test_a_save_is_one_write_and_reads_nothing(rig, calls):
    state = rig.begin()
    token = rig.store.lease("one", 0.0, 15.0)
    stored = rig.store.load(rig.key)
    calls.clear()

    stored = rig.store.save(stored, state, [decision(state)], token)
    rig.store.save(stored, state, [decision(state)], token)

    assert calls == [("update", "rollouts", 200)] * 2


def test_records_move_on_into_objects_that_nobody_can_change(rig, api, namespace):
    state = rig.begin()
    for number in range(20):
        saved(rig, state, [decision(state, at=float(number))])
        rig.store.tidy(rig.key)

    objects, _ = api.list_all(RECORDS, namespace)

    assert [one["metadata"]["name"] for one in objects] == ["credit-risk-00000001", "credit-risk-00000009"]
    assert [len(one["spec"]["records"]) for one in objects] == [8, 8]
    assert len(rig.object()["status"]["pending"]) < 8
    changed = json.loads(json.dumps(objects[0]))
    changed["spec"]["records"][0] = "{}"
    with pytest.raises(ApiError, match="422"):
        api.put(RECORDS, namespace, changed["metadata"]["name"], changed)


def test_records_leave_the_status_when_the_rollout_is_over(rig, api, namespace):
    state = rig.begin()
    saved(rig, state, [decision(state)], phase="Promoted")
    rig.store.tidy(rig.key)

    assert rig.object()["status"]["pending"] == []
    assert [one["action"] for one in rig.other().history(state.id)] == ["start", "wait"]
    assert rig.other().broken_record() is None


def test_an_object_of_records_whose_answer_was_lost_is_written_once(rig, api, namespace, monkeypatch):
    state = rig.begin()
    for number in range(8):
        saved(rig, state, [decision(state, at=float(number))])
    create = api.create
    monkeypatch.setattr(api, "create", lambda *a: create(*a) and (_ for _ in ()).throw(ApiError("OBS-KUBE-005", "no answer")))
    with pytest.raises(StateError, match="OBS-ROLL-011"):
        rig.store.tidy(rig.key)
    monkeypatch.undo()

    after_a_restart = rig.other()
    after_a_restart.lease("one", 0.0, 15.0)
    after_a_restart.load(rig.key)
    after_a_restart.tidy(rig.key)

    assert len(api.list_all(RECORDS, namespace)[0]) == 1
    assert [one["seq"] for one in rig.other().history(state.id)] == list(range(1, 10))


def test_records_wait_in_the_status_while_objects_cannot_be_written_and_a_retreat_has_a_reserve(rig):
    state = rig.begin()
    big = {"evidence": {"x": "y" * (PIECE - 2_000)}}
    for _ in range(4):
        saved(rig, state, [decision(state, **big)])

    with pytest.raises(StateError, match="5 records wait.*OBS-KUBE-010"):
        saved(rig, state, [decision(state, **big)])
    saved(rig, state, [decision(state, **big)], goal="rollback")
    for _ in range(3):
        rig.store.tidy(rig.key)
        saved(rig, state, [decision(state)])

    assert [one["seq"] for one in rig.other().history(state.id)] == list(range(1, 10))
    assert len(rig.object()["status"]["pending"]) < 4


def test_the_pieces_of_a_record_whose_commit_failed_are_in_nobodys_way(rig, api, namespace):
    state = rig.begin()
    token = rig.store.lease("one", 0.0, 15.0)
    stale = rig.store.load(rig.key)
    saved(rig, state, [])
    huge = decision(state, evidence={"x": "z" * 500_000})

    with pytest.raises(StateError, match="OBS-ROLL-012"):
        rig.store.save(stale, state, [huge], token)
    saved(rig, state, [decision(state, evidence={"x": "y" * 500_000})])

    assert rig.other().history(state.id)[-1]["evidence"]["x"][:3] == "yyy"


def test_a_log_that_was_touched_is_told(rig, api, namespace):
    state = rig.begin()
    for number in range(20):
        saved(rig, state, [decision(state, at=float(number))])
        rig.store.tidy(rig.key)
    api.delete(RECORDS, namespace, "credit-risk-00000001")

    assert rig.other().broken_record() == 1


def test_a_rollout_made_again_under_the_same_name_goes_on_with_its_log(rig, api, namespace):
    state = rig.begin()
    saved(rig, state, [decision(state)], phase="Aborted")
    rig.store.tidy(rig.key)
    api.delete(ROLLOUTS, namespace, rig.key)
    rig.store.forget(rig.key)
    again = KubernetesRig(api, namespace)

    second = again.begin()

    assert second.id != state.id
    assert [one["rollout"] for one in again.other().records(rig.key)] == [state.id, state.id, second.id]
    assert again.other().broken_record() is None


def test_a_new_leaders_first_look_fences_the_old_one_off(rig):
    state = rig.begin()
    old = rig.store.lease("one", 0.0, 15.0)
    held = rig.store.load(rig.key)
    newer = rig.other()
    newer.lease("two", 0.0, 15.0)
    newer.lease("two", 20.0, 15.0)
    newer.load(rig.key)

    with pytest.raises(StateError, match="OBS-ROLL-012"):
        rig.store.save(held, state, [decision(state)], old)
    with pytest.raises(StateError, match="OBS-ROLL-013"):
        rig.store.load(rig.key)


def test_an_annotation_or_a_condition_in_between_costs_no_save(rig, kubectl):
    state = rig.begin()
    token = rig.store.lease("one", 0.0, 15.0)
    stored = rig.store.load(rig.key)
    kubectl("annotate", "rollout", rig.key, "note=hello")

    after = rig.store.save(stored, state.model_copy(update={"reason": "saved"}), [], token)

    assert rig.other().load(rig.key).state.reason == "saved"
    assert after.version == stored.version + 1


def test_a_save_whose_answer_was_lost_is_read_again_before_anything_else(rig, api, monkeypatch):
    state = rig.begin()
    token = rig.store.lease("one", 0.0, 15.0)
    stored = rig.store.load(rig.key)
    put = api.put_status
    monkeypatch.setattr(api, "put_status", lambda *a: put(*a) and (_ for _ in ()).throw(ApiError("OBS-KUBE-005", "no answer")))
    with pytest.raises(StateError, match="OBS-ROLL-011"):
        rig.store.save(stored, state.model_copy(update={"reason": "applied all the same"}), [decision(state)], token)
    monkeypatch.undo()

    assert rig.store.load(rig.key).state.reason == "applied all the same"


def test_a_stale_watch_is_noticed_at_the_save(rig, api, namespace):
    state = rig.begin()
    saved(rig, state, reason="older")
    old = rig.object()
    saved(rig, state, reason="newer")
    lagging = KubernetesRolloutStore(api, namespace, cached=lambda _: old)
    lagging._lock = rig.store._lock
    token = lagging.lease("one", 1.0, 15.0)
    stale = lagging.load(rig.key)

    with pytest.raises(StateError, match="OBS-ROLL-012"):
        lagging.save(stale, state, [decision(state)], token)
    assert lagging.load(rig.key).state.reason == "newer"


def test_requests_are_numbered_without_gaps_or_losses_by_many_at_once(rig):
    rig.begin()
    asking = [threading.Thread(target=rig.other().request, args=("credit-risk-1", "pause", f"p{n}", "", 1.0)) for n in range(4)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()

    found = rig.other().load(rig.key).requests

    assert [one.id for one in found] == [1, 2, 3, 4]
    assert sorted(one.actor for one in found) == ["p0", "p1", "p2", "p3"]


def test_answered_requests_are_cleared_by_the_next_one(rig):
    state = rig.begin()
    for _ in range(3):
        rig.ask("pause")
        token = rig.store.lease("one", 0.0, 15.0)
        rig.store.save(rig.store.load(rig.key), state, [], token, answered=True)
    rig.ask("abort")

    assert len(rig.object()["metadata"]["annotations"]) == 2
    assert [one.kind for one in rig.other().load(rig.key).requests] == ["abort"]


def test_a_request_by_kubectl_alone_is_read_and_nonsense_is_left_out(rig, kubectl):
    rig.begin()
    kubectl("annotate", "rollout", rig.key, 'request.mlops-obs.dev/7={"kind":"pause","actor":"bob"}')
    kubectl("annotate", "rollout", rig.key, "request.mlops-obs.dev/8=pause!", 'request.mlops-obs.dev/9={"kind":"explode"}')

    assert [(one.id, one.kind, one.actor) for one in rig.store.load(rig.key).requests] == [(7, "pause", "bob")]


def test_asking_for_something_of_a_rollout_that_is_not_there_is_a_usage_error(rig):
    with pytest.raises(UsageError, match="there is no Rollout .*/nothing;.*OBS-KUBE-012"):
        rig.store.request("nothing-1", "pause", "ada", "", 1.0)


def test_a_deleted_lease_does_not_lock_the_leader_out_for_ever(rig, api, namespace):
    from mlops_obs.adapters.kubernetes.lease import Elector, LeaseLock
    from mlops_obs.adapters.kubernetes.resources import LEASES

    clock = itertools.count(0.0, 0.5)
    rig.begin()
    for owner in ("a", "b", "c"):
        rig.store._lock.acquire(owner, 0.0, 15.0)
        rig.store.release(owner)
    rig.store.lease("d", 0.0, 15.0)
    rig.store.load(rig.key)
    api.delete(LEASES, namespace, "mlops-obs-operator")
    elector = Elector(LeaseLock(api, namespace, "mlops-obs-operator"), "e", clock=lambda: next(clock))
    store = KubernetesRolloutStore(api, namespace, leader=elector)
    elector.step()
    assert store.lease("e", 0.0, 0.0) == 1
    with pytest.raises(StateError, match="OBS-ROLL-013"):
        store.load(rig.key)
    elector.step()

    assert store.lease("e", 0.0, 0.0) == 5
    assert store.load(rig.key) is not None


@pytest.mark.parametrize("name", ["mlops-obs-operator", "mlops-obs-operator-{}"])
def test_people_see_who_carries_their_rollouts_out(api, namespace, name):
    from mlops_obs.adapters.kubernetes.lease import LeaseLock

    store = KubernetesRolloutStore(api, namespace)
    lock = LeaseLock(api, namespace, name.format(namespace), wall=lambda: 1_000_000.0)
    assert store.controller(1_000_000.0) != "op-1"
    lock.acquire("op-1", 0.0, 15.0)

    assert store.controller(1_000_010.0) == "op-1"
    assert store.controller(1_000_020.0) != "op-1"


def test_a_conflict_and_a_taken_name_are_told_apart(api, namespace, rig):
    with pytest.raises(ApiConflict) as taken:
        api.create(ROLLOUTS, namespace, rollout(target={"kserve": {"namespace": namespace, "name": "x"}}))
    obj = rig.object()
    obj["metadata"]["resourceVersion"] = "1"
    with pytest.raises(ApiConflict) as moved:
        api.put(ROLLOUTS, namespace, rig.key, obj)

    assert (taken.value.already_exists, moved.value.already_exists) == (True, False)
