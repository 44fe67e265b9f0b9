"""The store: whole or not at all, one writer, a log that shows when it was touched."""

import json
import os
import sqlite3
import subprocess
import sys

import pytest
from store_contract import SPEC as DIGESTED
from store_contract import StoreContract

from mlops_obs.adapters.rollout_store import RolloutStore, process_owner
from mlops_obs.errors import StateError, UsageError
from mlops_obs.rollout.log.records import make_record
from mlops_obs.rollout.machine.known_bad import again
from mlops_obs.rollout.machine.state import RolloutState
from mlops_obs.rollout.ports import Notice
from mlops_obs.rollout.readings import rollout_readings
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.testing.rollout_memory import MemoryStore

SPEC = Rollout(service="credit-risk", canary="v2", package="/packages/v2")


def record(state, action="wait", kind="decision", at=1.0, **more):
    return make_record(kind, state, at=at, action=action, reason="", before={"v1": 100}, after={"v1": 100}, **more)


@pytest.fixture
def store(tmp_path):
    return RolloutStore(tmp_path / "state.db")


@pytest.fixture
def created(store):
    state = RolloutState(id="credit-risk-v2", spec=SPEC, created_at=1.0)
    return store.create(state, record(state, "start", "request"))


class Place:
    """A store for the contract's claims; `reopen` returns it as another process sees it."""

    key = DIGESTED.service

    def __init__(self, store, reopen):
        self.store, self.other = store, reopen

    def begin(self):
        state = RolloutState(id="credit-risk-v2", spec=DIGESTED, created_at=1.0, override="the cause was found")
        return self.store.create(state, make_record("request", state, at=1.0, action="start", reason="", before=None, after=None))

    def ask(self, kind):
        self.store.request(self.store.load(self.key).state.id, kind, "ada", "because", 2.0)


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def rig(self, tmp_path):
        return Place(RolloutStore(tmp_path / "state.db"), lambda: RolloutStore(tmp_path / "state.db"))


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def rig(self):
        store = MemoryStore()
        return Place(store, lambda: store)


def test_a_second_rollout_of_a_service_is_refused_while_one_runs(store, created):
    with pytest.raises(UsageError, match="OBS-ROLL-010"):
        store.create(RolloutState(id="credit-risk-v3", spec=SPEC, created_at=2.0), record(created))


def test_saving_over_a_version_that_moved_on_is_refused_and_leaves_no_record(store, created):
    token = store.lease("one", 0.0, 15.0)
    stored = store.load("credit-risk")
    store.save(stored, created.model_copy(update={"reason": "first"}), [], token)

    with pytest.raises(StateError, match="OBS-ROLL-012"):
        store.save(stored, created.model_copy(update={"reason": "second"}), [record(created)], token)
    assert store.load("credit-risk").state.reason == "first"
    assert len(store.records("credit-risk")) == 1


def test_a_lease_is_held_until_it_expires_and_its_old_holder_is_fenced_off(store, created):
    old = store.lease("elsewhere", 0.0, 15.0)

    assert store.lease("other", 14.0, 15.0) is None
    assert store.lease("elsewhere", 14.0, 15.0) == old
    assert store.lease("other", 30.0, 15.0) == old + 1
    with pytest.raises(StateError, match="OBS-ROLL-013"):
        store.save(store.load("credit-risk"), created, [], old)


