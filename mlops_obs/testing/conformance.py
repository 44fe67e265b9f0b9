"""What every `TrafficTarget` promises, as a suite that anybody can run against an adapter of his own.

A test class inherits `TargetConformance` and offers a fixture `rig` that returns a `Rig`; pytest then runs every claim:

    class TestMyTarget(TargetConformance):
        @pytest.fixture
        def rig(self):
            yield MyRig()

The trap is a suite that only asks for the fair weather. A rig must also let the platform's answer get lost, let somebody else change
the split, and kill a revision; what a platform cannot do at all (`going_down_is_all_or_nothing`, `meddle` returning None) it says
there, and the claim is skipped by name (`unittest.SkipTest`, so that nothing here needs pytest). A class that knows as much beforehand
writes `test_... = None` with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol
from unittest import SkipTest

from mlops_obs.errors import Conflict, TargetError
from mlops_obs.rollout.ports import Finishes, TrafficTarget, WayBack

Split = dict[str, int]
OLD, NEW = "v1", "v2"


class Rig(Protocol):
    """A platform that serves revision `v1` with all the traffic, and the adapter under test.

    Attributes:
        target: the adapter.
        patience: seconds after which the platform must show what it accepted.
        going_down_is_all_or_nothing: the platform can take a canary back to 0 % only, not to a smaller share.
    """

    target: TrafficTarget
    patience: float
    going_down_is_all_or_nothing: bool

    def package(self, revision: str) -> str:
        """Return a package that can be deployed as `revision`; `v1`'s is the one that runs."""
        ...

    def meddle(self) -> Split | None:
        """Change the split behind the adapter's back while v2 has a share; return what it must read then, None if nobody can."""
        ...

    def kill(self, revision: str) -> None:
        """Let `revision` be unable to serve for good: pods gone, revision deleted, room taken."""
        ...

    def losing_the_answer(self) -> AbstractContextManager[None]:
        """Within: the first change of the split is applied, but the adapter gets no answer to it."""
        ...

    def unsplittable(self) -> TrafficTarget | None:
        """Return an adapter on a platform that cannot split traffic, None if there is no such platform."""
        ...

    def lying(self) -> bool:
        """From now on let the platform's status say what was asked for, and route nothing of it; False if it has no such status."""
        ...

    def snapshot(self) -> Any:
        """Return everything that a write of the adapter's could change on the platform (of `unsplittable`'s, once that was asked for)."""
        ...


