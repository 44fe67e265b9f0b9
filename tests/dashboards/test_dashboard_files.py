"""The committed dashboards are what the code makes, pass the linter, and keep their addresses."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from mlops_obs.dashboards import promql
from mlops_obs.dashboards.catalogue import DASHBOARDS, dashboard
from mlops_obs.dashboards.grafana_json import all_panels, render, to_grafana
from mlops_obs.dashboards.lint import fill, lint
from mlops_obs.dashboards.panels import Dashboard, panel_id
from mlops_obs.errors import UsageError
from mlops_obs.metric_names import METRICS, REQUESTS

FOLDER = Path(__file__).parents[2] / "dashboards"
EVERY = pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.uid)


@EVERY
def test_the_committed_file_is_what_the_code_makes(board: Dashboard) -> None:
    assert (FOLDER / f"{board.uid}.json").read_text(encoding="utf-8") == render(board)


def test_no_file_is_left_over_from_a_dashboard_that_is_gone() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == {board.uid for board in DASHBOARDS}


@EVERY
def test_the_linter_has_no_findings(board: Dashboard) -> None:
    assert lint(to_grafana(board)) == []


@EVERY
def test_every_query_is_promql_about_metrics_that_exist(board: Dashboard) -> None:
    for panel in board.panels():
        for query in panel.queries:
            parsed = promql_parser.parse(fill(query.expr, {}))

            assert parsed is not None
            known = [name for name in METRICS if name in query.expr]
            assert known or "slo:" in query.expr or "up" in query.expr or "ALERTS" in query.expr or "vector(" in query.expr


def test_a_link_to_a_panel_survives_a_panel_inserted_before_it() -> None:
    board = DASHBOARDS[0]
    shorter = Dashboard(board.uid, board.title, board.description, board.rows[1:], board.variables, board.markers)
    before = {panel["title"]: panel["id"] for panel in all_panels(to_grafana(board))}
    after = {panel["title"]: panel["id"] for panel in all_panels(to_grafana(shorter))}

    assert after.items() <= before.items()


def test_panel_ids_are_fixed_for_ever() -> None:
    assert panel_id("mlops-obs-service", "errors") == 169919013


def test_at_most_twelve_panels_stand_before_the_first_closed_row() -> None:
    for board in DASHBOARDS:
        opened = [panel for row in board.rows if not row.closed for panel in row.panels]
        assert len(opened) <= (12 if board.uid == "mlops-obs-service" else 16)


def test_no_two_panels_overlap() -> None:
    for board in DASHBOARDS:
        taken: set[tuple[int, int]] = set()
        for panel in to_grafana(board)["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}

            assert not cells & taken, panel["title"]
            assert at["x"] + at["w"] <= 24
            taken |= cells


def test_the_pinned_sdk_is_installed_and_not_the_epoch_release() -> None:
    from grafana_foundation_sdk.builders import dashboardv2

    assert dashboardv2.Dashboard


def test_a_selector_refuses_a_label_that_the_metric_does_not_have() -> None:
    with pytest.raises(ValueError, match="no label"):
        promql.selector(REQUESTS, where={"pod": "x"})


def test_an_unknown_dashboard_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="mlops-obs-drift"):
        dashboard("mlops-obs-nothing")


def _broken(change: str) -> dict[str, Any]:
    board = copy.deepcopy(json.loads(render(DASHBOARDS[0])))
    panel = next(one for one in board["panels"] if one["title"] == "Requests")
    target = panel["targets"][0]
    match change:
        case "uneditable-dashboard":
            board["editable"] = True
        case "template-datasource":
            board["templating"]["list"] = board["templating"]["list"][1:]
        case "template-service":
            board["templating"]["list"] = [one for one in board["templating"]["list"] if one["name"] != "service"]
        case "template-on-time-change-reload":
            board["templating"]["list"][1]["refresh"] = 1
        case "template-label-promql":
            board["templating"]["list"][1]["query"]["query"] = "label_values(rate(, service)"
        case "rollout-annotations":
            board["annotations"]["list"] = []
        case "stable-uid":
            board["uid"] = ""
        case "stable-ids":
            panel["id"] = None
        case "timezone-utc":
            board["timezone"] = "browser"
        case "panel-angular":
            panel["type"] = "graph"
        case "panel-datasource":
            panel["datasource"]["uid"] = "abc"
        case "panel-title-description":
            panel["description"] = ""
        case "panel-units":
            del panel["fieldConfig"]["defaults"]["unit"]
        case "panel-no-targets":
            panel["targets"] = []
        case "target-ref-id":
            del target["refId"]
        case "target-promql":
            target["expr"] = "sum by (revision (up)"
        case "target-rate-interval":
            target["expr"] = target["expr"].replace("$__rate_interval", "5m")
        case "target-service":
            target["expr"] = target["expr"].replace('service=~"$service",', "")
        case "target-counter-agg":
            target["expr"] = f'sum by (revision) ({REQUESTS.name}{{service=~"$service"}})'
    return board


RULES = (
    "uneditable-dashboard",
    "template-datasource",
    "template-service",
    "template-on-time-change-reload",
    "template-label-promql",
    "rollout-annotations",
    "stable-uid",
    "stable-ids",
    "timezone-utc",
    "panel-angular",
    "panel-datasource",
    "panel-title-description",
    "panel-units",
    "panel-no-targets",
    "target-ref-id",
    "target-promql",
    "target-rate-interval",
    "target-service",
    "target-counter-agg",
)


@pytest.mark.parametrize("rule", RULES)
def test_the_linter_finds_a_dashboard_that_breaks(rule: str) -> None:
    assert rule in {finding.rule for finding in lint(_broken(rule))}


def test_a_rule_is_switched_off_only_with_a_reason() -> None:
    board = _broken("timezone-utc")

    assert lint(board, {"timezone-utc": "our team works in one zone"}) == []
    assert lint(board, {"timezone-utc": " "}) != []
