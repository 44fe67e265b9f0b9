# ruff: noqa: E501 - a table: a mistake and its line
"""Every indicator can be written down, and every wrong one is told what to write."""

from decimal import Decimal
from pathlib import Path

import pytest

from mlops_obs.adapters.files import load_slos
from mlops_obs.errors import SpecError
from mlops_obs.slo.indicator_spec import FIELDS
from mlops_obs.slo.indicators import (
    Cohorts,
    Counters,
    Expressions,
    NativeHistogram,
    Parts,
    Samples,
    Selector,
    counters,
    source,
    watched_series,
)
from mlops_obs.slo.spec import SLO, SpecErrors

EVERY = Path(__file__).with_name("every_indicator.yaml")
HEAD = "service: shop\nteam: web\nslos:\n"


def slo(indicator, **more) -> SLO:
    return SLO(**{"service": "shop", "team": "web", "name": "a", "objective": "0.99", "indicator": indicator, **more})


def mistakes(folder: Path, body: str, head: str = HEAD) -> list[str]:
    path = folder / "shop.yaml"
    path.write_text(head + body)
    with pytest.raises(SpecErrors) as caught:
        load_slos(path)
    return str(caught.value).replace(str(folder) + "/", "").splitlines()


def written(indicator: str, more: str = "") -> str:
    return f"  - name: a\n    objective: 0.99\n    indicator: {{{indicator}}}\n{more}"


def test_every_kind_of_indicator_can_be_loaded_and_has_a_source():
    slos = load_slos(EVERY)

    assert {one.indicator.type for one in slos} == set(FIELDS)
    assert {type(source(one)) for one in slos} == {Counters, NativeHistogram, Samples, Expressions, Cohorts, Parts}
    assert len({hash(one) for one in slos}) == len(slos), "an SLO can be a key"


def test_what_the_head_says_holds_for_every_slo_and_an_slos_own_word_comes_first(tmp_path):
    path = tmp_path / "shop.yaml"
    path.write_text(
        "time_zone: Asia/Kolkata\nlabels: {tribe: checkout, tier_of_service: gold}\nbudget_policy: [{below: 0.25, action: warn}]\n"
        + HEAD
        + written("type: availability", "    period: month\n    labels: {tribe: payments}\n    budget_policy: []\n")
        + written("type: drift").replace("name: a", "name: b")
    )

    first, second = load_slos(path)

    assert (first.time_zone, dict(first.labels), first.budget_policy) == (
        "Asia/Kolkata",
        {"tribe": "payments", "tier_of_service": "gold"},
        (),
    )
    assert (second.time_zone, second.labels["tribe"]) == ("UTC", "checkout"), "a rolling period has no zone"
    assert [(step.below, step.action) for step in second.budget_policy] == [(Decimal("0.25"), "warn")]


