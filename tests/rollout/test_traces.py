"""The traces are what they claim to be: seeded, with the ratios, the noise and the gaps of their story."""

import csv
import io

import numpy as np
import pytest

from mlops_obs.testing.labelled_traces import labelled_bank, said_right
from mlops_obs.testing.traces import CANARY, COLUMNS, FAMILIES, STABLE, UNSEEN, Story, trace


def ratio(drawn, arm, metric="errors"):
    requests, errors, slow = np.nansum(drawn.arm(arm), axis=1)
    return (errors if metric == "errors" else slow) / requests


def test_the_same_arguments_give_the_same_bytes_and_another_seed_gives_others():
    first, again, other = (trace("canary-noise-0.6", 20, seed).csv() for seed in (1, 1, 2))

    assert first == again
    assert first != other


@pytest.mark.parametrize("family", [*FAMILIES, *UNSEEN])
def test_every_family_draws_possible_counts_and_has_a_label(family):
    drawn = trace(family, 20, 1, interval=60)

    assert drawn.requests.shape == (30, 10)
    assert (drawn.errors <= drawn.requests).all()
    assert (drawn.slow <= drawn.requests).all()
    assert drawn.verdict in {"rollback", "promote", "hold"}
    assert drawn.attribution in {"canary", "shared", "telemetry", "none"}
    assert drawn.story.healthy == (drawn.attribution != "canary")


@pytest.mark.parametrize(
    ("family", "metric", "factor"), [("null", "errors", 1), ("errors-10x", "errors", 10), ("errors-10x", "slow", 1), ("slow-4x", "slow", 4)]
)
def test_a_regression_multiplies_the_ratio_of_its_metric_alone(family, metric, factor):
    drawn = trace(family, 2000, 3)

    assert ratio(drawn, STABLE, metric) == pytest.approx(0.005, rel=0.02)
    assert ratio(drawn, CANARY, metric) == pytest.approx(0.005 * factor, rel=0.1)


def test_the_canary_gets_its_weight_of_the_traffic():
    drawn = trace("null", 2000, 1, weight=20)

    assert np.nansum(drawn.arm(CANARY)[0]) / drawn.requests.sum() == pytest.approx(0.2, rel=0.01)


def test_canary_noise_moves_whole_minutes_of_the_canary_alone_by_its_log_sd():
    logs = {STABLE: [], CANARY: []}
    for seed in range(20):
        drawn = trace("canary-noise-0.6", 20_000, seed, interval=60)
        for arm, found in logs.items():
            requests, errors, _ = drawn.arm(arm)
            found.extend(np.log(errors / requests / 0.005))

    assert np.std(logs[CANARY]) == pytest.approx(0.6, rel=0.1)
    assert np.median(logs[CANARY]) == pytest.approx(0.0, abs=0.1)
    assert np.std(logs[STABLE]) < 0.05


def test_shared_noise_moves_both_arms_together():
    drawn = trace("shared-noise", 20_000, 1, interval=60, minutes=300)
    canary, stable = (np.log(drawn.arm(arm)[1] / drawn.arm(arm)[0]) for arm in (CANARY, STABLE))

    assert np.std(stable) == pytest.approx(0.35, rel=0.15)
    assert np.std(canary - stable) < 0.15


def test_noise_with_memory_keeps_its_spread_and_remembers():
    drawn = trace("noise-ar1", 20_000, 1, interval=60, minutes=2000)
    logs = np.log(drawn.arm(CANARY)[1] / drawn.arm(CANARY)[0] / 0.005)

    assert np.std(logs) == pytest.approx(0.4, rel=0.15)
    assert np.corrcoef(logs[1:], logs[:-1])[0, 1] == pytest.approx(0.7, abs=0.1)


def test_pod_noise_stays_with_its_pod():
    drawn = trace("pod-noise", 200_000, 1, interval=60)
    first, second = (np.log(part.sum(axis=0)) for part in np.split(drawn.errors / drawn.requests, 2))

    assert np.abs(first - second).max() < 0.05
    assert np.std(first) > 0.15


