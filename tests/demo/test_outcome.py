"""The exit code of the demo is a function of what was observed."""

from __future__ import annotations

import pytest

from mlops_obs.cli.demo.outcome import Request, judge

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
