"""The detector of a whole model: what it must find and how fast, and what it must leave alone."""

import json

import numpy as np
import pytest

from mlops_obs.collectors.drift.alarms import Budget, Detector
from mlops_obs.collectors.drift.columns import Categories
from mlops_obs.collectors.drift.partition import cells_of
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.results import Change
from mlops_obs.errors import StateError

BUDGET = Budget(1, rows=100_000)
NAMES = ["web", "shop", "phone", "agent"]


def table(rng, rows):
    return {
        "age": rng.normal(45, 12, rows),
        "income": rng.lognormal(10, 1, rows),
        "balance": np.where(rng.random(rows) < 0.8, 0.0, rng.exponential(100, rows)),
        "gap": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows)),
        "channel": Categories(rng.choice(4, rows, p=[0.5, 0.3, 0.15, 0.05]), NAMES),
        "merchant": Categories((rng.zipf(1.4, rows) % 5000).astype(np.int64), [f"m{place}" for place in range(5000)]),
    }


def cells(reference, block, detector):
    return np.stack([cells_of(reference.partition(name), block[name]) for name in detector.names], axis=1)


def run(block, *, reference_rows=5000, seed=0, quiet=1000, **options):
    """Return the alarms of `quiet` normal rows followed by `block(rng)`, by (row after the change, feature, change)."""
    rng = np.random.default_rng(seed)
    reference = ReferenceProfile.from_block(table(rng, reference_rows))
    detector = Detector.of(reference, BUDGET, **options)
    early = detector.update_cells(cells(reference, table(rng, quiet), detector))
    assert not early
    return detector.update_cells(cells(reference, block(rng), detector))


def with_app(data, rng):
    return Categories(np.where(rng.random(data.codes.size) < 0.05, 4, data.codes), [*NAMES, "app"])


def changed(name, change, rows=2000):
    def block(rng):
        data = table(rng, rows)
        return {**data, name: change(data[name], rng)}

    return block


@pytest.mark.parametrize(
    ("name", "change", "kinds", "within"),
    [
        ("age", lambda x, _: x + 6, {Change.LOCATION}, 450),
        ("age", lambda x, _: 45 + 1.7 * (x - 45), {Change.SCALE}, 300),
        ("income", lambda x, _: x * 100, {Change.UNIT, Change.TAIL}, 20),
        ("gap", lambda x, rng: np.where(rng.random(x.size) < 0.3, np.nan, x), {Change.MISSING}, 200),
        ("age", lambda x, rng: np.where(rng.random(x.size) < 0.05, np.nan, x), {Change.MISSING}, 300),
        ("channel", lambda x, rng: with_app(x, rng), {Change.NEW_CATEGORY}, 300),
        ("channel", lambda x, rng: Categories(rng.choice(4, x.codes.size), NAMES), {Change.FREQUENCIES}, 300),
        ("channel", lambda x, _: np.ones(x.codes.size), {Change.INVALID}, 20),
    ],
)  # fmt: skip
def test_a_change_is_found_soon_and_named_by_feature_and_kind(name, change, kinds, within):
    first = run(changed(name, change))[0]

    assert first.feature == name
    assert first.change in kinds
    assert first.row - 1000 <= within
    assert first.rows.earliest - 30 <= 1000 <= first.rows.latest + 30
    assert first.words.startswith(name)


def test_normal_rows_stay_silent_whatever_the_size_of_the_reference():
    """180,000 rows allow 1.8 alarms; the interval of a finite reference makes it a tenth of that."""
    alarms = [
        one
        for rows in (500, 2000, 10_000)
        for seed in (1, 2, 3)
        for one in run(lambda rng: table(rng, 20_000), reference_rows=rows, seed=seed)
    ]

    assert len(alarms) <= 1


def test_a_change_that_stays_is_one_alarm_and_ends_when_it_ends():
    rng = np.random.default_rng(3)
    reference = ReferenceProfile.from_block(table(rng, 5000))
    detector = Detector.of(reference, BUDGET)
    broken = changed("gap", lambda x, _: x + 2, 20_000)(rng)

    alarms = detector.update_cells(cells(reference, broken, detector))
    assert [one.feature for one in alarms] == ["gap"]
    assert detector.active == ("gap",)

    detector.update_cells(cells(reference, table(rng, 20_000), detector))
    assert detector.active == ()
    again = detector.update_cells(cells(reference, broken, detector))
    assert [one.feature for one in again] == ["gap"]


def test_one_sentinel_row_makes_no_alarm_and_hides_none():
    def sentinel(x, _):
        return np.where(np.arange(x.size) == 5, 999_999_999.0, x)

    assert run(changed("age", sentinel)) == []
    assert run(changed("age", lambda x, rng: sentinel(x + 6, rng)))[0].feature == "age"


def test_a_feature_that_the_model_does_not_use_stays_silent_and_costs_the_others_nothing():
    importance = {"age": 1.0, "income": 0.0, "balance": 0.0, "gap": 0.0, "channel": 0.0, "merchant": 0.0}

    assert run(changed("income", lambda x, _: x * 100), importance=importance) == []
    alone = run(changed("age", lambda x, _: x + 6), importance=importance)[0]
    shared = run(changed("age", lambda x, _: x + 6))[0]
    assert alone.row <= shared.row