class TargetConformance:
    """The claims. Each takes the fixture `rig`."""

    # --- deploy -------------------------------------------------------------------------------------------------

    def test_a_deployed_revision_is_ready_at_weight_zero(self, rig: Rig) -> None:
        """Nobody is served by a canary that was only deployed."""
        rig.target.deploy(NEW, rig.package(NEW))

        _same({OLD: 100}, _split(rig), "the split after deploy")

    def test_deploying_twice_changes_nothing(self, rig: Rig) -> None:
        """A controller that was killed after the call makes it again."""
        rig.target.deploy(NEW, rig.package(NEW))
        before = rig.snapshot()
        rig.target.deploy(NEW, rig.package(NEW))

        _same(before, rig.snapshot(), "the platform after a second deploy")

    def test_another_package_under_a_running_revision_is_a_conflict(self, rig: Rig) -> None:
        """A revision's name means one package."""
        rig.target.deploy(NEW, rig.package(NEW))

        _refused(lambda: rig.target.deploy(NEW, rig.package("v9")), Conflict)

    def test_another_package_under_the_serving_revision_is_a_conflict(self, rig: Rig) -> None:
        """Also for the revision that no rollout has brought."""
        _refused(lambda: rig.target.deploy(OLD, rig.package("v9")), Conflict)
        _same({OLD: 100}, _split(rig), "the split")

    def test_a_platform_that_cannot_split_refuses_before_anything_is_changed(self, rig: Rig) -> None:
        """The reason is told, and the first revision goes on as it was."""
        target = rig.unsplittable()
        if target is None:
            raise SkipTest("this platform can always split its traffic")
        before = rig.snapshot()

        error = _refused(lambda: target.deploy(NEW, rig.package(NEW)), TargetError)

        _same(before, rig.snapshot(), "the platform after the refusal")
        _that(bool(error.todo), f"the refusal says what to do: {error}")

    # --- weights ------------------------------------------------------------------------------------------------

    def test_weights_that_are_set_are_the_weights_that_are_read(self, rig: Rig) -> None:
        """A platform may apply them a moment later."""
        _go(rig, 20)

    def test_a_revision_can_go_all_the_way_up(self, rig: Rig) -> None:
        """Through every step, each from the one before."""
        for share in (5, 20, 50, 99, 100):
            _go(rig, share)

    def test_a_canary_can_be_taken_back_to_zero_from_every_step(self, rig: Rig) -> None:
        """The way back is short wherever one stands."""
        for share in (1, 20, 50, 99):
            _go(rig, share)
            _set(rig, 0)

    def test_a_share_can_be_made_smaller_without_being_taken_back(self, rig: Rig) -> None:
        """E.g. by a person, or by a pace that the error budget slows down."""
        _go(rig, 50)
        if rig.going_down_is_all_or_nothing:
            _refused(lambda: rig.target.set_weights({OLD: 80, NEW: 20}, {OLD: 50, NEW: 50}), TargetError)
            _same({OLD: 50, NEW: 50}, _split(rig), "the split after the refusal")
        else:
            _set(rig, 20)

    def test_setting_what_is_set_succeeds_whatever_was_expected(self, rig: Rig) -> None:
        """The repetition of a change that was applied is no error."""
        _go(rig, 20)

        rig.target.set_weights({OLD: 80, NEW: 20}, {OLD: 100})

        _same({OLD: 80, NEW: 20}, _split(rig), "the split")

    def test_weights_that_are_not_as_expected_are_left_alone(self, rig: Rig) -> None:
        """Compare and set: who was first wins, and the other one is told."""
        _go(rig, 20)

        _refused(lambda: rig.target.set_weights({OLD: 50, NEW: 50}, {OLD: 100}), Conflict)

        _same({OLD: 80, NEW: 20}, _split(rig), "the split after the conflict")

    def test_somebody_elses_change_is_seen_and_is_a_conflict(self, rig: Rig) -> None:
        """Weights are read from the platform and never from memory."""
        _go(rig, 20)
        found = rig.meddle()
        if found is None:
            raise SkipTest("nobody can change the split beside this adapter")
        _eventually(rig, found)

        _refused(lambda: rig.target.set_weights({OLD: 50, NEW: 50}, {OLD: 80, NEW: 20}), Conflict)

        _same(found, _split(rig), "the split after the conflict")

    def test_an_unknown_revision_gets_no_traffic(self, rig: Rig) -> None:
        """Requests to it would fail."""
        rig.target.deploy(NEW, rig.package(NEW))

        _refused(lambda: rig.target.set_weights({OLD: 80, "v9": 20}, {OLD: 100}), TargetError)

        _same({OLD: 100}, _split(rig), "the split after the refusal")

    def test_weights_that_do_not_sum_to_a_hundred_are_refused(self, rig: Rig) -> None:
        """Half a split is a mistake, not a wish."""
        rig.target.deploy(NEW, rig.package(NEW))

        _refused(lambda: rig.target.set_weights({OLD: 80, NEW: 10}, {OLD: 100}), TargetError)

        _same({OLD: 100}, _split(rig), "the split after the refusal")

    def test_a_change_whose_answer_was_lost_is_repaired_by_repeating_it(self, rig: Rig) -> None:
        """Applied and timed out looks like failed; asking again must neither fail nor do more."""
        rig.target.deploy(NEW, rig.package(NEW))
        with rig.losing_the_answer():
            _refused(lambda: rig.target.set_weights({OLD: 80, NEW: 20}, {OLD: 100}), TargetError)

        _set(rig, 20, expected={OLD: 100})

    def test_weights_that_are_only_echoed_are_not_believed(self, rig: Rig) -> None:
        """What the status says and what the route does are two things."""
        rig.target.deploy(NEW, rig.package(NEW))
        if not rig.lying():
            raise SkipTest("this platform has no status apart from its route")
        try:
            rig.target.set_weights({OLD: 80, NEW: 20}, {OLD: 100})
        except TargetError:
            return  # said at once is as good

        for _ in range(10):
            time.sleep(0.05)
            try:
                seen = _split(rig)
            except TargetError:
                continue
            _that(seen.get(NEW, 0) == 0, f"{NEW} is said to have {seen.get(NEW, 0)} %, and gets nothing")

    # --- the way back and the end ----------------------------------------------------------------------------------

    def test_the_way_back_is_told_to_be_there_while_it_is(self, rig: Rig) -> None:
        """Before traffic may rise, somebody asks this."""
        _go(rig, 20)
        before = rig.snapshot()

        back = rig.target.way_back(OLD)

        _that(back.ready, f"{OLD} can take all traffic back: {back}")
        _that(back.seconds is None or back.seconds >= 0, f"seconds are a time: {back}")
        _same(before, rig.snapshot(), "the platform after a look")

    def test_a_way_back_that_is_lost_is_told_with_its_reason(self, rig: Rig) -> None:
        """A rollout must not go on without one."""
        _go(rig, 20)
        rig.kill(OLD)
        deadline = time.monotonic() + rig.patience
        back = _back(rig)
        while back.ready and time.monotonic() < deadline:
            time.sleep(0.05)
            back = _back(rig)

        _that(not back.ready, f"{OLD} is dead, and the way back is said to be there: {back}")
        _that(OLD in back.reason, f"the reason names it: {back}")

    def test_there_is_no_way_back_to_a_revision_that_never_was(self, rig: Rig) -> None:
        """A misspelt name is not a promise."""
        rig.target.deploy(NEW, rig.package(NEW))

        _that(not rig.target.way_back("v9").ready, "v9 was never deployed")

    def test_at_a_hundred_percent_the_way_back_is_as_it_is_said(self, rig: Rig) -> None:
        """Either all traffic can return, or it is told before anybody relies on it."""
        _go(rig, 100)
        if rig.target.way_back(OLD).ready:
            _set(rig, 0, expected={NEW: 100})
        else:
            _refused(lambda: rig.target.set_weights({OLD: 100}, {NEW: 100}), TargetError)
            _same({NEW: 100}, _split(rig), "the split after the refusal")

    def test_finishing_makes_the_new_revision_the_only_one_and_can_be_repeated(self, rig: Rig) -> None:
        """The split stays as it was, and the next rollout starts from there."""
        if not isinstance(rig.target, Finishes):
            raise SkipTest("this platform needs no last act")
        _go(rig, 100)

        for _ in range(2):
            _retried(rig, lambda: rig.target.finish(NEW) if isinstance(rig.target, Finishes) else None)
            _eventually(rig, {NEW: 100})
        _retried(rig, lambda: rig.target.deploy("v3", rig.package("v3")))

        _same({NEW: 100}, _split(rig), "the split after the next deploy")

    def test_finishing_a_revision_without_all_the_traffic_is_a_conflict(self, rig: Rig) -> None:
        """What still serves must not be removed."""
        if not isinstance(rig.target, Finishes):
            raise SkipTest("this platform needs no last act")
        _go(rig, 20)
        target = rig.target

        _refused(lambda: target.finish(NEW), Conflict)

        _same({OLD: 80, NEW: 20}, _split(rig), "the split after the conflict")


