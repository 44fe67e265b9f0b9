import json
import signal
import subprocess
import sys
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from mlops_obs.cli.collect import app
from mlops_obs.errors import SpecError


@pytest.mark.stack
@pytest.mark.skipif(sys.platform != "linux", reason="NVML is looked for on Linux")
def test_the_gpu_exporter_announces_itself_says_no_driver_and_leaves_nothing_behind(tmp_path):
    command = [sys.executable, "-m", "mlops_obs.cli.main", "collect", "gpu", "--discovery", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("gpu: ").strip()
        (announcement,) = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
        text = urllib.request.urlopen(url, timeout=10).read().decode()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()

    assert process.returncode == 0
    assert url == f"http://{announcement[0]['targets'][0]}/metrics"
    up = next(family for family in text_string_to_metric_families(text) if family.name == "mlops_obs_collector_up")
    (sample,) = [one for one in up.samples if one.labels["collector"] == "gpu"]
    if sample.value == 0:
        assert sample.labels["reason"] == "no_driver"
        assert "OBS-GPU-002" in said
    assert "Traceback" not in said
    assert list(tmp_path.glob("*.json")) == []


def test_a_configuration_that_is_not_there_is_said_before_anything_is_served(tmp_path):
    result = CliRunner().invoke(app, ["freshness", "--config", str(tmp_path / "none.yaml")])

    assert "OBS-FRS-002" in str(result.exception)


@pytest.mark.parametrize("content", [b"a: [1\nb: }", b"\xff\xfe"], ids=["not YAML", "not UTF-8"])
def test_a_configuration_that_cannot_be_read_is_one_line(tmp_path, content):
    path = tmp_path / "collector.yaml"
    path.write_bytes(content)

    error = CliRunner().invoke(app, ["freshness", "--config", str(path)]).exception

    assert isinstance(error, SpecError), error
    assert str(error).startswith(str(path))
    assert "\n" not in str(error)


def test_a_stale_table_is_found_and_renewed(tmp_path):
    from mlops_obs.collectors.readme import BEGIN, END, GROUPS

    for name in GROUPS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text(f"# {name}\n{BEGIN}\nold\n{END}\nafter\n")

    stale = CliRunner().invoke(app, ["tables", str(tmp_path), "--check"])
    written = CliRunner().invoke(app, ["tables", str(tmp_path)])
    current = CliRunner().invoke(app, ["tables", str(tmp_path), "--check"])

    assert (stale.exit_code, written.exit_code, current.exit_code, current.stdout) == (1, 0, 0, "")
    assert (tmp_path / "gpu" / "README.md").read_text().endswith(f"{END}\nafter\n")
