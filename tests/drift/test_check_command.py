"""Looks at one table after the other, under one budget of false alarms."""

import json

import numpy as np
import pytest
from test_score_command import lender, write_csv
from typer.testing import CliRunner

from mlops_obs.cli.drift import app
from mlops_obs.collectors.drift.alarms import Budget
from mlops_obs.collectors.drift.looks import Look, State, look, used
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.errors import SpecError, StateError

RUN = CliRunner()
DAY, T0 = 86_400.0, 1.8e9
BUDGET = Budget.parse("1 per 90d")


def normal(rows, seed, shift=0.0, features=5):
    random = np.random.default_rng(seed)
    return ReferenceProfile.from_columns({f"f{place}": random.normal(shift if place == 0 else 0, 1, rows) for place in range(features)})


def nights(reference, tables, budget=BUDGET):
    state, told = State(), []
    for night, table in enumerate(tables):
        seen, state = look(state, reference, table, budget=budget, now=T0 + night * DAY, every=DAY)
        state = State.from_json(json.loads(json.dumps(state.to_json(), allow_nan=False)))
        told.append(seen)
    return told, state


def test_a_look_may_spend_what_the_time_since_the_last_one_is_worth_of_half_of_the_budget():
    reference, table = normal(4_000, 0), normal(500, 1)

    first, state = look(State(), reference, table, budget=BUDGET, now=T0, every=DAY)
    later, _ = look(state, reference, normal(500, 2), budget=BUDGET, now=T0 + DAY / 2, every=DAY)

    assert first.alpha == pytest.approx(0.5 / 90)
    assert later.alpha == pytest.approx(0.25 / 90)


def test_a_look_after_a_year_is_still_strict():
    _, state = look(State(), normal(4_000, 0), normal(500, 1), budget=BUDGET, now=T0, every=DAY)

    seen, _ = look(state, normal(4_000, 0), normal(500, 2), budget=BUDGET, now=T0 + 365 * DAY, every=DAY)

    assert seen.alpha == 0.01


def test_a_change_is_new_once_then_still_there_and_then_over():
    reference = normal(4_000, 0)

    told, _ = nights(reference, [normal(800, 1), normal(800, 2, 2.0), normal(800, 3, 2.0), normal(800, 4)])

    assert [(one.new, one.still) for one in told] == [((), ()), (("f0",), ()), ((), ("f0",)), ((), ())]
    assert [one.alarm for one in told] == [False, True, True, False]
    assert told[-1].used == 1.0  # one incident of a budget of one


def test_a_shift_that_no_single_night_shows_is_found_when_the_nights_are_added_up():
    reference = normal(20_000, 0)

    told, _ = nights(reference, [normal(300, 10 + night, 0.25 if night >= 5 else 0.0) for night in range(20)])

    found = [night for night, one in enumerate(told) if one.new]
    assert found
    assert 5 <= found[0] <= 14
    assert told[found[0]].new == ("f0",)
    assert [one.feature for one in told[found[0]].alarms] == ["f0"]  # by the detector, not by that night's table


def test_nights_without_drift_stay_silent():
    reference = normal(5_000, 0, features=20)

    told, _ = nights(reference, [normal(400, 100 + night, features=20) for night in range(60)])

    assert sum(bool(one.new) for one in told) <= 2  # on average 2/3 of one, by the budget


def test_the_table_of_the_last_look_is_no_new_evidence():
    reference, table = normal(4_000, 0), normal(500, 1, 2.0)
    _, state = look(State(), reference, table, budget=BUDGET, now=T0, every=DAY)

    seen, after = look(state, reference, table, budget=BUDGET, now=T0 + 60, every=DAY)

    assert after is state
    assert (seen.repeated, seen.new) == (True, ("f0",))


def test_another_reference_begins_anew_and_says_so():
    _, state = look(State(), normal(4_000, 0), normal(500, 1, 2.0), budget=BUDGET, now=T0, every=DAY)

    seen, _ = look(state, normal(4_000, 7, 2.0), normal(500, 2, 2.0), budget=BUDGET, now=T0 + DAY, every=DAY)

    assert not seen.alarm
    assert "the reference is another one" in seen.notes[0]


