"""`obs drift rules`: a reference as recording rules that promtool accepts; that they compute what Python does is in test_capture_native."""

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from mlops_obs.cli.drift import app
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.errors import SpecError

RUN = CliRunner()


@pytest.fixture
def reference(tmp_path):
    rng = np.random.default_rng(4)
    path = tmp_path / "reference.bin"
    columns = {"income": rng.lognormal(10, 1, 3_000), "age": rng.normal(45, 12, 3_000), "never": np.full(3_000, np.nan)}
    path.write_bytes(ReferenceProfile.from_columns(columns).to_bytes())
    return path


def test_each_numeric_feature_gets_its_two_distances_and_promtool_accepts_them(reference, tmp_path, promtool):
    out = tmp_path / "rules.yaml"

    told = RUN.invoke(app, ["rules", "--reference", str(reference), "--service", "shop", "--window", "30m", "--out", str(out)])
    rules = yaml.safe_load(out.read_text())["groups"][0]["rules"]
    code, output = promtool("check", "rules", out)

    assert told.exit_code == 0, told.output
    assert [one["record"] for one in rules] == ["drift:feature_value:increase30m", *("drift:feature_psi:30m", "drift:feature_ks:30m") * 2]
    assert 'feature="income"' in rules[1]["expr"]
    assert code == 0, output


def test_a_reference_without_numbers_is_refused(tmp_path):
    path = tmp_path / "reference.bin"
    path.write_bytes(ReferenceProfile.from_columns({"never": np.full(9, np.nan)}).to_bytes())

    told = RUN.invoke(app, ["rules", "--reference", str(path), "--service", "shop"])

    assert isinstance(told.exception, SpecError)
    assert told.exception.code == "OBS-DRF-029"
