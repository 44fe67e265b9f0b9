"""What promtool cannot tell: rules on a real Prometheus, at real dates and on native histograms."""

import json
import random
import re
import shutil
import time
import urllib.parse
import urllib.request

import pytest
import yaml
from native_histograms import exposing

from mlops_obs import metric_names as names
from mlops_obs.adapters.processes import Daemon, free_port
from mlops_obs.slo.calendar import next_period_start, period_start
from mlops_obs.slo.mutants import mutants
from mlops_obs.slo.real_dates import filled_in, instants, judged_at_real_dates, recorded_at
from mlops_obs.slo.rules.calendar import calendar_rules
from mlops_obs.slo.rules.names import series_of
from mlops_obs.slo.rules.prometheus_rules import render_rules
from mlops_obs.slo.spec import SLO

FIRST, LAST = 1_704_067_200, 2_145_916_800  # 2024 to 2037
NATIVE = {"type": "latency", "threshold": "250ms", "histogram": "http_seconds", "native": True}


class Prometheus:
    def __init__(self, folder, config):
        program = shutil.which("prometheus")
        if program is None:
            pytest.skip("prometheus is missing: apt-get install prometheus")
        folder.mkdir(exist_ok=True)
        (folder / "prometheus.yml").write_text(json.dumps(config))
        flags = [
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--enable-feature=native-histograms",
        ]
        flags.append("--enable-feature=native-histograms")
        self.daemon = Daemon(
            "Prometheus", lambda listen: [program, *flags, f"--web.listen-address={listen}"], "/-/ready", folder / "log", free_port()
        )
        self.daemon.start()

    def ask(self, expr, at=None):
        """Return {labels: value} of an instant query."""
        query = urllib.parse.urlencode({"query": expr, **({} if at is None else {"time": at})})
        with urllib.request.urlopen(f"{self.daemon.url}/api/v1/query?{query}") as answer:
            found = json.load(answer)["data"]["result"]
        return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in found}


@pytest.fixture(scope="module")
def bare_prometheus(tmp_path_factory):
    running = Prometheus(tmp_path_factory.mktemp("bare") / "p", {})
    yield running
    running.daemon.stop()


def recorded(prometheus, slo, now):
    """Return what the calendar rules record at `now`, one after the other; nothing is stored there, so each reads the values before it."""
    known = {}
    for name, expr in calendar_rules(slo):
        for other, value in known.items():
            expr = expr.replace(f"scalar({series_of(slo).named(other)})", f"({value})")
        (known[name],) = (f"{value:.0f}" for value in prometheus.ask(expr, now).values())
    return known


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Auckland"])
@pytest.mark.parametrize("kind", ["week", "month", "quarter"])
def test_prometheus_begins_a_period_when_the_calendar_does(bare_prometheus, kind, zone):
    slo = SLO(
        service="s", team="t", name="a", objective="0.9", indicator={"type": "availability"}, period=kind, time_zone=zone, replan=True
    )
    rng = random.Random(f"{kind} {zone}")
    instants = [rng.randrange(FIRST, LAST) for _ in range(10)]
    edges = [period_start(kind, zone, one) for one in instants[:5]]

    for now in [*instants, *edges, *(edge - 1 for edge in edges)]:
        found, begin = recorded(bare_prometheus, slo, now), period_start(kind, zone, now)
        assert int(found["slo:period_start:seconds"]) == begin, now
        assert int(found["slo:period:seconds"]) == next_period_start(kind, zone, now) - begin, now


@pytest.mark.parametrize("kind", ["month", "quarter"])
def test_a_wrong_calendar_rule_is_seen_at_a_change_of_clocks_or_a_turn_of_a_period(bare_prometheus, kind):
    slo = SLO(
        service="s", team="t", name="a", objective="0.9", indicator={"type": "availability"}, period=kind, time_zone="Europe/Berlin",
        replan=True,
    )  # fmt: skip
    rules = dict(calendar_rules(slo))
    every = [one for one in mutants(render_rules([slo])) if judged_at_real_dates(one)]
    # The other rules repeat their terms so often that one wrong among them means the same in every year (`equal_at_all_dates`).
    wrong = [one for one in every if one.rule == names.SLO_ZONE_OFFSET]

    for now in instants(slo)[::20]:
        for name, right in recorded_at(slo, now).items():
            assert list(bare_prometheus.ask(filled_in(slo, rules[name], now), now).values()) == [right], (name, now)
    for one in random.Random(kind).sample(wrong, 12):
        changed = yaml.safe_load(f"expr: {one.replacement}")["expr"]
        answers = (
            list(bare_prometheus.ask(filled_in(slo, changed, now), now).values()) != [recorded_at(slo, now)[one.rule]]
            for now in instants(slo)
        )
        assert any(answers), one.where


def test_native_histograms_are_counted_by_group_and_as_a_whole(tmp_path):
    slo = SLO(service="shop", team="web", name="n", objective="0.9", indicator=NATIVE, group_by=["job"], replan=True)
    (tmp_path / "rules.yaml").write_text(re.sub(r"interval: 30s", "interval: 1s", render_rules([slo])))
    with exposing("http_seconds", {"one": (30, 10), "two": (40, 0), "idle": (0, 0)}, "job") as port:
        scrape = {
            "job_name": "x",
            "honor_labels": True,
            "scrape_interval": "1s",
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
        }
        running = Prometheus(tmp_path / "p", {"rule_files": [str(tmp_path / "rules.yaml")], "scrape_configs": [scrape]})
        try:
            deadline, ratios = time.monotonic() + 60, {}
            while time.monotonic() < deadline and len(ratios) < 3:
                time.sleep(0.5)
                ratios = {dict(key).get("job", ""): value for key, value in running.ask("slo:error_ratio:increase1h").items()}
            bad = {dict(key).get("job", ""): value for key, value in running.ask("slo:events_bad:increase1h").items()}
            alerts = {dict(key).get("job", "") for key in running.ask('ALERTS{alertname="LatencyBudgetBurn"}')}
        finally:
            running.daemon.stop()

    assert ratios == {"one": pytest.approx(0.25), "two": pytest.approx(0), "": pytest.approx(0.125)}
    assert bad["idle"] == 0, "a histogram without observations has no fraction, but it is there"
    assert bad[""] == pytest.approx(bad["one"])
    assert "two" not in alerts
