"""`obs monitor` refuses what cannot work, in one line with a code, before it starts anything."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mlops_obs.cli.monitor import app
from mlops_obs.errors import ObsError

GOOD: dict[str, Any] = {
    "service": "credit-risk",
    "state": "state.db",
    "discovery": "discovery",
    "metrics": {"embedded": "metrics.db"},
    "target": {"ray_serve": {"address": "127.0.0.1:6379", "url": "http://127.0.0.1:8000", "import_path": "a:b"}},
    "inbox": "http://127.0.0.1:1",
}
SLO = "service: a\nteam: b\nslos:\n  - {name: c, objective: 0.99, indicator: {type: availability}}\n"


def refused(tmp_path: Path, change: dict[str, Any], *flags: str, spec: str = SLO) -> str:
    (tmp_path / "obs.yaml").write_text(json.dumps({key: value for key, value in {**GOOD, **change}.items() if value is not None}))
    (tmp_path / "slo.yaml").write_text(spec)
    result = CliRunner().invoke(app, [str(tmp_path / "slo.yaml"), "--env", str(tmp_path / "obs.yaml"), *flags])
    assert isinstance(result.exception, ObsError)
    assert not (tmp_path / "metrics.db").exists()
    return str(result.exception)


CASES: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "an environment on Prometheus": ({"metrics": {"prometheus": "http://127.0.0.1:9090"}}, (), "OBS-MON-001"),
    "no discovery folder": ({"discovery": None}, (), "OBS-MON-002"),
    "nobody to page": ({"inbox": None}, (), "OBS-MON-003"),
    "an interval that is no duration": ({}, ("--interval", "often"), "OBS-DUR-001"),
    "an interval too long for alerts to be judged": ({}, ("--interval", "2m"), "OBS-MON-004"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_environment_that_cannot_be_monitored_is_refused(case: str, tmp_path: Path) -> None:
    change, flags, code = CASES[case]

    assert code in refused(tmp_path, change, *flags)


def test_a_mistake_in_an_slo_is_reported_with_its_line(tmp_path: Path) -> None:
    assert "slo.yaml:4: objective 99.9 is a percentage" in refused(tmp_path, {}, spec=SLO.replace("0.99", "99.9"))
