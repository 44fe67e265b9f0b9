"""The monthly report: one truth in HTML and Markdown, shares that add up, nothing rounded into another verdict."""

from __future__ import annotations

import re
import xml.dom.minidom
from pathlib import Path

import pytest
from month_of_events import END, START, ScriptedHistory, make, slots, steady, story
from typer.testing import CliRunner

from mlops_obs.cli import slo as slo_command
from mlops_obs.cli import wiring
from mlops_obs.cli.slo.report import make_report
from mlops_obs.dashboards import slo_report_words as words
from mlops_obs.dashboards.slo_report import render_slo_report
from mlops_obs.dashboards.slo_report_markdown import render_markdown, sparkline
from mlops_obs.errors import UsageError
from mlops_obs.slo.accounts import account


def november(now=END + 1.0):
    slos, history = story()
    return make_report("web", "2026-11", slos, history, now)


def plain(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.replace("\u202f", " ")))


def test_html_and_markdown_tell_the_same_facts():
    html, markdown = plain(render_slo_report(november())), render_markdown(november()).replace("\u202f", " ")

    for fact in (
        "2 of 3 objectives were met,",
        "99.88 %",
        "117 %",
        "14 November 09:05",
        "3 h 20 min",
        "v3 was given more traffic 1 min 40 s before",
        "paged after 4 min (AvailabilityBudgetBurn)",
        "v3 was rolled back 12:08",
        "shop freshness was counted for only 77 % of the time",
        "shop quality cannot be judged: nothing was counted",
    ):
        assert fact in html, fact
        assert fact in markdown, fact


def test_the_shares_of_the_incidents_and_the_rest_make_up_what_was_spent():
    for one in november().accounts:
        assert sum(incident.share for incident in one.incidents) + one.background == pytest.approx(one.spent)


def test_the_same_month_gives_the_same_bytes_and_nothing_from_elsewhere():
    html = render_slo_report(november())

    assert html == render_slo_report(november())
    assert render_markdown(november()) == render_markdown(november())
    assert "<script" not in html
    assert not re.search(r"(src|href)=", html)
    assert not re.search(r"https?://", html.replace("http://www.w3.org", ""))
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        xml.dom.minidom.parseString(svg)


def test_text_of_a_spec_is_never_markup():
    slo = make(description="<b>&</b> | `x` [y](z)")
    report = make_report("web", "2026-11", [slo], ScriptedHistory({"availability": {(): slots(*steady())}}), END + 1)

    assert "&lt;b&gt;&amp;&lt;/b&gt;" in render_slo_report(report)
    assert all(line.count("|") - line.count("\\|") in (0, 6, 8) for line in render_markdown(report).splitlines())


@pytest.mark.parametrize(
    ("objective", "bad", "total", "shown", "verdict"),
    [
        ("0.999", 1_001.0, 1_000_000.0, "99.89 %", "missed"),
        ("0.999", 1_000.0, 1_000_000.0, "99.90 %", "met"),
        ("0.99999", 3.0, 1_000_000.0, "99.9997 %", "met"),
        ("0.9", 0.0, 10.0, "100.0 %", "met"),
        ("0.999", 1.0, 10_000_000.0, "99.99 %", "met"),  # cut off: it was not 100 %
    ],
)
def test_what_was_measured_is_cut_off_and_never_rounded_into_another_verdict(objective, bad, total, shown, verdict):
    one = account(make(objective=objective), {(): slots([bad], [total])}, START, END, END)

    assert (shown, verdict) == (words.measured(one), words.verdict(one)[0])


def test_a_month_that_is_not_over_says_up_to_when():
    report = november(now=START + 20 * 86_400)

    assert words.month_name(report) == "November 2026, up to 21 November 00:00 UTC"
    assert words.headline(report)[0] == "2 of 3 objectives are met,"


def test_a_quiet_month_has_no_incident_and_says_so():
    slos = [make()]
    report = make_report("web", "2026-11", slos, ScriptedHistory({"availability": {(): slots(*steady(every=900))}}), END + 1)

    assert "None stands out" in render_slo_report(report)
    assert words.headline(report) == ("This month", "the objective was met.", "good")
    assert words.lede(report) == "Every budget has more than half of it left."


