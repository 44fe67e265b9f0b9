"""The benchmark's arithmetic: shares with exact intervals, times of runs that never end, aims that say what was missed."""

import math

import pytest

from benchmarks.rollout import aims, tables
from benchmarks.rollout.runs import OURS, RULES, Cell, Outcome

NEVER = math.inf


def cell(family="null", rps=20.0, healthy=True, **by_rule):
    quiet = [Outcome(NEVER, 4.0, 0, True)] * 100
    return Cell(family, rps, {rule: by_rule.get(rule.split()[0].lower(), quiet) for rule in RULES}, healthy)


@pytest.mark.parametrize(("hits", "of"), [(0, 200), (1, 200), (7, 50), (50, 50)])
def test_the_interval_of_a_share_is_the_exact_one(hits, of):
    beta = pytest.importorskip("scipy.stats").beta
    low = 0.0 if hits == 0 else beta.ppf(0.025, hits, of - hits + 1)
    high = 1.0 if hits == of else beta.ppf(0.975, hits + 1, of - hits)

    assert tables.interval(hits, of) == pytest.approx((low, high), abs=1e-9)


def test_a_quantile_counts_the_runs_that_never_ended():
    assert tables.quantile([1.0, 2.0, NEVER], 0.5) == 2.0
    assert tables.quantile([1.0, 2.0, NEVER], 0.9) == NEVER


def test_a_single_false_rollback_of_a_hundred_is_no_missed_aim_and_four_are():
    one, four = ([Outcome(3.0, NEVER, 0, False)] * bad + [Outcome(NEVER, 4.0, 0, True)] * (100 - bad) for bad in (1, 4))

    assert all(aim.met for aim in aims.check([cell(ours=one)], [], []))
    missed = [aim for aim in aims.check([cell(ours=four)], [], []) if not aim.met]
    assert any("null" in aim.promise for aim in missed)


def test_a_detection_is_measured_against_argo_and_half_of_kayenta():
    found = cell(
        "errors-10x",
        healthy=False,
        ours=[Outcome(3.0, NEVER, 5, True)] * 100,
        argo=[Outcome(4.0, NEVER, 5, True)] * 100,
        kayenta=[Outcome(5.0, NEVER, 5, True)] * 100,
    )
    verdicts = {aim.promise.split(":")[0]: aim.met for aim in aims.check([], [found], [])}

    assert verdicts["no later than Argo failureLimit 3"]
    assert not verdicts["in at most half of Kayenta's time"]


def test_every_table_has_a_row_for_every_rule_and_names_what_never_came():
    bad = cell("errors-10x", healthy=False)

    assert tables.false_rollbacks([cell()]).count("\n") == len(RULES) + 1
    assert "never" in tables.detection([bad])
    assert "100 %" in tables.promotions([cell()])
    assert tables.bank([("shared", 20.0, dict.fromkeys(RULES, True) | {OURS: False})]).count("100.0 %") == 2 * (len(RULES) - 1)
