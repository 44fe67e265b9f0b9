"""Half a scrape must never be taken for a whole one."""

import json
from pathlib import Path

import pytest
from web import serving

from mlops_obs.adapters.exposition import Malformed, Sample, parse, with_target_labels
from mlops_obs.adapters.scrape import Target, discovered, scrape

TEXT = """\
# HELP mlops_obs_requests_total Requests finished.
# TYPE mlops_obs_requests_total counter
mlops_obs_requests_total{revision="v1",outcome="ok"} 3.0
# TYPE mlops_obs_requests_created gauge
mlops_obs_requests_created{revision="v1",outcome="ok"} 1.7e9
# TYPE mlops_obs_requests_inflight gauge
mlops_obs_requests_inflight{revision="v1"} 2.0
"""
OPENMETRICS = """\
# TYPE mlops_obs_request_duration_seconds histogram
mlops_obs_request_duration_seconds_bucket{le="0.25"} 2.0 # {trace_id="abc"} 0.2 1.0
mlops_obs_request_duration_seconds_bucket{le="+Inf"} 3.0
mlops_obs_request_duration_seconds_count 3.0
mlops_obs_request_duration_seconds_sum 1.5
# EOF
"""


def test_counters_and_gauges_are_told_apart_and_created_times_left_out() -> None:
    assert parse(TEXT) == [
        Sample("mlops_obs_requests_total", {"revision": "v1", "outcome": "ok"}, 3.0, "counter"),
        Sample("mlops_obs_requests_inflight", {"revision": "v1"}, 2.0, "gauge"),
    ]


def test_openmetrics_with_exemplars_is_read_too() -> None:
    found = parse(OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8")

    assert [one.value for one in found] == [2.0, 3.0, 3.0, 1.5]
    assert {"counter"} == {one.kind for one in found}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (TEXT[:-3], "text/plain"),
        (OPENMETRICS.replace("# EOF\n", ""), "application/openmetrics-text"),
        ("<html>not metrics</html>\n", "text/html"),
        ('a{b="c} 1\n', "text/plain"),
    ],
    ids=["cut off text", "OpenMetrics without its end", "HTML", "an open quote"],
)
def test_what_is_damaged_is_refused_as_a_whole(text: str, kind: str) -> None:
    with pytest.raises(Malformed):
        parse(text, kind)


def test_a_target_that_explodes_in_labels_is_refused() -> None:
    with pytest.raises(Malformed, match="more than 10 samples"):
        parse("".join(f'a{{user="{n}"}} 1\n' for n in range(11)), limit=10)


def test_a_label_that_clashes_with_the_target_is_kept_as_exported() -> None:
    [one] = with_target_labels([Sample("a", {"job": "mine", "x": "1"}, 1.0, "gauge")], {"job": "mlops-obs", "instance": "h:1"})

    assert one.labels == {"exported_job": "mine", "x": "1", "job": "mlops-obs", "instance": "h:1"}


def test_a_scrape_says_up_and_a_failed_one_says_only_that_it_is_down() -> None:
    with serving(lambda path, body: (200, "text/plain; version=0.0.4", TEXT.encode())) as url:
        target = Target(url.removeprefix("http://"), {"instance": "i"})
        alive = scrape(target, 2)
    dead = scrape(target, 2)

    assert [one.name for one in alive] == ["mlops_obs_requests_total", "mlops_obs_requests_inflight", "up"]
    assert [Sample("up", {"instance": "i"}, 0.0, "gauge")] == dead


def test_discovery_reads_file_sd_and_leaves_out_what_is_broken(tmp_path: Path) -> None:
    (tmp_path / "a-1.json").write_text(json.dumps([{"targets": ["127.0.0.1:1"], "labels": {"obs_process": "a", "__scheme__": "http"}}]))
    (tmp_path / "b-2.json").write_text('[{"targets": ["127.0')
    (tmp_path / "c-3.json").write_text('{"targets": 5}')
    (tmp_path / "d-4.json.tmp").write_text('[{"targets": ["127.0.0.1:4"]}]')

    assert [Target("127.0.0.1:1", {"job": "mlops-obs", "obs_process": "a", "instance": "127.0.0.1:1"})] == discovered(tmp_path)