def _go(rig: Rig, share: int) -> None:
    _retried(rig, lambda: rig.target.deploy(NEW, rig.package(NEW)))
    _set(rig, share)


def _set(rig: Rig, share: int, expected: Mapping[str, int] | None = None) -> None:
    """Set a share and wait until it is read; what is refused for the moment is asked for again, as the controller does."""
    wanted = {OLD: 100 - share, NEW: share}
    before = expected or _split(rig)
    _retried(rig, lambda: rig.target.set_weights(wanted, before))
    _eventually(rig, {revision: percent for revision, percent in wanted.items() if percent})


def _retried(rig: Rig, act: Callable[[], None]) -> None:
    deadline = time.monotonic() + rig.patience
    while True:
        try:
            return act()
        except Conflict:
            raise
        except TargetError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def _back(rig: Rig) -> WayBack:
    try:
        return rig.target.way_back(OLD)
    except TargetError as error:  # it cannot be read while the platform is just taking the revision out
        return WayBack(True, str(error))


def _split(rig: Rig) -> Split:
    return {revision: percent for revision, percent in sorted(rig.target.weights().items()) if percent}


def _eventually(rig: Rig, wanted: Split) -> None:
    """Wait for a split; a platform that is just changing it may not tell any for a moment."""
    deadline = time.monotonic() + rig.patience
    seen: Any = None
    while time.monotonic() < deadline:
        try:
            seen = _split(rig)
        except TargetError as error:
            seen = error
        if seen == wanted:
            return
        time.sleep(0.05)
    _same(wanted, seen, f"the split after {rig.patience:g} s")


def _refused(act: Callable[[], Any], kind: type[TargetError]) -> TargetError:
    try:
        act()
    except kind as error:
        return error
    raise AssertionError(f"it was accepted, and {kind.__name__} was due")


def _same(expected: Any, actual: Any, what: str) -> None:
    _that(expected == actual, f"{what} is {actual}, not {expected}")


def _that(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)