def test_the_lease_of_a_process_that_was_killed_is_free_at_once(store):
    program = (
        "import sys; from mlops_obs.adapters.rollout_store import *; "
        "print(RolloutStore(sys.argv[1]).lease(process_owner(), 0.0, 1e6), flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(store._path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    taken = child.stdout.readline().strip()
    while_alive = store.lease(process_owner(), 1.0, 15.0)
    child.kill()
    child.wait()

    assert taken == "1"
    assert while_alive is None
    assert store.lease(process_owner(), 1.0, 15.0) == 2


def test_a_request_is_open_until_a_save_answers_it(store, created):
    store.request(created.id, "pause", "ada", "lunch", 2.0)
    token = store.lease("one", 0.0, 15.0)
    stored = store.load("credit-risk")

    after = store.save(stored, created, [], token, answered=True)

    assert [(one.kind, one.actor, one.reason) for one in stored.requests] == [("pause", "ada", "lunch")]
    assert after.requests == ()
    assert store.load("credit-risk").requests == ()


def test_the_evidence_log_refuses_changes_and_shows_forgery(store, created):
    with sqlite3.connect(store._path) as db:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute("UPDATE records SET body = '{}'")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute("DELETE FROM records")
        assert store.broken_record() is None
        db.execute("DROP TRIGGER records_stay")
        db.execute("UPDATE records SET body = replace(body, '100', '99')")

    assert store.broken_record() == 1


def test_a_locked_or_missing_or_broken_file_is_a_state_error(tmp_path, store, created):
    with pytest.raises(StateError, match="OBS-ROLL-011"):
        RolloutStore(tmp_path / "absent" / "state.db").load("credit-risk")
    (tmp_path / "broken.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StateError, match="OBS-ROLL-011"):
        RolloutStore(tmp_path / "broken.db").load("credit-risk")
    blocker = sqlite3.connect(store._path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError, match="locked"):
        RolloutStore(store._path, timeout=0.05).request(created.id, "pause", "ada", "", 1.0)
    blocker.close()


def test_a_full_disk_leaves_the_state_as_it_was(store, created):
    token = store.lease("one", 0.0, 15.0)
    stored = store.load("credit-risk")
    pages = store._open().execute("PRAGMA page_count").fetchone()[0]
    store._open().execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(StateError, match="full"):
        store.save(stored, created.model_copy(update={"reason": "new"}), [record(created, evidence={"x": "y" * 50_000})], token)
    assert store.load("credit-risk").state.reason == created.reason
    assert store.load("credit-risk").version == stored.version


def test_the_metrics_say_phase_weights_and_when_a_revision_was_rolled_back(store, created):
    token = store.lease("one", 0.0, 15.0)
    state = created.model_copy(update={"phase": "RolledBack", "stable": "v1", "desired": {"v1": 100, "v2": 0}})
    evidence = {"tests": {"errors": {"log10_e": 3.5}}}
    rows = [record(state, "rollback", at=50.0), record(state, "rollback", "result", at=51.0, evidence=evidence)]
    store.save(store.load("credit-risk"), state, rows, token)

    readings = rollout_readings(state, store.summary("credit-risk"), store.newest_evidence(state.id))
    values = {(one.metric.name, *(value for key, value in sorted(one.labels.items()) if key != "service")): one.value for one in readings}

    assert values["mlops_obs_rollout_action_timestamp_seconds", "rollback", "v2"] == 51.0
    assert values["mlops_obs_rollout_decisions_total", "rollback"] == 1.0
    assert values["mlops_obs_rollout_phase", "v2", "RolledBack", "v1"] == 1.0
    assert values["mlops_obs_rollout_phase", "v2", "Holding", "v1"] == 0.0
    assert values["mlops_obs_rollout_weight_ratio", "v1"] == 1.0
    assert values["mlops_obs_rollout_evidence_log10", "v2", "errors"] == 3.5
    assert all(tuple(one.labels) and set(one.labels) == set(one.metric.labels) for one in readings)


def test_a_process_name_tells_this_process_from_every_other():
    assert process_owner().split("/")[1] == str(os.getpid())


def test_an_action_counts_as_done_when_its_result_says_so_and_not_when_it_is_decided(store, created):
    token = store.lease("one", 0.0, 15.0)
    rows = [
        record(created, "rollback", at=50.0),
        record(created, "rollback", "result", at=51.0, ok=False),
        record(created, "hold", at=52.0),
    ]
    store.save(store.load("credit-risk"), created, rows, token)

    assert {one.action: one.last_done_at for one in store.summary("credit-risk")} == {"rollback": None, "hold": 52.0}


def test_an_abort_before_any_traffic_is_done_when_it_is_decided(store, created):
    token = store.lease("one", 0.0, 15.0)
    over = created.model_copy(update={"phase": "Aborted"})
    store.save(store.load("credit-risk"), over, [record(over, "abort", at=50.0)], token)

    assert {one.action: one.last_done_at for one in store.summary("credit-risk")} == {"abort": 50.0}


def test_a_controller_of_this_machine_is_alive_as_long_as_its_process_is(store):
    store.lease(process_owner(), 0.0, 15.0)
    during_a_long_deploy = store.controller(400.0)
    store.release(process_owner())

    assert during_a_long_deploy == process_owner()
    assert store.controller(400.0) is None
    store.lease("elsewhere/1/2", 500.0, 15.0)
    assert store.controller(510.0) == "elsewhere/1/2"
    assert store.controller(520.0) is None


def test_a_rollout_is_not_started_over_a_rollback_that_nobody_has_carried_out_yet(store, created):
    token = store.lease("one", 0.0, 15.0)
    promoted = created.model_copy(update={"phase": "Promoted"})
    store.save(store.load("credit-risk"), promoted, [], token)
    store.request(created.id, "rollback", "ada", "customers complain", 2.0)
    next_one = RolloutState(id="credit-risk-v3", spec=SPEC, created_at=3.0)

    with pytest.raises(UsageError, match="the rollback asked of rollout credit-risk-v2-1 is not done yet.*OBS-ROLL-010"):
        store.create(next_one, record(created))
    store.save(store.load("credit-risk"), promoted, [], token, answered=True)
    assert store.create(next_one, record(created)).id == "credit-risk-v3-2"


def test_a_state_that_another_version_wrote_is_a_state_error(store, created):
    with sqlite3.connect(store._path) as db:
        db.execute("""UPDATE rollouts SET state = json_set(state, '$.invented', 1)""")

    with pytest.raises(StateError, match="invented.*OBS-ROLL-020"):
        store.load("credit-risk")


def test_a_digest_that_was_rolled_back_is_refused_unless_a_person_says_why(store):
    spec = SPEC.model_copy(update={"digest": "sha256:abc"})
    state = RolloutState(id="credit-risk-v2", spec=spec, created_at=1.0)
    first = store.create(state, record(state, "start", "request"))
    over = first.model_copy(update={"phase": "RolledBack"})
    store.save(store.load("credit-risk"), over, [], store.lease("one", 0.0, 15.0))

    with pytest.raises(UsageError, match="was rolled back before, in credit-risk-v2-1.*OBS-ROLL-022"):
        store.create(state, record(state, "start", "request"))
    assert store.create(again(over, at=2.0, actor="ada", reason="fixed the feature store"), record(state, "start", "request")).override


def test_what_nobody_has_taken_yet_goes_on_with_the_next_rollout(store, created):
    notice = Notice("k", "rollback", "credit-risk", 1.0, "title", "text", {})
    over = created.model_copy(update={"phase": "Promoted", "outbox": (notice,)})
    store.save(store.load("credit-risk"), over, [], store.lease("one", 0.0, 15.0))

    following = store.create(RolloutState(id="credit-risk-v3", spec=SPEC, created_at=2.0), record(created, "start", "request"))

    assert following.outbox == (notice,)


def test_a_file_of_the_first_version_is_brought_up_to_date_and_a_newer_one_refused(store, created):
    old = json.loads(created.model_dump_json())
    for name in ("plan", "outbox", "held_for", "told", "override"):
        del old[name]
    old["stable"], old["spec"]["least_detectable_odds"] = "v1", 3.0
    old["spec"].pop("least_detectable_ratio")
    with sqlite3.connect(store._path) as db:
        db.execute("UPDATE rollouts SET state = ?", (json.dumps(old),))
        db.execute("PRAGMA user_version = 0")

    state = RolloutStore(store._path).load("credit-risk").state
    with sqlite3.connect(store._path) as db:
        db.execute("PRAGMA user_version = 3")

    assert (state.plan, state.spec.least_detectable_ratio) == (state.spec.steps, 3.0)
    with pytest.raises(StateError, match="has version 3.*OBS-ROLL-023"):
        RolloutStore(store._path).load("credit-risk")
