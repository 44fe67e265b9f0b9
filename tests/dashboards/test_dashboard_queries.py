"""Every panel on every dashboard asks for something that exists."""

from __future__ import annotations

import pytest
from loop_scenario import END, T0

from mlops_obs.adapters.prometheus import PrometheusCounters
from mlops_obs.dashboards.catalogue import DASHBOARDS, dashboard
from mlops_obs.dashboards.preview import missing_data, render_preview
from mlops_obs.dashboards.promql import TARGETS_DOWN

pytestmark = pytest.mark.stack
VARIABLES = {"service": "credit-risk"}


def test_every_panel_query_returns_data_on_a_real_prometheus(filled_prometheus: str) -> None:
    query_range = PrometheusCounters(filled_prometheus).query_range

    missing = missing_data(DASHBOARDS, query_range, VARIABLES, T0 + 105, T0 + END)

    assert missing == []


def test_a_service_that_does_not_exist_has_no_data(filled_prometheus: str) -> None:
    query_range = PrometheusCounters(filled_prometheus).query_range

    missing = missing_data(DASHBOARDS[:1], query_range, {"service": "nobody"}, T0 + 105, T0 + END)

    assert any("Requests" in one for one in missing)
    assert any("Alerts that page" in one for one in missing)  # without rules nothing can fire: that is no zero


def test_targets_of_other_people_are_not_counted(filled_prometheus: str) -> None:
    (down,) = PrometheusCounters(filled_prometheus).query(TARGETS_DOWN, at=T0 + END)

    assert down.samples[0][1] == 0


def test_a_value_from_the_address_bar_cannot_change_the_query(filled_prometheus: str) -> None:
    query_range = PrometheusCounters(filled_prometheus).query_range
    attack = {"service": 'x"} or vector(1) #', "revision": '<script>"'}

    page = render_preview(dashboard("mlops-obs-service"), query_range, attack, T0 + 105, T0 + END)

    assert "The metrics did not answer" not in page
    assert "no traffic" in page
    assert "<script>" not in page


def test_the_preview_marks_the_rollback_when_it_happened(filled_prometheus: str) -> None:
    query_range = PrometheusCounters(filled_prometheus).query_range

    page = render_preview(dashboard("mlops-obs-service"), query_range, VARIABLES, T0 + 105, T0 + END)

    assert "rolled back v3, 22:16:20" in page
