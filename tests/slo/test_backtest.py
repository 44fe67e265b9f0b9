"""History replayed through alerts and notifications to pages, judged by what really happened."""

import json
import math
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from mlops_obs.adapters.history import read_history, read_prometheus
from mlops_obs.adapters.history_files import HistoryErrors, read_incidents
from mlops_obs.adapters.processes import Daemon
from mlops_obs.cli.slo import app
from mlops_obs.errors import ObsError, UsageError
from mlops_obs.paging.plan import plan_of
from mlops_obs.paging.replay import Stretch, pages
from mlops_obs.paging.routing import Delays
from mlops_obs.slo.backtest import Incident, concerned, outage_seconds, propose, recommend, score, tier_set
from mlops_obs.slo.recordings import from_counts
from mlops_obs.slo.replay import alerts_of, held, raw_windows
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.tiers import plan_tiers

AVAILABILITY = SLO(service="shop", team="web", name="a", objective="0.99", indicator={"type": "availability"}, replan=True)
SPEC = """\
service: shop
team: web
slos:
  - {name: a, objective: 0.99, indicator: {type: availability}}
"""
START = 1_760_000_400  # on the grid, not on the hour
SLOTS = 12 * 72


def outage_counts(first: int = 500, slots: int = 12, ratio: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return times, bad and all of three days with 1,000 events every 5 minutes and one outage."""
    at = START + 300 * np.arange(SLOTS, dtype=np.int64)
    total = np.full(SLOTS, 1000.0)
    bad = np.ones(SLOTS)
    bad[first : first + slots] = 1000 * ratio
    return at, bad, total


def csv_of(path: Path) -> Path:
    at, bad, total = outage_counts()
    rows = [f"{time},shop,a,{b:.0f},{c:.0f}" for time, b, c in zip(at, bad, total, strict=True)]
    path.write_text("\n".join(["time,service,slo,bad,total", *rows, ""]))
    return path


def stretch(start: float, end: float, severity: str = "page", tier: str = "page-quick", slo: str = "a") -> Stretch:
    labels = {"alertname": "AvailabilityBudgetBurn", "service": "shop", "slo": slo, "team": "web", "severity": severity, "tier": tier}
    return Stretch(labels, start, end)


def told(*stretches: Stretch, until: float = 100_000.0) -> list[tuple[str, float, float | None, int]]:
    found = pages(stretches, plan_of([AVAILABILITY]), Delays(), until)
    return [(one.severity, one.opened, one.ended, one.told) for one in found]


def test_one_incident_is_one_page_however_many_tiers_burn():
    quick, slow = stretch(1000, 2000), stretch(1000, 5000, tier="page-slow")

    ((severity, opened, ended, _),) = told(quick, slow)

    assert (severity, opened) == ("page", 1010)
    assert 5000 <= ended <= 5060


def test_an_alert_that_is_over_before_its_group_has_waited_wakes_nobody():
    assert told(stretch(1000, 1009)) == []


def test_a_ticket_that_waits_is_silenced_by_the_page_that_comes_meanwhile():
    found = told(stretch(1000, 3000, "ticket", "ticket-quick"), stretch(1120, 3000))

    assert [severity for severity, *_ in found] == ["page"]


def test_a_ticket_is_told_when_the_page_that_silenced_it_is_over():
    found = told(stretch(1000, 9000, "ticket", "ticket-quick"), stretch(1000, 3000))

    assert [(severity, 3000 <= opened <= 3060) for severity, opened, *_ in found] == [("page", False), ("ticket", True)]


def test_an_incident_that_lasts_is_told_again_and_stays_one_page():
    ((_, _, ended, notifications),) = told(stretch(1000, 1000 + 9 * 3600))

    assert notifications == 4  # at once, after 4 h, after 8 h, and that it is over
    assert ended is not None


def test_two_incidents_an_hour_apart_are_two_pages():
    assert len(told(stretch(1000, 2000), stretch(5600, 6600))) == 2


def test_an_alert_fires_only_after_its_condition_has_held_for_so_long():
    at = np.arange(0, 900, 60)
    condition = np.array([0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1], dtype=bool)

    assert held(condition, at, 300).nonzero()[0].tolist() == [10, 11]


def test_a_score_without_incidents_knows_no_precision_and_without_pages_neither():
    found = pages([stretch(1000, 2000)], plan_of([AVAILABILITY]), Delays(), 100_000)

    assert (score(found, [], 7 * 86_400).precision, score(found, [], 7 * 86_400).pages_per_week) == (None, 1)
    assert score([], [Incident(0, 10)], 86_400).precision is None
    assert score([], [Incident(0, 10)], 86_400).recall == 0


def test_a_page_is_right_if_it_overlaps_an_incident_of_its_service():
    found = pages([stretch(1000, 2000), stretch(50_000, 51_000)], plan_of([AVAILABILITY]), Delays(), 100_000)
    incidents = [Incident(900, 1500, "shop"), Incident(900, 1500, "other"), Incident(80_000, 81_000, "shop", note="missed")]

    judged = score(found, incidents, 86_400)

    assert (judged.pages, judged.right, judged.false_pages, judged.precision) == (2, 1, 1, 0.5)
    assert judged.recall == pytest.approx(1 / 3)
    assert judged.detect == 110
    assert [one.note for one in judged.missed] == ["", "missed"]


def test_an_outage_pages_as_soon_as_the_compiler_said():
    at, bad, total = outage_counts()
    recorded = from_counts(AVAILABILITY, at, {(): (bad, total)}, raw_windows([AVAILABILITY]))

    quick = next(one for one in alerts_of([AVAILABILITY], {"shop/a": recorded}) if one.labels["tier"] == "page-quick")
    ((first, last),) = quick.stretches(at)

    bound = next(tier.seconds_to_fire for tier in plan_tiers(AVAILABILITY) if tier.name == "page-quick")
    assert first - (at[500] - 300) <= bound + 300
    assert last < at[512] + 1800


def test_proposals_are_no_worse_than_one_another_in_everything_and_fit_into_a_spec():
    at, bad, total = outage_counts()
    bad[100:103] = 60
    recorded = {"shop/a": from_counts(AVAILABILITY, at, {(): (bad, total)}, range(300, 3601, 300))}

    found = propose([AVAILABILITY], recorded, [Incident(float(at[499]), float(at[512]), "shop", "a")])

    costs = [(one.false_per_week, -one.recall, one.detect) for one in found]
    assert found
    assert all(not (all(a <= b for a, b in zip(x, y, strict=True)) and x != y) for x in costs for y in costs)
    assert plan_tiers(AVAILABILITY.model_copy(update={"tiers": found[0].tiers(AVAILABILITY), "severities": ("page",)}))


def test_what_is_recommended_sees_no_less_and_cries_wolf_no_more():
    at, bad, total = outage_counts(slots=3, ratio=0.3)
    recorded = {"shop/a": from_counts(AVAILABILITY, at, {(): (bad, total)}, range(300, 3601, 300))}
    incidents = [Incident(float(at[499]), float(at[503]), "shop", "a")]
    blind = score([], incidents, float(at[-1] - at[0]))

    best = recommend(propose([AVAILABILITY], recorded, incidents), blind, outage_seconds([AVAILABILITY]))

    assert best is not None
    assert (best.recall, best.false_per_week) == (1.0, 0.0)
    assert recommend([], blind, 0.0) is None


def test_plain_tiers_page_for_one_failure_on_an_idle_service_and_proven_ones_do_not():
    at = START + 300 * np.arange(SLOTS, dtype=np.int64)
    total = (np.arange(SLOTS) % 2).astype(float)
    bad = np.zeros(SLOTS)
    bad[501] = 1
    recorded = {"shop/a": from_counts(AVAILABILITY, at, {(): (bad, total)}, range(300, 3601, 300))}

    plain, proven = (
        {one.labels["severity"] for one in alerts_of(tier_set(name, [AVAILABILITY]), recorded)} for name in ("plain", "workbook")
    )

    assert "page" in plain
    assert "page" not in proven


def test_the_command_compares_sets_of_tiers_and_says_what_would_have_come(tmp_path):
    (tmp_path / "shop.yaml").write_text(SPEC)
    at, _, _ = outage_counts()
    (tmp_path / "incidents.csv").write_text(f"start,end,service,slo,note\n{at[499]},{at[511]},shop,a,the database\n")
    arguments = [
        "backtest",
        str(tmp_path / "shop.yaml"),
        "--from",
        str(csv_of(tmp_path / "h.csv")),
        "--incidents",
        str(tmp_path / "incidents.csv"),
    ]

    text, document = CliRunner().invoke(app, arguments), CliRunner().invoke(app, [*arguments, "-o", "json"])

    assert text.exit_code == 0, text.output
    assert "AvailabilityBudgetBurn a (page-quick)" in text.output
    sets = {one["name"]: one for one in json.loads(document.output)["tiers"]}
    assert set(sets) == {"yours", "workbook", "plain"}
    assert (sets["yours"]["pages"], sets["yours"]["precision"], sets["yours"]["recall"]) == (1, 1.0, 1.0)
    assert sets["yours"]["detect_seconds"] <= 900


def test_every_wrong_row_is_told_with_its_line_and_nothing_is_used(tmp_path):
    path = tmp_path / "h.csv"
    path.write_text("time,bad,total\n1760000400,1,10\nyesterday,1,10\n1760001000,11,10\n1760001300,1\n")

    with pytest.raises(HistoryErrors) as caught:
        read_history(path, [AVAILABILITY], [])

    lines = str(caught.value).splitlines()
    assert [line.split("h.csv:")[1].split(":")[0] for line in lines] == ["3", "4", "5"]
    assert all("[OBS-HIST-003]" in line for line in lines)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("time,bad,total\n0,1,2\n9999999999,1,2\n", "OBS-HIST-005"),
        ("time,bad,total\n1760000400,\x00,2\n", "OBS-HIST-00"),
        ("", "OBS-HIST-002"),
        ("when,bad,total\n", "OBS-HIST-002"),
        ("time,bad,total\n", "OBS-HIST-004"),
        (None, "OBS-HIST-001"),
    ],
)
def test_a_file_that_is_no_history_is_refused(tmp_path, text, code):
    path = tmp_path / "h.csv"
    if text is not None:
        path.write_text(text)

    with pytest.raises(UsageError, match=code):
        read_history(path, [AVAILABILITY], [])


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.one_of(
        st.text(max_size=300),
        st.lists(st.sampled_from(["time", "bad", "total", "1760000400", "1e999", "-1", "nan", ",", "\n", '"'])).map("".join),
    )
)
def test_no_file_makes_a_traceback(tmp_path, text):
    for name, read in (
        ("h.csv", lambda path: read_history(path, [AVAILABILITY], [])),
        ("i.csv", read_incidents),
        ("h.om", lambda path: read_history(path, [AVAILABILITY], [])),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8", errors="surrogatepass")
        with suppress(ObsError):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("1760000400,1,10,7", "too many columns"),
        ("1760000400,1e300,1e308", "more events than can be counted"),
        ("1760000400,few,10", "'few' is not a number"),
        ("yesterday,1,10", "'yesterday' is no time"),
    ],
)
def test_a_wrong_row_is_told_in_words_and_not_in_pythons(tmp_path, row, said):
    (tmp_path / "h.csv").write_text(f"time,bad,total\n{row}\n")

    with pytest.raises(HistoryErrors, match=said):
        read_history(tmp_path / "h.csv", [AVAILABILITY], [])


def test_a_sample_without_its_time_is_told_in_words(tmp_path):
    (tmp_path / "h.om").write_text("requests_total 5\n")

    with pytest.raises(HistoryErrors, match="a value or its time is missing"):
        read_history(tmp_path / "h.om", [AVAILABILITY], [])


@pytest.mark.parametrize("moment", ["nan", "inf", "1e300", "soon"])
def test_a_start_that_is_no_moment_is_refused(tmp_path, moment):
    (tmp_path / "s.yaml").write_text(SPEC)

    result = CliRunner().invoke(app, ["backtest", str(tmp_path / "s.yaml"), "--from", "http://127.0.0.1:9", "--start", moment])

    assert isinstance(result.exception, UsageError)
    assert result.exception.code == "OBS-CLI-001"


def test_a_prometheus_is_not_asked_for_decades():
    with pytest.raises(UsageError, match="OBS-HIST-005"):
        read_prometheus("http://127.0.0.1:9", [AVAILABILITY], [], 0.0, 1_760_000_400.0)


def test_a_history_of_one_moment_is_refused(tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC)
    (tmp_path / "h.csv").write_text("time,bad,total\n1760000400,1,10\n")

    result = CliRunner().invoke(app, ["backtest", str(tmp_path / "s.yaml"), "--from", str(tmp_path / "h.csv")])

    assert isinstance(result.exception, UsageError)
    assert "the history is a single moment" in str(result.exception)


def test_an_incident_of_another_service_or_time_is_no_miss():
    mine = Incident(1_000, 2_000, "shop", "a")
    others = [Incident(1_000, 2_000, "bank"), Incident(1_000, 2_000, "shop", "b"), Incident(0, 10, "shop"), Incident(9_000, 9_001)]

    assert concerned([*others, mine, Incident(1_500, 1_600)], [AVAILABILITY], 500, 5_000) == [mine, Incident(1_500, 1_600)]


def test_incidents_are_read_in_both_kinds_of_time(tmp_path):
    path = tmp_path / "i.csv"
    path.write_text("start,end,service\n2025-10-09T09:00:00Z,1760004000,shop\n")

    assert read_incidents(path) == [Incident(1_760_000_400.0, 1_760_004_000.0, "shop")]


def test_raw_counters_of_a_file_are_replayed_minute_by_minute(tmp_path):
    path, failed, passed = tmp_path / "raw.om", 0, 0
    lines = ["# TYPE mlops_obs_requests_total counter"]
    for minute in range(300):
        failed, passed = (failed + 100, passed) if 200 <= minute < 230 else (failed, passed + 100)
        for outcome, value in (("ok", passed), ("error", failed)):
            labels = f'service="shop",stage="ingress",outcome="{outcome}"'
            lines.append(f"mlops_obs_requests_total{{{labels}}} {value} {START + 60 * minute}")
    path.write_text("\n".join([*lines, "# EOF", ""]))

    recorded = read_history(path, [AVAILABILITY], raw_windows([AVAILABILITY]))
    quick = next(one for one in alerts_of([AVAILABILITY], recorded) if one.labels["tier"] == "page-quick")
    ((first, _),) = quick.stretches(recorded["shop/a"].at)

    assert recorded["shop/a"].at[1] - recorded["shop/a"].at[0] == 60
    assert 0 < first - (START + 200 * 60) <= 600


def test_ninety_days_of_a_hundred_slos_take_a_few_arrays_and_no_loop_over_minutes():
    at = START + 300 * np.arange(90 * 288, dtype=np.int64)
    rng = np.random.default_rng(1)
    total = rng.poisson(500, len(at)).astype(float)
    recorded = from_counts(
        AVAILABILITY, at, {(): (rng.binomial(total.astype(int), 0.002).astype(float), total)}, raw_windows([AVAILABILITY])
    )

    bad, everything = recorded.window((), 30 * 86_400)

    last = slice(-30 * 288, None)
    assert (bad[-1], everything[-1]) == (recorded.raw[()][300][0][last].sum(), total[last].sum())


@contextmanager
def prometheus_on(folder: Path, data: Path) -> Iterator[str]:
    """Run a Prometheus on the blocks in `data` and yield its address."""
    (folder / "prometheus.yml").write_text("global: {scrape_interval: 1m}\n")
    flags = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={data}", "--storage.tsdb.retention.time=10y"]
    server = Daemon(
        "prometheus", lambda listen: ["prometheus", *flags, f"--web.listen-address={listen}"], "/-/ready", folder / "prometheus.log"
    )
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


PROMETHEUS = pytest.mark.skipif(shutil.which("promtool") is None or shutil.which("prometheus") is None, reason="apt-get install prometheus")


@PROMETHEUS
def test_what_is_backfilled_is_read_by_prometheus_and_replays_to_the_same_pages(tmp_path):
    (tmp_path / "shop.yaml").write_text(SPEC)
    data, source = tmp_path / "data", csv_of(tmp_path / "h.csv")

    done = CliRunner().invoke(app, ["backfill", str(tmp_path / "shop.yaml"), "--from", str(source), "--data", str(data)])
    assert done.exit_code == 0, done.output
    with prometheus_on(tmp_path, data) as url:
        at, _, _ = outage_counts()
        from_server = read_prometheus(url, [AVAILABILITY], raw_windows([AVAILABILITY]), float(at[0]), float(at[-1]))

    from_file = read_history(source, [AVAILABILITY], raw_windows([AVAILABILITY]))
    mine, theirs = (
        [(one.labels["tier"], one.stretches(at)) for one in alerts_of([AVAILABILITY], recorded)] for recorded in (from_file, from_server)
    )
    assert mine == theirs
    assert mine


def test_a_backfill_writes_what_every_window_derives_from(tmp_path):
    (tmp_path / "shop.yaml").write_text(SPEC)
    out = tmp_path / "recordings.om"

    done = CliRunner().invoke(app, ["backfill", str(tmp_path / "shop.yaml"), "--from", str(csv_of(tmp_path / "h.csv")), "--out", str(out)])

    assert done.exit_code == 0, done.output
    lines = [line.split("{")[0] for line in out.read_text().splitlines() if line[0] != "#"]
    assert {name: lines.count(name) for name in set(lines)} == {
        "slo:events_bad:increase5m": SLOTS,
        "slo:events_total:increase5m": SLOTS,
        **{f"slo:events_{kind}:increase{hour}": 72 for kind in ("bad", "total") for hour in ("1h", "1h_hourly")},
        "slo:error_budget_remaining:ratio": SLOTS,
    }
    assert out.read_text().endswith("# EOF\n")
    if shutil.which("promtool"):
        blocks = subprocess.run(
            ["promtool", "tsdb", "create-blocks-from", "openmetrics", out, tmp_path / "d"], capture_output=True, check=False
        )
        assert blocks.returncode == 0, blocks.stderr


def test_shares_of_tiers_are_those_of_the_budget_whatever_the_period():
    short = AVAILABILITY.model_copy(update={"period": "7d"})
    at, bad, total = outage_counts()

    found = propose([short], {"shop/a": from_counts(short, at, {(): (bad, total)}, range(300, 3601, 300))}, [])

    assert all(tier.factor >= Decimal(1) for one in found for tier in one.tiers(short))
    assert all(one.false_per_week is None and math.isfinite(one.outage) for one in found)


@PROMETHEUS
def test_where_no_rule_has_recorded_the_server_counts_as_the_replay_does(tmp_path):
    slos = [
        AVAILABILITY.model_copy(update={"group_by": ("revision",)}),
        SLO(service="shop", team="web", name="l", objective="0.9", indicator={"type": "latency", "threshold": "250ms"}, replan=True),
        SLO(service="shop", team="web", name="p", objective="0.9", indicator={"type": "boolean", "metric": "probe_success"}, replan=True),
        SLO(
            service="shop",
            team="web",
            name="r",
            objective="0.9",
            replan=True,
            indicator={
                "type": "ratio",
                "bad": 'sum(increase(mlops_obs_requests_total{outcome="error"}[{{.window}}]))',
                "total": "sum(increase(mlops_obs_requests_total[{{.window}}]))",
            },
        ),
    ]
    rng = np.random.default_rng(3)
    counts = np.cumsum(rng.poisson(20, (4, 200)), axis=1)
    of = 'service="shop",stage="ingress",revision="v1"'
    heads = [
        ("mlops_obs_requests_total", f'{{{of},outcome="ok"}}', counts[0]),
        ("mlops_obs_requests_total", f'{{{of},outcome="error"}}', counts[1]),
        ("mlops_obs_request_duration_seconds_count", f"{{{of}}}", counts[0] + counts[1]),
        ("mlops_obs_request_duration_seconds_bucket", f'{{{of},le="0.25"}}', counts[0]),
        ("probe_success", "", rng.integers(0, 2, 200)),
    ]
    lines = []
    for name in dict.fromkeys(name for name, _, _ in heads):
        lines.append(f"# TYPE {name} unknown")
        lines += [f"{name}{labels} {v} {START + 60 * i}" for one, labels, values in heads if one == name for i, v in enumerate(values)]
    raw, data = tmp_path / "raw.om", tmp_path / "data"
    raw.write_text("\n".join([*lines, "# EOF", ""]))
    subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", raw, data], capture_output=True, check=True)

    with prometheus_on(tmp_path, data) as url:
        server = read_prometheus(url, slos, [], START, START + 200 * 60)
    file = read_history(raw, slos[:3], [], step=300)

    same = [("shop/a", "shop/a"), ("shop/l", "shop/l"), ("shop/p", "shop/p"), ("shop/a", "shop/r")]  # in the file, on the server
    for mine, theirs in ((file[one], server[other]) for one, other in same):
        at = np.intersect1d(mine.at, theirs.at)[1:]
        for group in theirs.groups():
            for place in (0, 1):
                ours, others = (one.raw[group][300][place][np.isin(one.at, at)] for one in (mine, theirs))
                np.testing.assert_allclose(ours, others, rtol=1e-9)