def test_a_tolerated_shift_is_no_alarm():
    assert run(changed("age", lambda x, _: x + 12 * 0.15, 50_000), tolerance=0.3, reference_rows=20_000) == []
    assert run(changed("age", lambda x, _: x + 12 * 0.6, 50_000), tolerance=0.3, reference_rows=20_000) != []


def test_the_cadence_of_looks_does_not_change_what_is_found():
    rng = np.random.default_rng(8)
    reference = ReferenceProfile.from_block(table(rng, 5000))
    block = changed("age", lambda x, _: x + 8)(rng)
    found = []
    for every in (50, 200):
        detector = Detector.of(reference, Budget.parse("1 per 90d"), started=0.0)
        looked = cells(reference, block, detector)
        for first in range(0, 2000, every):
            part = looked[first : first + every]
            counts = {
                name: np.bincount(part[:, place], minlength=reference.partition(name).expected.size)
                for place, name in enumerate(detector.names)
            }
            found += [(every, one.feature, one.row) for one in detector.update(float(first + every), counts, every)][:1]
            if found and found[-1][0] == every:
                break

    assert [one[1] for one in found] == ["age", "age"]
    assert abs(found[0][2] - found[1][2]) <= 200


def test_rows_that_repeat_count_as_the_independent_rows_that_they_are_worth():
    rng = np.random.default_rng(9)
    reference = ReferenceProfile.from_columns({"age": rng.normal(size=5000)})
    partition = reference.partition("age")

    def alarms(weight):
        stream = np.random.default_rng(10)
        detector = Detector.of(reference, Budget.parse("1 per 90d"), started=0.0)
        found = 0
        for hour in range(1, 200):
            customers = np.repeat(stream.normal(size=20), 30)  # each asks thirty times
            counts = np.bincount(partition.cells(customers), minlength=partition.expected.size)
            found += len(detector.update(3600.0 * hour, {"age": counts}, 600, {"age": weight}))
        return found

    assert alarms(1.0) > 0
    assert alarms(30.0) == 0


def test_evidence_of_others_shares_the_budget():
    rng = np.random.default_rng(11)
    reference = ReferenceProfile.from_columns({"age": rng.normal(size=5000)})
    detector = Detector.of(reference, BUDGET, outside={"errors": 1.0})

    alarms = [one for _ in range(40) for one in detector.update(0.0, {}, 100, outside={"errors": 0.8})]

    assert alarms[0].feature == "errors"
    assert alarms[0].change is Change.CONCEPT


def test_an_alarm_is_plain_data_even_for_the_strongest_evidence():
    alarms = run(changed("channel", lambda x, _: np.ones(x.codes.size), 50_000))

    told = json.loads(json.dumps([one.to_json() for one in alarms], allow_nan=False))
    assert told[0]["alarm"] is True
    assert told[0]["feature"] == "channel"
    assert abs(told[0]["since"]["row"] - 1000) <= 12  # a block of history


def test_the_state_survives_a_restart_in_the_middle_of_a_change():
    rng = np.random.default_rng(12)
    reference = ReferenceProfile.from_block(table(rng, 5000))
    first, second = (Detector.of(reference, BUDGET) for _ in range(2))
    block = cells(reference, changed("age", lambda x, _: x + 6)(rng), first)

    before = first.update_cells(block[:100])
    second.restore(json.loads(json.dumps(first.to_json(), allow_nan=False)))
    goes_on, restarted = first.update_cells(block[100:]), second.update_cells(block[100:])

    assert before == []
    assert [one.to_json() for one in restarted] == [one.to_json() for one in goes_on]
    assert restarted[0].feature == "age"


@pytest.mark.parametrize(
    "harm",
    [
        lambda state: None,
        lambda state: {},
        lambda state: {**state, "version": 9},
        lambda state: {**state, "wealth": state["wealth"][1:]},
        lambda state: {**state, "wealth": ["x"] * len(state["wealth"])},
        lambda state: {**state, "wealth": [float("nan")] * len(state["wealth"])},
        lambda state: {**state, "shape": []},
        lambda state: {**state, "active": [1]},
        lambda state: {**state, "history": [{}]},
    ],
)
def test_a_damaged_state_is_refused_and_leaves_the_detector_as_it_was(harm):
    reference = ReferenceProfile.from_columns({"age": np.random.default_rng(1).normal(size=1000)})
    detector = Detector.of(reference, BUDGET)
    before = detector.to_json()

    with pytest.raises(StateError, match="OBS-ALM-003"):
        detector.restore(harm(before))
    assert detector.to_json() == before


def test_a_reference_without_values_or_with_one_value_can_be_watched():
    reference = ReferenceProfile.from_columns({"null": np.full(500, np.nan), "constant": np.full(500, 3.0)})
    detector = Detector.of(reference, BUDGET)

    def look(block):
        return [one.feature for one in detector.update_cells(cells(reference, block, detector))]

    assert look({"null": np.full(2000, np.nan), "constant": np.full(2000, 3.0)}) == []
    assert set(look({"null": np.full(200, 1.0), "constant": np.full(200, 4.0)})) == {"null", "constant"}
