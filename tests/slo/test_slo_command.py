"""`obs slo` and `obs page` as a person uses them."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlops_obs.cli import page as page_command
from mlops_obs.cli import slo as slo_command
from mlops_obs.cli import wiring
from mlops_obs.errors import ObsError
from mlops_obs.slo.scenarios import RecordedCounters, Scenario, Segment, histories
from mlops_obs.slo.spec import SLO

ROOT = Path(__file__).parents[2]
RUN = CliRunner()


@pytest.fixture
def slo_folder(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "slo", tmp_path / "slo")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "slo"


def test_the_committed_files_are_current(slo_folder):
    done = RUN.invoke(slo_command.app, ["compile", "slo/credit-risk.yaml", "--check"])

    assert done.exit_code == 0, done.exception
    assert done.stdout == "7 files are current\n"


def test_an_edited_generated_file_is_noticed_and_written_again(slo_folder):
    rules = slo_folder / "generated" / "credit-risk-rules.yaml"
    good = rules.read_text()
    rules.write_text(good.replace("0.144", "0.2"))

    stale = RUN.invoke(slo_command.app, ["compile", "slo/credit-risk.yaml", "--check"])
    RUN.invoke(slo_command.app, ["compile", "slo/credit-risk.yaml"])

    assert isinstance(stale.exception, ObsError)
    assert "slo/generated/credit-risk-rules.yaml" in str(stale.exception)
    assert rules.read_text() == good


def test_check_says_how_soon_each_alert_fires(slo_folder):
    done = RUN.invoke(slo_command.app, ["check", "slo"])

    assert "page-quick: burn > 14.4 over 1h and 5m (error ratio > 0.144); total outage: 8 min 39 s" in done.stdout


def test_check_refuses_every_alert_that_cannot_fire_and_replan_mends_it(slo_folder):
    spec = slo_folder / "credit-risk.yaml"
    spec.write_text(spec.read_text().replace("objective: 0.99 ", "objective: 0.9 ").replace("objective: 0.95", "objective: 0.8"))

    refused = RUN.invoke(slo_command.app, ["check", "slo"])
    mended = RUN.invoke(slo_command.app, ["check", "slo", "--replan", "-o", "json"])

    assert str(refused.exception).count("OBS-SLO-010") == 3, "one for availability, two for latency"
    assert all(tier["error_ratio"] < 1 for tier in json.loads(mended.stdout))


@pytest.mark.parametrize(
    ("history", "code", "verdict"), [(None, 4, "unknown"), ([Segment(90, good=99)], 0, "healthy"), ([Segment(90, bad=99)], 3, "burning")]
)
def test_status_exits_with_what_it_found(tmp_path, monkeypatch, history, code, verdict):
    (tmp_path / "spec.yaml").write_text("service: shop\nteam: web\nslos: [{name: a, objective: 0.99, indicator: {type: availability}}]\n")
    slo = SLO(service="shop", team="web", name="a", objective="0.99", indicator={"type": "availability"})
    source = RecordedCounters(histories(slo, Scenario("x", {"": history}, ())) if history else [])
    (tmp_path / "obs.yaml").write_text("service: shop\nstate: s.db\nmetrics: {embedded: m.db}\ntarget: {kserve: {namespace: n, name: n}}\n")
    monkeypatch.setattr(wiring, "counter_source", lambda _env: source)
    monkeypatch.setattr(slo_command.status.time, "time", lambda: 90 * 60.0)
    arguments = ["status", str(tmp_path / "spec.yaml"), "--env", str(tmp_path / "obs.yaml")]

    text = RUN.invoke(slo_command.app, arguments)
    document = RUN.invoke(slo_command.app, [*arguments, "-o", "json"])

    assert (text.exit_code, document.exit_code) == (code, code), text.exception
    assert {"burning": "page-quick"}.get(verdict, verdict) in text.stdout, "what burns is named by its tier"
    assert [one["verdict"] for one in json.loads(document.stdout)] == [verdict]


@pytest.mark.parametrize("alert", sorted(path.stem for path in (ROOT / "runbooks").glob("*.md") if path.stem != "README"))
def test_every_alert_with_a_runbook_is_explained(slo_folder, alert):
    done = RUN.invoke(page_command.app, ["explain", alert])

    assert done.exit_code == 0, done.exception
    assert f"Runbook: runbooks/{alert}.md" in done.stdout


def test_an_unknown_alert_is_an_error_that_names_the_known_ones(slo_folder):
    done = RUN.invoke(page_command.app, ["explain", "Nope"])

    assert "AvailabilityBudgetBurn" in str(done.exception)
    assert "OBS-PAGE-004" in str(done.exception)


def test_a_test_page_reaches_the_inbox_marked_as_a_test(tmp_path, monkeypatch):
    (tmp_path / "obs.yaml").write_text(
        "service: shop\nstate: s.db\nmetrics: {embedded: m.db}\ninbox: http://127.0.0.1:9\ntarget: {kserve: {namespace: n, name: n}}\n"
    )
    sent = []
    monkeypatch.setattr("mlops_obs.adapters.alertmanager.post_webhook", lambda url, payload: sent.append((url, payload)))

    done = RUN.invoke(page_command.app, ["test", "--env", str(tmp_path / "obs.yaml"), "--team", "web"])

    assert done.exit_code == 0, done.exception
    ((url, payload),) = sent
    assert url == "http://127.0.0.1:9/alerts"
    assert payload["alerts"][0]["labels"]["test"] == "true"


def test_an_alert_about_the_platform_is_explained_where_there_are_no_slos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    done = RUN.invoke(page_command.app, ["explain", "CollectorDown"])

    assert done.exit_code == 0, done.exception
    assert "mlops_obs_collector_up" in done.output