def test_the_sparkline_has_a_mark_per_day_and_tells_overspent_and_unknown_apart():
    availability, _, freshness, _ = november().accounts

    assert sparkline(availability) == "█" * 13 + "!" * 17
    assert sparkline(freshness) == " " * 6 + "█" * 24


@pytest.fixture
def folder(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for team in ("web", "risk"):
        (tmp_path / f"{team}.yaml").write_text(
            f"service: {team}-shop\nteam: {team}\nslos: [{{name: availability, objective: 0.999, indicator: {{type: availability}}}}]\n"
        )
    (tmp_path / "obs.yaml").write_text(
        "service: web-shop\nstate: s.db\nslos: [web.yaml, risk.yaml]\nmetrics: {embedded: m.db}\n"
        "target: {kserve: {namespace: n, name: n}}\n"
    )
    history = ScriptedHistory({"availability": {(): slots(*steady(every=50))}})
    monkeypatch.setattr("mlops_obs.cli.slo.report._history", lambda *_: history)
    monkeypatch.setattr("mlops_obs.cli.slo.report.time.time", lambda: END + 3_600.0)
    return tmp_path


def obs(*arguments):
    done = CliRunner().invoke(slo_command.app, ["report", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_a_report_is_written_per_team_in_both_formats(folder):
    done = obs("--month", "2026-11")

    assert done.stdout.split() == [f"out/slo-report/2026-11-{team}.{suffix}" for team in ("risk", "web") for suffix in ("html", "md")]
    assert "web-shop availability" in (folder / "out/slo-report/2026-11-web.md").read_text()
    assert "risk-shop" not in (folder / "out/slo-report/2026-11-web.md").read_text()
    assert obs("--month", "2026-11", "--team", "risk", "--format", "md", "--out", "there").stdout == "there/2026-11-risk.md\n"


def test_without_a_month_it_is_the_present_one_as_far_as_it_is(folder):
    assert "2026-12-risk.html" in obs().stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--month", "yesterday"), "OBS-REP-001"),
        (("--format", "pdf"), "OBS-REP-002"),
        (("--team", "nobody"), "OBS-REP-003"),
        (("--month", "2031-01"), "OBS-REP-004"),
    ],
)
def test_mistakes_are_one_line_with_a_code_and_leave_no_file(folder, arguments, code):
    with pytest.raises(UsageError, match=code):
        obs(*arguments)

    assert not (folder / "out").exists()


def test_without_prometheus_raw_samples_of_the_embedded_engine_are_counted(tmp_path, monkeypatch):
    from mlops_obs.testing.counters import ScriptedCounters

    counters = ScriptedCounters()
    for minute in range(120):
        counters.add_requests("web-shop", "v1", total=100, errors=1 if minute == 60 else 0)
        counters.scrape(START + 60 * (minute + 1))
    (tmp_path / "web.yaml").write_text(
        "service: web-shop\nteam: web\nslos: [{name: availability, objective: 0.999, indicator: {type: availability}}]\n"
    )
    (tmp_path / "obs.yaml").write_text(
        "service: web-shop\nstate: s.db\nmetrics: {embedded: m.db}\ntarget: {kserve: {namespace: n, name: n}}\n"
    )
    monkeypatch.setattr(wiring, "counter_source", lambda _: counters)
    monkeypatch.setattr("mlops_obs.cli.slo.report.time.time", lambda: START + 7_200.0)

    obs(str(tmp_path / "web.yaml"), "--env", str(tmp_path / "obs.yaml"), "--month", "2026-11", "--out", str(tmp_path / "out"))

    text = (tmp_path / "out" / "2026-11-web.md").read_text().replace("\u202f", " ")
    assert "1 of 11 900 events" in text


@pytest.mark.parametrize("counts", [{}, {"availability": {(): slots([0.0] * 9, [0.0] * 9)}}], ids=["absent", "idle"])
def test_a_month_without_an_event_is_no_success(counts):
    html = render_slo_report(make_report("web", "2026-11", [make()], ScriptedHistory(counts), END + 1.0))

    assert '<div class="warn"><dd>0 / 0</dd>' in html
    assert "No event was counted, so no objective can be judged." in plain(html)
