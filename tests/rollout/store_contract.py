"""What every store of rollouts promises its controller. Subclass it with a `rig` fixture: see `Rig`."""

from __future__ import annotations

from typing import Any, Protocol

import pytest

from mlops_obs.errors import StateError
from mlops_obs.rollout.log.records import GENESIS, chain, make_record
from mlops_obs.rollout.machine.state import RolloutState
from mlops_obs.rollout.ports import Notice
from mlops_obs.rollout.spec.rollout import Rollout

SPEC = Rollout(service="credit-risk", canary="v2", package="/packages/v2", digest="sha256:" + "ab" * 32)


class Rig(Protocol):
    """A store with one place for a rollout in it."""

    store: Any
    key: str

    def begin(self) -> RolloutState:
        """Begin a rollout of SPEC; its first record is a request `start`."""
        ...

    def ask(self, kind: str) -> None:
        """Let ada ask for `kind`."""
        ...

    def other(self) -> Any:
        """Return the same store as another process sees it."""
        ...


def decision(state: RolloutState, **more: Any) -> dict[str, Any]:
    return make_record(
        "decision", state, **{"at": 1.0, "action": "wait", "reason": "", "before": {"v1": 100}, "after": {"v1": 100}, **more}
    )


class StoreContract:
    def test_nothing_is_loaded_before_a_rollout_has_begun(self, rig):
        assert rig.store.load(rig.key) is None

    def test_a_rollout_is_loaded_as_it_was_begun(self, rig):
        state = rig.begin()

        found = rig.other().load(rig.key)

        assert found.state == state
        assert [one["action"] for one in rig.other().history(state.id)] == ["start"]

    def test_a_save_is_there_for_every_process_with_its_records(self, rig):
        state = rig.begin()
        token = rig.store.lease("one", 0.0, 15.0)
        changed = state.model_copy(update={"reason": "changed", "desired": {"v1": 80, "v2": 20}, "began_at": 1.0, "policy": {"a": "warn"}})

        rig.store.save(rig.store.load(rig.key), changed, [decision(changed)], token)

        assert rig.other().load(rig.key).state == changed
        assert [one["action"] for one in rig.other().history(state.id)] == ["start", "wait"]

    def test_a_save_over_a_version_that_moved_on_is_refused_whole(self, rig):
        state = rig.begin()
        token = rig.store.lease("one", 0.0, 15.0)
        stored = rig.store.load(rig.key)
        rig.store.save(stored, state.model_copy(update={"reason": "first"}), [], token)

        with pytest.raises(StateError, match="OBS-ROLL-012"):
            rig.store.save(stored, state.model_copy(update={"reason": "second"}), [decision(state)], token)
        assert rig.other().load(rig.key).state.reason == "first"
        assert len(rig.other().history(state.id)) == 1

    def test_saves_follow_each_other_without_a_new_look(self, rig):
        state = rig.begin()
        token = rig.store.lease("one", 0.0, 15.0)

        stored = rig.store.save(rig.store.load(rig.key), state, [decision(state, at=1.0)], token)
        rig.store.save(stored, state.model_copy(update={"reason": "second"}), [decision(state, at=2.0)], token)

        assert rig.other().load(rig.key).state.reason == "second"
        assert [one["at"] for one in rig.other().history(state.id)][1:] == [1.0, 2.0]

    def test_the_lease_is_one_owners_until_it_expires(self, rig):
        rig.begin()
        first = rig.store.lease("one", 0.0, 15.0)

        assert rig.store.lease("two", 14.0, 15.0) is None
        assert rig.store.lease("one", 14.0, 15.0) == first
        assert rig.store.lease("two", 30.0, 15.0) > first

    def test_a_lease_given_back_is_free_at_once(self, rig):
        rig.begin()
        first = rig.store.lease("one", 0.0, 15.0)
        rig.store.release("one")

        assert rig.store.lease("two", 1.0, 15.0) > first

    def test_who_was_replaced_can_save_nothing_any_more(self, rig):
        state = rig.begin()
        old = rig.store.lease("one", 0.0, 15.0)
        held = rig.store.load(rig.key)
        new = rig.store.lease("two", 30.0, 15.0)
        rig.store.load(rig.key)

        with pytest.raises(StateError, match="OBS-ROLL-01[23]"):
            rig.store.save(held, state, [decision(state)], old)
        with pytest.raises(StateError, match="OBS-ROLL-013"):
            rig.store.save(rig.store.load(rig.key), state, [decision(state)], old)
        assert rig.store.save(rig.store.load(rig.key), state, [], new)

    def test_a_request_is_open_until_a_save_answers_it(self, rig):
        state = rig.begin()
        rig.ask("pause")
        token = rig.store.lease("one", 0.0, 15.0)
        stored = rig.store.load(rig.key)

        after = rig.store.save(stored, state, [], token, answered=True)

        assert [(one.kind, one.actor, one.reason) for one in stored.requests] == [("pause", "ada", "because")]
        assert after.requests == ()
        assert rig.other().load(rig.key).requests == ()

    def test_a_request_made_between_look_and_save_stays_open_and_in_order(self, rig):
        state = rig.begin()
        rig.ask("pause")
        token = rig.store.lease("one", 0.0, 15.0)
        stored = rig.store.load(rig.key)
        rig.ask("resume")
        rig.ask("abort")

        rig.store.save(stored, state, [], token, answered=True)

        assert [one.kind for one in rig.other().load(rig.key).requests] == ["resume", "abort"]

    def test_a_save_without_an_answer_leaves_the_requests_open(self, rig):
        state = rig.begin()
        rig.ask("pause")
        token = rig.store.lease("one", 0.0, 15.0)

        rig.store.save(rig.store.load(rig.key), state, [], token)

        assert [one.kind for one in rig.other().load(rig.key).requests] == ["pause"]

    def test_the_log_is_one_chain_and_keeps_every_number_byte_for_byte(self, rig):
        state = rig.begin()
        token = rig.store.lease("one", 0.0, 15.0)
        stored = rig.store.load(rig.key)
        for number in (1.0, 0.1 + 0.2, 1e300, -0.0, 5e-324, 1700000000.25, 3):
            stored = rig.store.save(stored, state, [decision(state, evidence={"n": number, "text": 'é "\n\u2028'})], token)

        found = rig.other().history(state.id)

        before = GENESIS
        for one in found:
            body = {key: value for key, value in one.items() if key not in ("seq", "hash")}
            before = chain(before, body)
            assert one["hash"] == before
        assert [repr(one["evidence"]["n"]) for one in found[1:]] == [
            "1.0",
            repr(0.1 + 0.2),
            "1e+300",
            "-0.0",
            "5e-324",
            "1700000000.25",
            "3",
        ]

    def test_a_long_log_with_huge_records_is_kept_whole_and_in_order(self, rig):
        state = rig.begin()
        token = rig.store.lease("one", 0.0, 15.0)
        stored = rig.store.load(rig.key)
        sizes = [10, 700_000, 20_000, 20_000, 20_000, 20_000, 250_000, *[3_000] * 40]
        for number, size in enumerate(sizes):
            stored = rig.store.save(stored, state, [decision(state, at=float(number), evidence={"x": "y" * size})], token)

        found = rig.other().history(state.id)[1:]

        assert [(one["at"], len(one["evidence"]["x"])) for one in found] == [(float(number), size) for number, size in enumerate(sizes)]
        assert rig.other().broken_record() is None

    def test_a_digest_that_was_rolled_back_is_known_as_bad(self, rig):
        state = rig.begin()
        token = rig.store.lease("one", 0.0, 15.0)
        over = state.model_copy(update={"phase": "RolledBack", "ended_at": 5.0})
        rig.store.save(rig.store.load(rig.key), over, [decision(over)], token)

        again = rig.begin()

        assert again.id != state.id
        assert rig.other().load(rig.key).known_bad == state.id
        assert [one["action"] for one in rig.other().history(again.id)] == ["start"]
        assert rig.other().find(state.id).state.phase == "RolledBack"
        assert [one.id for one in rig.other().rollouts(rig.key)] == [state.id, again.id]

    def test_what_people_were_not_told_yet_goes_on_with_the_next_rollout(self, rig):
        state = rig.begin()
        token = rig.store.lease("one", 0.0, 15.0)
        page = Notice(f"{state.id}/abort", "step", "credit-risk", 5.0, "aborted", "because", {})
        over = state.model_copy(update={"phase": "Aborted", "ended_at": 5.0, "outbox": (page,)})
        rig.store.save(rig.store.load(rig.key), over, [decision(over)], token)

        rig.begin()

        assert rig.other().load(rig.key).state.outbox == (page,)