def test_incidents_older_than_the_period_are_forgiven():
    looks = [Look(T0 + night * DAY, str(night), 100, 0.01, ("a",) if night in (0, 1, 80) else ()) for night in range(100)]

    assert used(looks[:50], BUDGET) == 1.0
    assert used(looks[:85], BUDGET) == 2.0
    assert used(looks, BUDGET) == 1.0
    assert used(looks, Budget.parse("2 per 1000 rows")) == 0.0


@pytest.mark.parametrize("damage", [None, [], {}, {"format": 2}, {"format": 1, "reference": "", "looks": [[1]], "detector": {}}])
def test_a_state_that_is_none_is_refused(damage):
    with pytest.raises(StateError, match="OBS-DRF-037"):
        State.from_json(damage)


@pytest.fixture
def world(tmp_path):
    train = write_csv(tmp_path / "train.csv", lender(4_000))
    state = tmp_path / "looks" / "state.json"

    def check(table, *more):
        done = RUN.invoke(app, ["check", "-r", train, "-c", table, "--state", str(state), *more])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    def table(seed, scale=1.0):
        return write_csv(tmp_path / f"{seed}-{scale}.csv", lender(1_000, seed=seed, income=lambda values, random: values * scale))

    return check, table, state


def test_a_nightly_check_exits_3_while_there_is_drift_and_0_before_and_after(world):
    check, table, _ = world

    codes = [check(table(seed, scale)).exit_code for seed, scale in ((1, 1.0), (2, 100.0), (3, 100.0), (4, 1.0))]

    assert codes == [0, 3, 3, 0]


def test_with_only_new_a_drift_that_was_reported_exits_0_and_is_still_said(world):
    check, table, _ = world
    first = check(table(1, 100.0), "--only-new")
    second = check(table(2, 100.0), "--only-new")

    assert (first.exit_code, second.exit_code) == (3, 0)
    assert second.stdout.startswith("nothing new; still drifted: income")


def test_the_json_says_the_budget_and_what_is_new(world):
    check, table, _ = world

    answer = json.loads(check(table(1, 100.0), "-o", "json", "--budget", "2 per quarter").stdout)

    assert (answer["alarm"], answer["new"], answer["still"]) == (True, ["income"], [])
    assert answer["budget"] == {"stated": "2 per 90d", "used": 0.5, "alpha": pytest.approx(0.01)}


def test_a_damaged_state_is_put_aside_and_the_check_goes_on(world):
    check, table, state = world
    check(table(1))
    state.write_text("{")

    done = check(table(2))

    assert done.exit_code == 0
    assert "damaged and was put aside as state.json.broken" in done.stderr
    assert state.with_name("state.json.broken").read_text() == "{"


def test_a_budget_that_is_none_is_refused(world):
    _, table, state = world

    done = RUN.invoke(app, ["check", "-r", table(1), "-c", table(2), "--state", str(state), "--budget", "few"])

    assert isinstance(done.exception, SpecError)
    assert "OBS-ALM-001" in str(done.exception)


def test_a_state_that_cannot_be_written_is_said(world):
    _, table, state = world
    state.parent.write_text("")

    done = RUN.invoke(app, ["check", "-r", table(1), "-c", table(2), "--state", str(state)])

    assert isinstance(done.exception, StateError)
    assert "OBS-DRF-038" in str(done.exception)


def test_a_drift_document_names_reference_budget_and_importance(world, tmp_path):
    _, table, state = world
    (tmp_path / "drift.yaml").write_text(
        "service: credit\nbudget: 2 per quarter\nreference: train.csv\nimportance: {income: 0, age: 1, channel: 1}\n"
    )

    done = RUN.invoke(app, ["check", "-c", table(1, 100.0), "--state", str(state), "--spec", str(tmp_path / "drift.yaml"), "-o", "json"])

    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["alarm"], answer["budget"]["stated"]) == (0, False, "2 per 90d")  # income has no importance


def test_a_check_without_any_reference_is_refused(world):
    _, table, state = world

    assert "OBS-DRF-041" in str(RUN.invoke(app, ["check", "-c", table(1), "--state", str(state)]).exception)
