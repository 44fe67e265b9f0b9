"""The monthly report read from a real Prometheus, and looked at in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from loop_scenario import END, T0
from test_in_a_browser import browser, look

from mlops_obs.adapters.prometheus import PrometheusCounters
from mlops_obs.adapters.recorded_history import RecordedHistory
from mlops_obs.cli.slo.report import make_report
from mlops_obs.dashboards.slo_report import render_slo_report
from mlops_obs.dashboards.slo_report_markdown import render_markdown
from mlops_obs.slo.spec import SLO

__all__ = ["browser"]
pytestmark = pytest.mark.stack
AVAILABILITY = SLO.model_validate(
    {
        "service": "credit-risk",
        "team": "risk-ml",
        "name": "availability",
        "objective": "0.99",
        "indicator": {"type": "availability"},
        "group_by": ["revision"],
    }
)


@pytest.fixture(scope="module")
def november(filled_prometheus: str) -> Any:
    history = RecordedHistory(PrometheusCounters(filled_prometheus), [AVAILABILITY], T0 + END + 300)
    return make_report("risk-ml", "2023-11", [AVAILABILITY], history, T0 + END + 300)


def test_recorded_counts_alerts_and_acts_are_found(november: Any) -> None:
    (one,) = november.accounts

    assert one.total > 0
    assert one.total % 9_000 == 0, "each slot counts once, however often it was recorded"
    assert ("v3",) in one.groups
    assert {fired.name for fired in november.fired["credit-risk"]} >= {"AvailabilityBudgetBurn"}
    assert ("rollback", "v3") in {(act.action, act.revision) for act in november.acts["credit-risk"]}


def test_what_was_never_recorded_is_counted_from_raw_samples(filled_prometheus: str) -> None:
    unrecorded = AVAILABILITY.model_copy(update={"name": "never-recorded"})
    history = RecordedHistory(PrometheusCounters(filled_prometheus), [unrecorded], T0 + END + 300)

    found = history.counts(unrecorded, T0 - T0 % 86_400, T0 - T0 % 86_400 + 86_400)

    assert sum(one or 0 for one in found[()].total) > 100


@pytest.mark.parametrize("width", [1200, 520])
def test_the_report_stands_alone_and_fits_the_screen(browser: Any, november: Any, width: int) -> None:
    wrong, spill, light = look(browser, render_slo_report(november), width, "light")
    _, _, dark = look(browser, render_slo_report(november), width, "dark")

    assert (wrong, spill) == ([], 0)
    assert min(light) > 200
    assert max(dark) < 60


def test_markdown_of_the_same_month_names_the_same_incident(november: Any) -> None:
    assert "credit-risk availability" in render_markdown(november)