@pytest.mark.parametrize(
    ("indicator", "line"),
    [
        ("type: latency", "a latency indicator needs a threshold; write for example threshold: 250ms [OBS-SLO-004]"),
        ("type: availability, maturity: 3d", "an availability indicator has no maturity; remove maturity [OBS-SLO-005]"),
        ("type: quality", "a quality indicator needs a maturity; write for example maturity: 3d, the time after which labels are complete [OBS-SLO-004]"),
        ("type: quality, maturity: 3d, cohort: 7h", "cohort 7h does not divide hours or the day; write 5m, 10m, 15m, 20m, 30m, 1h, 2h, 3h, 4h, 6h, 12h or 1d [OBS-SLO-005]"),
        ("type: training, useful: [computing]", "'computing' is not a phase of training; did you mean 'compute'? [OBS-SLO-005]"),
        ("type: ratio", "a ratio indicator needs bad and total, or ratio alone; write bad: and total: [OBS-SLO-004]"),
        ("type: ratio, ratio: 'x[5m]'", "ratio has no {{.window}}, so it cannot be asked over several windows; write for example sum(increase(errors_total[{{.window}}])) [OBS-SLO-022]"),
        ("type: availability, total: x_total", "counters of one's own need total and one of bad and good, not total; write total: and bad:, or total: and good: [OBS-SLO-004]"),
        ("type: availability, total: 'sum(x)', bad: x_total", "total is not a PromQL selector: 'sum(x)' does not begin with a metric name; write for example http_requests_total{job=\"api\"} [OBS-SLO-021]"),
        ("type: latency, threshold: 250ms, histogram: x_seconds", "a histogram of one's own needs its buckets, or native: true; write buckets: [0.1, 0.25, ...] as in its `le` [OBS-SLO-004]"),
        ("type: latency, threshold: 250ms, histogram: x_seconds_bucket, native: true", "histogram x_seconds_bucket is one part of a histogram; write x_seconds [OBS-SLO-021]"),
        ("type: latency, threshold: 250ms, histogram: x_seconds, buckets: [0.1, 0.3, 1]", "threshold 250ms is not a bucket of the histogram, so it cannot be counted; write 100ms or 300ms [OBS-SLO-006]"),
        ("type: latency, threshold: 250ms, histogram: x_milliseconds, buckets: [100, 300]", "threshold 250ms is not a bucket of the histogram, so it cannot be counted; write 100ms or 300ms [OBS-SLO-006]"),
        ("type: latency, threshold: 250ms, native: true", "native belongs to a histogram of one's own; write histogram: or remove it [OBS-SLO-005]"),
        ("type: composite, of: [b]", "of needs two different SLOs at least; list each stage once, upstream first [OBS-SLO-005]"),
        ("type: composite, of: [b, Über]", "of: 'Über' is not the name of an SLO; write slo, or service/slo [OBS-SLO-005]"),
        ("type: composite, of: [b, c]", "of: there is no SLO shop/b; known: a [OBS-SLO-026]|of: there is no SLO shop/c; known: a [OBS-SLO-026]"),
    ],
)  # fmt: skip
def test_a_wrong_indicator_is_told_what_to_write(tmp_path, indicator, line):
    found = mistakes(tmp_path, written(indicator))

    assert [one.split(": ", 1)[1] for one in found] == line.split("|")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("    time_zone: Mars/Olympus\n    period: month\n", "OBS-SLO-020"),
        ("    time_zone: localtime\n    period: month\n", "OBS-SLO-020"),
        ("    time_zone: Europe/Berlin\n", "OBS-SLO-005"),
        ("    period: fortnight\n", "OBS-SLO-005"),
        ("    period: 25h30m\n", "OBS-SLO-007"),
        ("    budgeting: timeslices\n", "OBS-SLO-023"),
        ("    slice_objective: 0.9\n", "OBS-SLO-023"),
        ("    budgeting: timeslices\n    slice_objective: 95\n", "OBS-SLO-003"),
        ("    expected_traffic: lots\n", "OBS-SLO-029"),
        ("    expected_traffic: 0/h\n", "OBS-SLO-029"),
        ("    labels: {severity: high}\n", "OBS-SLO-025"),
        ("    labels: {__name__: high}\n", "OBS-SLO-025"),
        ("    labels: {revision: v1}\n    group_by: [revision]\n", "OBS-SLO-008"),
        ("    budget_policy: [{below: 0.2, action: warn}, {below: 0.5, action: freeze}]\n", "OBS-SLO-028"),
        ("    budget_policy: [{below: 0.2, action: panic}]\n", "OBS-SLO-005"),
        ("    budget_policy: [{below: 0.2, action: warn, then: cry}]\n", "OBS-SLO-002"),
        ("    tiers: []\n", "OBS-SLO-024"),
        ("    tiers: [{name: a, severity: page, share: 0.02, factor: 14.4, long: 1h, short: 5m}]\n", "OBS-SLO-024"),
        ("    tiers: [{name: a, severity: page, share: 0.001, long: 1h, short: 5m}]\n", "OBS-SLO-024"),
        ("    tiers: [{name: a, severity: page, share: 0.02, long: 1h, short: 1h}]\n", "OBS-SLO-024"),
        ("    tiers: [{name: a, severity: page, share: 0.9, long: 31d, short: 1d}]\n", "OBS-SLO-024"),
        ("    tiers: [{name: a, severity: page, share: 0.02, long: 1h, short: 5m, longest: 1d}]\n", "OBS-SLO-002"),
        ("    tiers: [{name: a, severity: page, factor: 101, long: 1h, short: 5m}]\n", "OBS-SLO-010"),
        ("    tiers: [{name: a, severity: ticket, factor: 10, long: 1h, short: 5m}]\n    severities: [page]\n", "OBS-SLO-010"),
        ("    upstream: [b]\n", "OBS-SLO-026"),
        ("    upstream: [a]\n", "OBS-SLO-026"),
        ("    min_bad_events: 50\n    expected_traffic: 6/h\n", "OBS-SLO-032"),
        ("    statistical_bound: 'on'\n    expected_traffic: 1/d\n", "OBS-SLO-032"),
    ],
)
def test_each_mistake_has_its_code_and_its_line(tmp_path, more, code):
    found = mistakes(tmp_path, written("type: availability", more))

    assert all(line.endswith(f"[{code}]") for line in found), found
    assert all(line.startswith("shop.yaml:") and line.split(":")[1].isdigit() for line in found), found


def test_all_mistakes_of_one_slo_are_told_at_once_each_at_its_line(tmp_path):
    body = (
        "  - name: a\n    objective: 0.9\n    indicator:\n      type: availability\n      total: 5xx\n      bad: x_total\n"
        "      stage: ingress\n    labels:\n      fine: 'yes'\n      team: mine\n      tier: gold\n"
    )

    found = mistakes(tmp_path, body)

    assert [(line.split(":")[1], line.rsplit(" ", 1)[1]) for line in found] == [
        ("8", "[OBS-SLO-021]"),
        ("10", "[OBS-SLO-005]"),
        ("13", "[OBS-SLO-025]"),
        ("14", "[OBS-SLO-025]"),
    ]


