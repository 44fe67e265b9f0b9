"""The demo's own Prometheus and Alertmanager: real processes, real ports."""

import os
from pathlib import Path

import pytest

from mlops_obs.adapters.files import load_slos
from mlops_obs.adapters.local_prometheus import LocalMonitoring, available
from mlops_obs.adapters.processes import Daemon, free_port
from mlops_obs.adapters.prometheus import PrometheusCounters
from mlops_obs.durations import parse_duration
from mlops_obs.errors import PlatformError

ROOT = Path(__file__).parents[2]
SILENT = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(not available(), reason="prometheus is missing: apt-get install prometheus prometheus-alertmanager"),
]


def test_both_programs_become_ready_on_loopback_and_end_when_stopped(tmp_path: Path) -> None:
    with LocalMonitoring(tmp_path / "with space", [], tmp_path / "discovery", SILENT) as local:
        pids = [local.prometheus.pid, local.alertmanager.pid]

        assert PrometheusCounters(local.prometheus_url).ready()
        assert PrometheusCounters(local.alertmanager_url).ready()

    assert local.prometheus.pid is None
    for pid in pids:
        assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_prometheus_keeps_what_the_longest_budget_looks_back_at() -> None:
    flags = (ROOT / "platform" / "local" / "prometheus.args").read_text()
    kept = parse_duration(flags.partition("retention.time=")[2].split()[0])

    assert kept >= max(slo.period_seconds for slo in load_slos(ROOT / "slo"))


def test_a_broken_rule_file_is_reported_with_the_end_of_the_log_and_leaves_nothing_running(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("groups: [{name: g, rules: [{record: a, expr: 'sum('}]}]\n")

    with pytest.raises(PlatformError, match=r"Prometheus ended with code 1 while starting") as caught:
        LocalMonitoring(tmp_path, [rules], tmp_path / "discovery", SILENT)

    assert "rules.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with LocalMonitoring(tmp_path / "first", [], tmp_path / "discovery", SILENT) as first:
        taken = int(first.alertmanager_url.rsplit(":", 1)[1])

        with pytest.raises(PlatformError, match=rf"port {taken} is taken.*OBS-PLAT-002"):
            LocalMonitoring(tmp_path / "second", [], tmp_path / "discovery", SILENT, alertmanager_port=taken)


def test_prometheus_comes_back_on_the_same_address_after_an_outage(tmp_path: Path) -> None:
    with LocalMonitoring(tmp_path, [], tmp_path / "discovery", SILENT) as local:
        address = local.prometheus_url

        local.prometheus.stop()
        during = PrometheusCounters(address).ready()
        local.prometheus.start()

        assert (during, PrometheusCounters(address).ready(), local.prometheus_url) == (False, True, address)


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    daemon = Daemon("Nothing", lambda listen: ["no-such-program-here", listen], "/", tmp_path / "log", free_port())

    with pytest.raises(PlatformError, match=r"no-such-program-here is not installed.*OBS-PLAT-001"):
        daemon.start()
