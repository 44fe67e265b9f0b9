"""The report of one rollout: what was not counted stays a gap, what people wrote stays text, and the same log gives the same page."""

from __future__ import annotations

import re

import pytest

from mlops_obs.dashboards.charts import Band, Frame, Line, time_chart
from mlops_obs.dashboards.rollout_report import render_rollout_report, share_points, wilson

T0 = 1_800_000_000.0
STANDING = {
    "rollout": "credit-risk-v2-1", "service": "credit-risk", "stable": "v1", "canary": "v2", "phase": "RolledBack", "reason": "because",
    "created_at": T0, "began_at": T0 + 5, "ended_at": T0 + 60, "evidence": {}, "holds": {"git": "rollout.yaml named v2"},
}  # fmt: skip


def piece(start, canary=(10, 1), stable=(40, 0), missing=""):
    def counts(total, errors):
        return {"total": total, "errors": errors, "timed": total, "slow": 0}

    return {
        "start": T0 + start,
        "end": T0 + start + 2,
        "weight": 20,
        "missing": missing,
        "canary": counts(*canary),
        "stable": counts(*stable),
    }


def record(seq, kind="decision", action="advance", **changes):
    fields = {
        "seq": seq, "hash": f"{seq:064x}", "at": T0 + seq, "kind": kind, "action": action, "actor": "controller", "ok": True,
        "reason": "it may", "weights_before": {"v1": 100}, "weights_after": {"v1": 80, "v2": 20}, "evidence": {},
    }  # fmt: skip
    return {**fields, **changes}


def test_shares_are_counted_over_a_stretch_and_a_stretch_without_requests_is_a_gap():
    slices = [piece(0), piece(2, canary=(30, 3)), piece(20, canary=(0, 0)), piece(30, canary=(5, 5))]

    line, band = share_points(slices, "canary", "errors", "total", 10.0)

    assert [share for _, share in line] == [pytest.approx(0.1), None, None, pytest.approx(1.0)]
    assert [low is None for _, low, _ in band] == [False, True, True, False]
    assert band[0][1] < 0.1 < band[0][2]


def test_slices_that_were_not_seen_whole_are_left_out():
    line, _ = share_points([piece(0), piece(2, canary=(10, 10), missing="no sample of v2")], "canary", "errors", "total", 10.0)

    assert [share for _, share in line] == [pytest.approx(0.1)]


@pytest.mark.parametrize(
    ("bad", "total", "low", "high"), [(0, 0, 0.0, 1.0), (0, 10, 0.0, 0.278), (5, 10, 0.237, 0.763), (10, 10, 0.722, 1.0)]
)
def test_an_interval_is_as_wide_as_few_requests_leave_it(bad, total, low, high):
    assert wilson(bad, total) == pytest.approx((low, high), abs=1e-3)


def test_what_people_wrote_is_text_and_never_markup():
    asked = record(2, "request", "abort", actor="<b>ada</b>", reason="<script>alert(1)</script>")
    page = render_rollout_report({**STANDING, "reason": "<i>why</i>", "canary": "<v2>"}, [record(1), asked], [piece(0)])

    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<i>why</i>" not in page
    assert "by &lt;b&gt;ada&lt;/b&gt;" in page


def test_a_decision_is_told_once_and_what_failed_is_told_as_failed():
    log = [
        record(1),
        record(2),
        record(3, action="wait"),
        record(4, "result", ok=False),
        record(5, "result"),
        record(6, "request", "pause"),
    ]
    page = render_rollout_report(STANDING, log, [])

    assert page.count('<span class="no">') == 3
    assert "<b>failed</b>" in page
    assert "The last 6" not in page
    assert "6 records, the last 6 with hash" in page
    assert page == render_rollout_report(STANDING, log, [])


def test_an_act_that_fails_again_and_again_is_one_decision_and_one_failure_with_its_count():
    back = {"v1": 100, "v2": 0}
    tries = [
        record(2 * k + index, kind, "rollback", weights_after=after, ok=kind == "decision")
        for k in range(9)
        for index, (kind, after) in enumerate((("decision", back), ("result", None)))
    ]
    page = render_rollout_report(STANDING, [*tries, record(30, action="rollback", weights_after=back, phase="RolledBack")], [])

    assert page.count('<span class="no">') == 3
    assert "<b>failed 9 times</b>" in page


def test_holds_for_different_reasons_are_told_each():
    holds = [record(k, action="hold", evidence={"attribution": one}) for k, one in enumerate(("shared", "telemetry", "shared", "shared"))]

    assert render_rollout_report(STANDING, holds, []).count('<span class="no">') == 3


def test_a_rollout_that_has_only_begun_has_a_page_too():
    begun = {**STANDING, "phase": "Progressing", "ended_at": None, "began_at": None, "stable": "", "holds": {}}

    page = render_rollout_report(begun, [], [])

    assert "v2 is on its way" in page
    assert "What is left" not in page


def test_an_interval_is_drawn_under_its_line_and_broken_where_nothing_is_known():
    band = Band([(0.0, 0.1, 0.2), (1.0, 0.1, 0.3), (2.0, None, None), (3.0, 0.2, 0.4), (4.0, 0.2, 0.4), (5.0, None, None), (6.0, 0.1, 0.2)])
    drawn = time_chart([Line("v2", [(0.0, 0.15), (6.0, 0.15)])], Frame(0.0, 6.0), bands=[band])

    assert len(re.findall(r'class="wash s0"', drawn)) == 2
    assert drawn.index('class="wash') < drawn.index('class="data')