def test_an_incident_hits_both_arms_for_its_four_minutes():
    drawn = trace("shared-incident", 2000, 1, interval=60)
    for arm in (STABLE, CANARY):
        share = drawn.arm(arm)[1] / drawn.arm(arm)[0]

        assert share[12:16].mean() == pytest.approx(0.05, rel=0.15)
        assert np.delete(share, range(12, 16)).mean() == pytest.approx(0.005, rel=0.15)


@pytest.mark.parametrize("family", ["telemetry-outage", "telemetry-canary", "telemetry-pod", "telemetry-nan"])
def test_an_outage_of_measurement_takes_five_minutes_of_rows_away_and_nothing_else(family):
    whole, lost = (trace(Story() if one is None else one, 20, 1, interval=60) for one in (None, family))
    gone = np.isnan(lost.arm(CANARY)[0])

    assert list(np.flatnonzero(gone)) == [10, 11, 12, 13, 14]
    assert not np.isnan(whole.arm(CANARY)).any()
    assert np.isnan(lost.arm(STABLE)[0]).any() == (family == "telemetry-outage")


def test_no_traffic_for_the_canary_is_a_table_of_zeros_and_not_of_gaps():
    drawn = trace("traffic-0", 20, 1)

    assert drawn.arm(CANARY)[0].max() == 0
    assert drawn.present.all()


def test_a_sticky_split_drifts_to_thirty_percent():
    drawn = trace("sticky", 2000, 1, interval=60)
    share = drawn.arm(CANARY)[0] / (drawn.arm(CANARY)[0] + drawn.arm(STABLE)[0])

    assert share[0] == pytest.approx(0.10, abs=0.01)
    assert share[-1] == pytest.approx(0.30, abs=0.01)


def test_the_table_has_one_row_per_interval_arm_and_pod_that_was_measured():
    drawn = trace("telemetry-pod", 20, 1, interval=60, start=1000.0)
    rows = list(csv.DictReader(io.StringIO(drawn.csv())))

    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 30 * 10 - 5
    assert {row["arm"] for row in rows} == {STABLE, CANARY}
    assert len({row["pod"] for row in rows}) == 10
    assert float(rows[0]["t"]) == 1000.0


def test_unix_times_stand_in_the_table_to_the_second():
    rows = list(csv.DictReader(io.StringIO(trace("null", 20, 1, minutes=2, start=1_700_000_000.0).csv())))

    assert sorted({row["t"] for row in rows}) == [str(1_700_000_000 + at) for at in range(0, 120, 10)]


def test_a_restarted_pod_comes_back_under_another_name():
    drawn = trace("restarts", 20, 1, interval=60)

    assert len({pod for _, _, pod, *_ in drawn.rows()}) == 10 + 2 * 7


def test_an_interval_that_does_not_divide_a_minute_is_refused():
    with pytest.raises(ValueError, match="does not divide a minute"):
        trace("null", 20, 1, interval=7)


def test_the_bank_is_the_same_for_the_same_seed_and_has_every_answer():
    first, again = (labelled_bank(5, 60) for _ in range(2))

    assert [one.csv() for one in first] == [one.csv() for one in again]
    assert {one.attribution for one in first} == {"canary", "shared", "telemetry", "none"}


def test_an_answer_is_right_only_if_it_names_the_culprit_and_nobody_is_rolled_back_for_it():
    canary, shared, nothing = (trace(name, 20, 1, interval=60) for name in ("errors-10x", "shared-incident", "null"))

    assert said_right(canary, [(60, "rollback", "canary")])
    assert not said_right(canary, [(60, "continue", "none")])
    assert said_right(shared, [(780, "hold", "shared"), (1740, "promote", "none")])
    assert not said_right(shared, [(780, "hold", "telemetry")])
    assert not said_right(shared, [(780, "hold", "shared"), (840, "rollback", "canary")])
    assert not said_right(shared, [(300, "hold", "shared")])
    assert said_right(nothing, [(60, "promote", "none")])
    assert not said_right(nothing, [(60, "hold", "telemetry")])