@pytest.mark.parametrize(
    ("indicator", "words"),
    [
        ("type: ratio, bad: 'sum(rate(x[{{.window}}])', total: 'sum(rate(y[{{.window}}]))'", "OBS-PQL-001"),
        ("type: ratio, bad: 'x[{{.window}}]', total: 'sum(rate(y[{{.window}}]))'", "OBS-PQL-003"),
        ("type: boolean, metric: 'up{job=~\"a[\"}'", "OBS-SLO-021"),
    ],
)
def test_promql_is_parsed_before_it_is_accepted(tmp_path, indicator, words):
    (line,) = mistakes(tmp_path, written(indicator))

    assert line.startswith("shop.yaml:6: ")
    assert line.endswith(f"[{words}]")


def test_a_mistake_in_the_head_is_told_once(tmp_path):
    head = "labels: {slo: x}\ntime_zone: Nowhere\n" + HEAD
    body = written("type: availability") + written("type: drift").replace("name: a", "name: b")

    found = mistakes(tmp_path, body, head)

    assert [line.rsplit(" ", 1)[1] for line in found] == ["[OBS-SLO-025]", "[OBS-SLO-020]"]
    assert [line.split(":")[1] for line in found] == ["1", "2"]


def test_an_error_ratio_alone_is_counted_by_slices():
    ratio = {"type": "ratio", "ratio": "x[{{.window}}]"}

    assert slo(ratio).budgeting == "ratio_timeslices"
    with pytest.raises(ValueError, match="no events to count"):
        slo(ratio, budgeting="occurrences")


def test_the_bound_of_a_whole_second_matches_both_ways_of_writing_it():
    indicator = {"type": "latency", "threshold": "1s", "histogram": 'x_seconds{job="a"}', "buckets": [0.5, 1, 2]}

    good = counters(slo(indicator)).good

    assert good is not None
    assert good.accepts({"job": "a", "le": "1"})
    assert good.accepts({"job": "a", "le": "1.0"})
    assert not good.accepts({"job": "a", "le": "10"})
    assert not good.accepts({"job": "b", "le": "1"})


def test_a_histogram_in_milliseconds_has_its_threshold_in_milliseconds():
    indicator = {"type": "latency", "threshold": "250ms", "histogram": "x_milliseconds", "buckets": [100, 250]}

    assert counters(slo(indicator)).good == Selector("x_milliseconds_bucket", matching={"le": "250([.]0)?"})
    assert slo(indicator).indicator.bound == 250


def test_useful_time_counts_as_good_and_all_other_allocated_time_as_bad():
    counted = counters(slo({"type": "training"}))

    assert counted.good is not None
    assert [counted.good.accepts({"service": "shop", "phase": phase}) for phase in ("compute", "optimizer", "restart")] == [
        True,
        True,
        False,
    ]
    assert counted.total.accepts({"service": "shop", "phase": "restart"})


@pytest.mark.parametrize(
    ("indicator", "label", "good", "bad", "ignored"),
    [
        ({"type": "materialisation", "table": "events"}, "outcome", ["on_time"], ["late", "missing"], []),
        ({"type": "expectations"}, "outcome", ["met"], ["failed"], ["inconclusive"]),
        ({"type": "skew"}, "kind", ["equal"], ["unit", "stale", "other"], []),
    ],
)
def test_what_is_wrong_with_data_is_counted_from_the_label_that_says_it(indicator, label, good, bad, ignored):
    counted = counters(slo(indicator))
    told = {"service": "shop", "table": "events"}

    assert counted.bad is not None
    assert [counted.bad.accepts({**told, label: value}) for value in (*good, *bad)] == [False] * len(good) + [True] * len(bad)
    assert [counted.total.accepts({**told, label: value}) for value in (*good, *bad, *ignored)] == [True] * len(good + bad) + [False] * len(
        ignored
    )


def test_an_expression_is_asked_over_the_window_that_is_filled_in():
    assert Expressions.at("rate(x[{{ .window }}]) / rate(y[{{.window}}])", 5_400) == "rate(x[90m]) / rate(y[90m])"


def test_counters_of_what_is_not_counted_by_counters_are_an_error_and_no_guess():
    with pytest.raises(SpecError, match="OBS-SLO-030"):
        counters(slo({"type": "boolean", "metric": "up"}))


def test_what_is_watched_is_what_would_be_missed():
    assert watched_series(slo({"type": "boolean", "metric": "up"})) == Selector("up")
    assert watched_series(slo({"type": "composite", "of": ["a", "b"]})) is None


def test_the_example_in_the_readme_is_a_spec(tmp_path):
    text = (Path(__file__).parents[2] / "slo" / "README.md").read_text()
    (tmp_path / "example.yaml").write_text(text.partition("```yaml\n")[2].partition("```")[0])

    assert [one.name for one in load_slos(tmp_path)] == ["availability", "quality"]
