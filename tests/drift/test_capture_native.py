"""Distributions as native histograms: what a real Prometheus scrapes and computes is what Python counts."""

import json
import shutil
import threading
import time
import urllib.parse
import urllib.request

import numpy as np
import pytest

from mlops_obs.adapters import protobuf_exposition, telemetry, telemetry_process
from mlops_obs.adapters.processes import Daemon, free_port
from mlops_obs.adapters.telemetry_process import Process
from mlops_obs.collectors.drift import ReferenceProfile
from mlops_obs.collectors.drift.columns import INVALID, Column, Schema
from mlops_obs.collectors.drift.native import FeatureHistograms, index_of, native_cells
from mlops_obs.collectors.drift.statistics.divergences import psi
from mlops_obs.lifecycle import instrument
from mlops_obs.slo.rules.distances import ReferenceCells, ks_expr, psi_expr

FAMILIES = {
    "lognormal": lambda random, rows: random.lognormal(8, 1, rows),
    "both signs": lambda random, rows: random.normal(500, 2_000, rows),
    "ages": lambda random, rows: random.integers(18, 90, rows).astype(float),
    "counts with zeros": lambda random, rows: random.poisson(2, rows).astype(float),
    "mostly zero": lambda random, rows: np.where(random.random(rows) < 0.9, 0.0, random.lognormal(5, 1, rows)),
    "scores": lambda random, rows: random.beta(2, 5, rows),
}


def test_a_bucket_ends_at_its_border_which_belongs_to_it():
    indices = np.arange(-200, 200)
    borders = np.exp2(indices / 128)

    assert index_of(np.exp2(np.arange(-9.0, 9.0))).tolist() == (128 * np.arange(-9, 9)).tolist()
    assert index_of(borders * (1 + 1e-9)).tolist() == (indices + 1).tolist()
    assert index_of(borders * (1 - 1e-9)).tolist() == indices.tolist()
    assert index_of(np.array([np.inf]))[0] == index_of(np.array([1.7976e308]))[0] + 1


def test_blocks_add_up_and_what_is_no_number_is_no_observation():
    random = np.random.default_rng(1)
    values = random.normal(size=5_000)
    values[:300] = 0.0
    values[300:400] = np.nan
    values[400:450] = INVALID
    whole, parts = FeatureHistograms([Column("x")]), FeatureHistograms([Column("x")])

    whole.add({"x": values})
    for start in range(0, 5_000, 700):
        parts.add({"x": values[start : start + 700]})

    one, other = whole.read()["x"], parts.read()["x"]
    assert one.count == other.count == 5_000 - 150
    assert one.zeros == 300
    assert np.array_equal(one.positive, other.positive)
    assert np.array_equal(one.negative, other.negative)
    assert one.total == pytest.approx(other.total)


def between(histogram, cuts):
    """Count the observations up to each cut and above the last, as histogram_fraction does at borders of buckets."""
    with np.errstate(over="ignore"):
        positive, negative = (np.exp2(side[0] / 128) for side in (histogram.positive, histogram.negative))
        nearly = np.array(cuts) + np.abs(cuts) * 1e-9
    ends = np.concatenate([positive, -negative / np.exp2(1 / 128), np.zeros(1)])
    counts = np.concatenate([histogram.positive[1], histogram.negative[1], [histogram.zeros]])
    return np.bincount(np.searchsorted(nearly, ends), weights=counts, minlength=len(cuts) + 1)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("origin", [0.0, 1_900.0])
def test_the_cells_of_a_reference_can_be_cut_out_of_the_histogram_exactly(family, origin):
    random = np.random.default_rng(5)
    before, after = FAMILIES[family](random, 5_000), FAMILIES[family](random, 5_000) * 1.4 - 0.3
    schema = Schema((Column("x", origin=origin),))
    reference, current = (ReferenceProfile.from_block({"x": one + origin}, schema) for one in (before, after))
    partition = reference.partition("x")
    histograms = FeatureHistograms(schema.columns)
    histograms.add({"x": after + origin})

    cuts, rows = native_cells(reference.sketches["x"], partition)

    assert rows == partition.expected[:-2].tolist()
    assert between(histograms.read()["x"], cuts).tolist() == partition.count(current.sketches["x"])[:-2].tolist()


def test_infinities_and_numbers_next_to_zero_are_in_the_cells_of_the_sketch():
    values = np.array([-np.inf, -1e300, -1e-300, -0.0, 0.0, 5e-324, 1e-300, 1e300, np.inf, 7.0])
    reference = ReferenceProfile.from_columns({"x": values})
    histograms = FeatureHistograms([Column("x")])
    histograms.add({"x": values})

    cuts, rows = native_cells(reference.sketches["x"], reference.partition("x"))

    assert sum(rows) == histograms.read()["x"].count == 10
    assert np.isfinite(cuts).all()
    assert between(histograms.read()["x"], cuts).sum() == 10


