"""The report says what was recorded, also when little was."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from loop_scenario import SERVICE, T0, scenario

from mlops_obs.dashboards.report import render_report
from mlops_obs.dashboards.report_data import (
    PageArrival,
    bucket_quantile,
    budget_line,
    collect,
    counted,
    error_line,
    stories,
    weight_lines,
)
from mlops_obs.slo.counters import Series


class Structure(HTMLParser):
    """Checks that tags nest, and gathers what a browser would load."""

    VOID = {"meta", "br"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href") and tag != "a"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Nothing is opened, so nothing is to be closed."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def heading(html: str) -> str:
    return re.sub("<[^>]+>", "", re.search("<h1>(.*?)</h1>", html)[1])  # type: ignore[index]


def test_the_first_line_says_what_became_of_each_revision() -> None:
    assert heading(render_report(scenario())) == "v2 was promoted. v3 was rolled back."


def test_a_rollout_without_an_end_is_not_given_one() -> None:
    assert heading(render_report(scenario(rolled_back=False))) == "v2 was promoted. v3 was still in progress."


def test_the_report_is_one_well_formed_file_without_scripts_or_outside_resources() -> None:
    structure = Structure()

    structure.feed(render_report(scenario()))

    assert structure.open == []
    assert structure.scripts == 0
    assert structure.loaded == []


def test_the_same_data_gives_the_same_bytes() -> None:
    assert render_report(scenario()) == render_report(scenario())


def test_text_from_outside_is_shown_and_never_becomes_markup() -> None:
    evil = PageArrival(T0 + 184, "<script>alert(1)</script>")
    html = render_report(replace(scenario(), pages=(evil,), service="<img src=x>"))

    assert "<script>" not in html
    assert "<img" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_a_report_of_nothing_says_so_instead_of_failing() -> None:
    empty = replace(scenario(), records=(), requests=(), durations=(), pages=(), stages=(), promises=())

    html = render_report(empty)

    assert heading(html) == "No revision was shipped."
    assert "No request counters were found" in html
    assert "Nobody was paged." in html


def test_every_decision_and_the_page_are_in_the_report() -> None:
    html = render_report(scenario())

    for text in ("Load v2", "Raise v2 to 50 %", "Promote v2", "Roll back v3", "43 times too fast", "31/74 vs 0/210"):
        assert text in html


def test_a_rollout_is_read_out_of_its_records() -> None:
    good, bad = stories(scenario().records)

    assert (good.canary, good.stable, good.phase) == ("v2", "v1", "Promoted")
    assert (bad.canary, bad.stable, bad.phase) == ("v3", "v2", "RolledBack")
    assert bad.ended - bad.began == pytest.approx(9.0)


def test_weights_are_those_that_were_applied_and_sum_to_one() -> None:
    lines = weight_lines(scenario(), T0 + 100)

    for column in zip(*lines.values(), strict=True):
        assert sum(value or 0 for _, value in column) == pytest.approx(1)


def test_errors_are_counted_exactly_across_a_restart() -> None:
    labels = {"service": SERVICE, "stage": "ingress", "revision": "v3"}
    failed = Series({**labels, "outcome": "error"}, [(T0, 0.0), (T0 + 10, 4.0), (T0 + 20, 1.0)])
    fine = Series({**labels, "outcome": "ok"}, [(T0, 0.0), (T0 + 10, 6.0), (T0 + 20, 9.0)])
    data = replace(scenario(), started=T0 - 1, ended=T0 + 20, requests=(failed, fine))

    assert counted(data, "v3", "error") == 5
    assert counted(data, "v3") == 14


def test_a_window_without_requests_is_a_gap_and_not_zero() -> None:
    points = error_line(scenario(), "v3", T0 + 100)

    assert points[0][1] is None
    assert max(value for _, value in points if value is not None) > 0.3


def test_the_budget_ends_where_the_counts_say() -> None:
    data = scenario()

    points = budget_line(data, data.promises[0], T0 + 100)

    failed, everything = counted(data, outcome="error"), counted(data)
    assert points[0][1] == 1
    assert points[-1][1] == pytest.approx(1 - failed / (0.01 * everything), abs=0.05)


def test_a_quantile_is_interpolated_as_prometheus_does() -> None:
    assert bucket_quantile(0.5, [0.1, 0.2, float("inf")], [0, 10, 10]) == pytest.approx(0.15)
    assert bucket_quantile(0.99, [0.1, float("inf")], [1, 10]) == 0.1
    assert bucket_quantile(0.5, [0.1], [0]) is None


def test_collect_reads_only_what_the_callers_saw() -> None:
    asked = []

    class Source:
        def series(self, metric: str, matchers: dict[str, str], start: float, end: float) -> list[Series]:
            asked.append((metric, dict(matchers)))
            return []

    data = collect(Source(), SERVICE, T0, T0 + 9, records=[{"at": 2.0}, {"at": 1.0}])

    assert [record["at"] for record in data.records] == [1.0, 2.0]
    assert {matchers.get("stage", "ingress") for _, matchers in asked} == {"ingress"}
    assert len(asked) == 2


def test_looks_that_changed_nothing_are_left_out_and_what_people_asked_for_is_not() -> None:
    data = scenario()
    asked = {**data.records[-1], "kind": "request", "action": "pause", "actor": "ada", "reason": "lunch", "evidence": {}}

    html = render_report(replace(data, records=[*data.records, asked]))

    assert "more requests are needed" not in html
    assert "ada asks to pause" in html
    assert "lunch" in html


def test_an_act_that_failed_is_not_drawn_as_if_it_had_happened() -> None:
    data = scenario()
    last = data.records[-1]
    failed = {**last, "ok": False, "phase": "Progressing", "reason": "the target did not answer"}

    html = render_report(replace(data, records=[*data.records[:-1], failed]))

    assert "Did not succeed: Roll back v3" in html
    assert weight_lines(replace(data, records=[*data.records[:-1], failed]), T0)["v3"][-1][1] == pytest.approx(0.2)


def test_repeated_decisions_are_told_once() -> None:
    data = scenario()
    hold = {**data.records[-1], "kind": "decision", "action": "hold", "phase": "Holding", "reason": "metrics cannot be read", "ok": True}

    html = render_report(replace(data, records=[*data.records, *({**hold, "at": T0 + 190 + n} for n in range(5))]))

    assert html.count("metrics cannot be read") == 2  # in the first paragraph and once in the table
