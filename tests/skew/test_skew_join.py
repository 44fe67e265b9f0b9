"""The join of the sides: whichever comes first, in bounded memory, and nothing is lost in silence."""

import pytest

from mlops_obs.collectors.skew import Joiner, Recomputed, Served, Settings, SkewWatch
from mlops_obs.errors import SpecError
from mlops_obs.metric_names import SKEW_NAMED, SKEW_PAIRS, SKEW_UNJOINED


def served(name, time=0.0, entity=""):
    return Served(name, entity, time, {"a": 1.0})


def test_either_side_may_come_first():
    joiner = Joiner()

    assert joiner.served(served("r1")) is None
    assert joiner.recomputed(Recomputed("r1", {"a": 1.0})).served.request_id == "r1"
    assert joiner.recomputed(Recomputed("r2", {"a": 1.0})) is None
    assert joiner.served(served("r2")).offline.request_id == "r2"
    assert joiner.waiting == {"served": 0, "offline": 0}


def test_what_waits_is_bounded_and_what_is_given_up_is_counted_by_side():
    joiner = Joiner(capacity=10)
    for at in range(25):
        joiner.served(served(f"s{at}"))
    for at in range(13):
        joiner.recomputed(Recomputed(f"o{at}", {}))

    assert joiner.waiting == {"served": 10, "offline": 10}
    assert joiner.given_up == {"served": 15, "offline": 3}
    assert joiner.recomputed(Recomputed("s24", {})) is not None
    assert joiner.recomputed(Recomputed("s0", {})) is None


def test_a_request_that_waited_too_long_is_given_up_by_the_clock_of_the_requests():
    joiner = Joiner(max_age=60.0)

    joiner.served(served("old", time=0.0))
    joiner.served(served("new", time=61.0))

    assert joiner.waiting["served"] == 1
    assert joiner.given_up["served"] == 1


def test_earlier_requests_of_an_entity_become_its_history_and_later_ones_do_not():
    joiner = Joiner(history=2)
    joined = []
    for name, time in (("r3", 30.0), ("r1", 10.0), ("r2", 20.0), ("r4", 40.0)):
        joiner.recomputed(Recomputed(name, {"a": time}))
        joined.append(joiner.served(served(name, time, "anna")))
        joiner.recomputed(Recomputed("x" + name, {"a": -time}))
        joiner.served(served("x" + name, time, "bert"))

    assert [[values["a"] for values in one.offline.earlier] for one in joined] == [[], [], [10.0], [30.0, 20.0]]


@pytest.mark.parametrize("wrong", [{"capacity": 0}, {"max_age": 0.0}, {"history": -1}])
def test_a_joiner_without_room_is_refused(wrong):
    with pytest.raises(SpecError, match="OBS-SKW-003"):
        Joiner(**wrong)


@pytest.mark.parametrize("wrong", [{"tolerated": 0.0}, {"tolerated": 0.5}, {"false_findings": 0.0}, {"pairs": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(SpecError, match="OBS-SKW-004"):
        Settings(**wrong)


def test_the_readings_count_every_request_by_kind_and_say_what_is_named():
    watch = SkewWatch("shop", ["a", "b"], joiner=Joiner(capacity=5))
    for at in range(30):
        watch.served(Served(f"r{at}", f"c{at}", float(at), {"a": 1.5 * at, "b": at}, {"a": 150.0 * at, "b": at}, revision="v2"))

    readings = watch.read()

    assert all(tuple(one.labels) == one.metric.labels for one in readings)
    pairs = {(one.labels["feature"], one.labels["kind"]): one.value for one in readings if one.metric is SKEW_PAIRS}
    assert pairs == {("a", "equal"): 1, ("a", "unit"): 29, ("b", "equal"): 30}
    assert [(one.labels["feature"], one.labels["revision"], one.labels["kind"]) for one in readings if one.metric is SKEW_NAMED] == [
        ("a", "v2", "unit")
    ]
    assert {one.labels["side"]: one.value for one in readings if one.metric is SKEW_UNJOINED} == {"served": 25, "offline": 0}


def test_only_the_named_features_and_few_revisions_become_labels():
    watch = SkewWatch("shop", ["a"])
    for at in range(50):
        watch.served(Served(f"r{at}", f"c{at}", float(at), {"a": 1.0, "secret": 2.0}, {"a": 1.0, "secret": 3.0}, revision=f"v{at}"))

    readings = watch.read()

    assert {one.labels["feature"] for one in readings if one.metric is SKEW_PAIRS} == {"a"}
    assert len({one.labels["revision"] for one in readings if one.metric is SKEW_PAIRS}) == 9


def test_one_revision_is_named_and_the_other_is_not():
    watch = SkewWatch("shop", ["a"])
    for at in range(60):
        x, wrong = 1.5 + at, at % 2
        watch.served(Served(f"r{at}", f"c{at}", float(at), {"a": x}, {"a": 100 * x if wrong else x}, revision="v3" if wrong else "v2"))

    assert [one.revision for one in watch.findings()] == ["v3"]