@pytest.fixture
def process(monkeypatch):
    monkeypatch.setenv("MLOPS_OBS_NATIVE_HISTOGRAMS", "1")
    monkeypatch.delenv("MLOPS_OBS_STATE_DIR", raising=False)
    fresh = Process()
    monkeypatch.setattr(telemetry_process, "_process", fresh)
    yield fresh
    fresh.close()


class Prometheus:
    def __init__(self, folder, target):
        program = shutil.which("prometheus")
        if program is None:
            pytest.skip("prometheus is missing: apt-get install prometheus")
        config = {
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
            "scrape_configs": [{"job_name": "m", "static_configs": [{"targets": [target]}]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        flags = [
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--enable-feature=native-histograms,exemplar-storage",
        ]
        self.daemon = Daemon(
            "Prometheus", lambda listen: [program, *flags, f"--web.listen-address={listen}"], "/-/ready", folder / "log", free_port()
        )
        self.daemon.start()

    def ask(self, expr):
        """Return the one value of an instant query, or None."""
        query = urllib.parse.urlencode({"query": expr})
        with urllib.request.urlopen(f"{self.daemon.url}/api/v1/query?{query}") as answer:
            found = json.load(answer)["data"]["result"]
        return float(found[0]["value"][1]) if found else None


def test_prometheus_computes_psi_and_ks_from_the_histograms_of_a_live_model(process, tmp_path):
    random = np.random.default_rng(5)
    before = random.lognormal(8, 1, 20_000)
    after = random.lognormal(8.4, 1, 4_000)
    profile = ReferenceProfile.from_columns({"income": before, "never": np.arange(20_000.0)})
    handle = instrument("credit-risk", "v2", reference=profile.to_bytes())
    with handle.request():
        pass
    handle.feature_table(np.column_stack([after, np.full(4_000, np.nan)]))
    address = telemetry.serve("model", port=0)
    prometheus = Prometheus(tmp_path, address)
    try:
        series = 'mlops_obs_feature_value{feature="income",revision="v2",service="credit-risk"}'
        deadline = time.monotonic() + 60
        while prometheus.ask(f"histogram_count({series})") != 4_000 and time.monotonic() < deadline:
            time.sleep(0.1)
        cuts, rows = native_cells(profile.sketches["income"], profile.partition("income"))
        cells = ReferenceCells("income", tuple(cuts), tuple(rows))
        computed = prometheus.ask(psi_expr(cells, series)), prometheus.ask(ks_expr(cells, series))
        total = prometheus.ask(f"histogram_sum({series})")
        empty = prometheus.ask('histogram_count(mlops_obs_feature_value{feature="never"})')
        requests = prometheus.ask('mlops_obs_requests_total{outcome="ok",stage="serve"}')
        answered = prometheus.ask('mlops_obs_request_duration_seconds_bucket{le="+Inf",stage="serve"}')
    finally:
        prometheus.daemon.stop()

    partition = profile.partition("income")
    live = partition.count(ReferenceProfile.from_columns({"income": after}).sketches["income"])
    apart = np.cumsum(partition.expected[:-2]) / 20_000 - np.cumsum(live[:-2]) / 4_000
    assert computed[0] == pytest.approx(psi(partition.expected, live), rel=1e-6)
    assert computed[1] == pytest.approx(np.abs(apart).max(), rel=1e-6)
    assert total == pytest.approx(after.sum())
    assert (empty, requests, answered) == (0.0, 1.0, 1.0)  # the classic metrics come in the same format


def test_only_a_scraper_that_asks_for_protobuf_gets_it(process):
    handle = instrument("credit-risk", "v2", reference=ReferenceProfile.from_columns({"x": np.arange(100.0)}).to_bytes())
    handle.feature_table([[1.0], [2.0]])
    asked = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,text/plain;q=0.5"

    protobuf, its_type = process.metrics.text(asked)
    text, text_type = process.metrics.text("text/plain;version=0.0.4;q=0.5,*/*;q=0.1")

    assert its_type == protobuf_exposition.CONTENT_TYPE
    assert b"mlops_obs_feature_value" in protobuf
    assert text_type.startswith("text/plain")
    assert b"mlops_obs_feature_value" not in text
    assert b"mlops_obs_drift_rows_total" in text


def test_a_scrape_between_two_folds_sees_whole_blocks_only():
    histograms = FeatureHistograms([Column("x"), Column("y")])
    stop = threading.Event()
    seen = set()

    def scrape():
        while not stop.is_set():
            read = histograms.read()
            seen.add(read["x"].count % 100)
            seen.add(read["x"].count - read["y"].count)

    thread = threading.Thread(target=scrape)
    thread.start()
    for _ in range(200):
        histograms.add({"x": np.ones(100), "y": np.ones(100)})
    stop.set()
    thread.join()

    assert seen == {0}
