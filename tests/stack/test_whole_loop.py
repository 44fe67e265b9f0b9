"""The main job on the real stack: a good model promoted, a broken one paged about and rolled back, and all of it visible."""

from __future__ import annotations

import json
import time
import urllib.request

import pytest

from mlops_obs.adapters.prometheus import PrometheusCounters
from mlops_obs.cli import wiring
from mlops_obs.cli.demo.report import write_report
from mlops_obs.dashboards.catalogue import DASHBOARDS
from mlops_obs.dashboards.preview import missing_data

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]


def test_the_good_model_is_promoted_the_bad_one_rolled_back_with_one_page_and_no_lost_request(told):
    assert [claim for claim in told.claims if not claim.held] == []


# The demo has no GPU, no labels that come late, and a budget that lasts.
ABSENT = frozenset({"gpu", "quality", "policy", "expectations", "tables", "value_age", "alarm", "skew"})


def test_every_dashboard_query_returns_data_on_the_live_prometheus(told):
    prometheus = PrometheusCounters(told.loop.monitoring.prometheus_url)
    start = told.screen.steps[0].start

    missing = missing_data(DASHBOARDS, prometheus.query_range, {"service": "credit-risk"}, start, time.time(), without=ABSENT)

    assert missing == []


def test_the_page_says_what_burns_how_fast_which_revision_what_was_done_and_where_to_look(told):
    (page,) = told.loop.pages()
    text = page["text"]

    for part in ("credit-risk", "v3", "budget", "/runbooks/", "/d/mlops-obs-service?var-service=credit-risk"):
        assert part in text
    annotations = page["payload"]["alerts"][0]["annotations"]
    assert float(annotations["burn_rate"]) > 14.4
    assert annotations["revision"] == "v3"
    assert annotations["action_taken"].startswith("rolled back v3")
    for link in (annotations["runbook_url"], annotations["dashboard_url"]):
        with urllib.request.urlopen(link, timeout=30) as response:
            assert response.status == 200


def test_every_decision_is_in_the_evidence_log_and_the_log_is_whole(told):
    store = wiring.rollout_store(wiring.load_environment(told.loop.env_file))
    records = store.records("credit-risk")

    assert store.broken_record() is None
    rollback = next(one for one in records if one["action"] == "rollback" and one["kind"] == "intent")
    assert rollback["evidence"]["tests"]["errors"]["condemned"] or rollback["evidence"]["tests"]["slow"]["condemned"]
    assert {one["action"] for one in records} >= {"start", "deploy", "advance", "promote", "rollback"}


def test_the_commands_tell_the_same_story(told):
    status = json.loads(told.loop.obs("rollout", "status", "-o", "json").stdout)

    assert (status["phase"], status["canary"], status["exit_code"]) == ("RolledBack", "v3", 3)
    assert told.loop.obs("rollout", "status").returncode == 3
    assert "rollback" in told.loop.obs("rollout", "history").stdout
    slo = told.loop.obs("slo", "status")
    assert "availability" in slo.stdout
    assert "Traceback" not in slo.stdout + slo.stderr


def test_a_machine_without_a_gpu_says_so(told):
    prometheus = PrometheusCounters(told.loop.monitoring.prometheus_url)

    found = {one.labels["reason"]: one.samples[-1][1] for one in prometheus.query('mlops_obs_collector_up{collector="gpu"}')}

    assert found in ({"no_driver": 0.0}, {"no_library": 0.0}, {"": 1.0})


def test_the_report_stands_alone_and_shows_every_part(told):
    html = write_report(told.loop, told.screen).read_text()

    for part in ("v2", "v3", "rolled back", "<svg", "synthetic", "AvailabilityBudgetBurn"):
        assert part in html
    assert "<script src" not in html
    assert "Traceback" not in html


def test_nothing_was_written_to_any_log_as_a_traceback(told):
    for log in (told.loop.settings.out / "logs").glob("*.log"):
        assert "Traceback" not in log.read_text(errors="replace"), log.name
