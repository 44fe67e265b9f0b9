"""The exit code of the demo is a function of what was observed."""

from __future__ import annotations

import pytest

from mlops_obs.cli.demo.outcome import Inputs, Named, Request, judge

GOOD = {"canary": "v2", "phase": "Promoted", "reason": "accepted at every step"}
BAD = {"canary": "v3", "phase": "RolledBack", "reason": "errors"}
PAGE = {"incident": "credit-risk", "summary": "v3 burns"}
FINE = [Request(0.0, "v1", 200, 0.02), Request(0.1, "v2", 404, 0.02), Request(0.2, "v3", 500, 0.9)]


def held(**changes):
    seen = {"good": GOOD, "bad": BAD, "pages": [PAGE], "requests": FINE} | changes
    return [claim.held for claim in judge(**seen)]


def test_all_four_promises_hold_when_only_the_bad_revision_failed():
    assert held() == [True, True, True, True]


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({"good": GOOD | {"phase": "RolledBack"}}, 0),
        ({"bad": BAD | {"phase": "Promoted"}}, 1),
        ({"pages": []}, 2),
        ({"pages": [PAGE, PAGE]}, 2),
        ({"requests": [*FINE, Request(0.3, "v1", 503, 0.1)]}, 3),
        ({"requests": [*FINE, Request(0.3, "", 0, 10.0)]}, 3),
        ({"requests": []}, 3),
    ],
    ids=["good not promoted", "bad not rolled back", "no page", "two pages", "stable failed", "nobody answered", "no traffic"],
)
def test_each_promise_breaks_alone(changes, broken):
    assert held(**changes) == [index != broken for index in range(4)]


UNIT = [Named("skew", "v3", "loan_amount", "unit", 90.0), Named("drift", "v3", "spend_30d", "unit", 95.0)]


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (UNIT, True),
        ([*UNIT, Named("drift", "v3", "prediction", "missing", 91.0)], True),
        ([], False),
        ([Named("drift", "v3", "loan_amount", "location", 90.0)], False),
        ([Named("drift", "v3", "bureau_score", "unit", 90.0), *UNIT], False),
        ([Named("drift", "v3", "loan_amount", "unit", 101.0)], False),
        ([Named("drift", "v2", "loan_amount", "unit", 90.0)], False),
    ],
    ids=["named", "and its consequence", "silence", "another kind", "a feature that is well", "after the rollback", "another revision"],
)
def test_the_fault_counts_as_named_by_the_right_features_in_time_only(named, expected):
    claim = judge(good=GOOD, bad=BAD, pages=[PAGE], requests=FINE, inputs=Inputs(named, "words", 100.0))[-1]

    assert claim.held is expected


def test_the_claim_says_how_early_the_fault_was_named():
    claim = judge(good=GOOD, bad=BAD, pages=[PAGE], requests=FINE, inputs=Inputs(UNIT, "skew: loan_amount (unit)", 100.0))[-1]

    assert claim.seen == "skew: loan_amount (unit); first 10 s before the rollback"
