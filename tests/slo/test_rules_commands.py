"""`obs slo render` and `obs slo test` as a person uses them."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from mlops_obs.cli import slo as slo_command
from mlops_obs.errors import ObsError

RUN = CliRunner()
SPEC = "service: shop\nteam: web\nslos: [{name: drift, objective: 0.9, severities: [ticket], period: 1d, indicator: {type: drift}}]\n"


@pytest.fixture
def spec(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slo").mkdir()
    (tmp_path / "slo" / "shop.yaml").write_text(SPEC)
    return tmp_path / "slo"


def test_resources_of_the_operator_stand_beside_the_rule_files_that_their_tests_run_on(spec):
    done = RUN.invoke(slo_command.app, ["render", "slo/shop.yaml", "--format", "prometheus-operator", "--label", "release=kps"])

    assert done.exit_code == 0, done.exception
    resource = yaml.safe_load((spec / "generated" / "shop-prometheusrule.yaml").read_text())
    rules = yaml.safe_load((spec / "generated" / "shop-rules.yaml").read_text())
    assert resource["spec"] == rules
    assert resource["metadata"]["labels"]["release"] == "kps"
    assert resource["metadata"]["namespace"] == "monitoring"
    assert (spec / "generated" / "platform-prometheusrule.yaml").is_file()


def test_sloths_names_can_be_left_out_of_rules_and_tests_alike(spec):
    RUN.invoke(slo_command.app, ["render", "slo/shop.yaml", "--no-sloth-names"])

    written = [path for path in spec.rglob("*.yaml") if path.name != "shop.yaml"]
    assert len(written) > 4
    assert not [path for path in written if "sloth_id" in path.read_text()]


@pytest.mark.parametrize("arguments", [["--format", "jsonnet"], ["--format", "prometheus-operator", "--label", "release"]])
def test_a_format_or_label_that_means_nothing_is_refused(spec, arguments):
    done = RUN.invoke(slo_command.app, ["render", "slo/shop.yaml", *arguments])

    assert isinstance(done.exception, ObsError)
    assert "OBS-CLI-001" in str(done.exception)


def test_files_stay_in_the_folder_that_is_named_as_a_dot(spec, monkeypatch):
    (spec / "generated").mkdir()
    monkeypatch.chdir(spec / "generated")

    done = RUN.invoke(slo_command.app, ["render", "../shop.yaml", "--out", "."])

    assert done.exit_code == 0, done.exception
    assert {path.name for path in spec.iterdir()} == {"shop.yaml", "generated", "tests"}
    assert (spec / "generated" / "shop-rules.yaml").is_file()


def test_a_generated_file_that_is_no_text_is_not_current_and_is_written_anew(spec):
    RUN.invoke(slo_command.app, ["render", "slo/shop.yaml"])
    (spec / "generated" / "shop-rules.yaml").write_bytes(b"\xff\x00")

    checked = RUN.invoke(slo_command.app, ["render", "slo/shop.yaml", "--check"])
    written = RUN.invoke(slo_command.app, ["render", "slo/shop.yaml"])

    assert "not current: slo/generated/shop-rules.yaml" in str(checked.exception)
    assert written.exit_code == 0, written.exception


@pytest.mark.parametrize("interval", ["10m", "2m", "45s", "7s"])
def test_an_interval_at_which_five_minute_counts_overlap_or_leave_events_out_is_refused(spec, interval):
    done = RUN.invoke(slo_command.app, ["render", "slo/shop.yaml", "--interval", interval])

    assert isinstance(done.exception, ObsError)
    assert "leaves 5-minute counts out" in str(done.exception)


def test_the_tests_of_a_spec_pass_and_those_of_a_changed_rule_fail_with_what_promtool_says(spec, promtool):
    rendered = RUN.invoke(slo_command.app, ["test", "slo/shop.yaml", "-o", "json"])
    RUN.invoke(slo_command.app, ["render", "slo/shop.yaml"])
    rules = spec / "generated" / "shop-rules.yaml"
    rules.write_text(rules.read_text().replace('severity: "ticket"', 'severity: "page"'))
    broken = RUN.invoke(slo_command.app, ["test"])

    assert rendered.exit_code == 0, rendered.stdout
    assert all(one["passed"] for one in json.loads(rendered.stdout))
    assert broken.exit_code == 3
    assert "FAIL  shop-tests.yaml" in broken.stdout
    assert "FAILED:" in broken.stdout


def test_without_promtool_the_error_says_where_to_get_it(spec, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _name: None)

    done = RUN.invoke(slo_command.app, ["test", "slo/shop.yaml"])

    assert "OBS-SLO-052" in str(done.exception)
    assert "apt-get install prometheus" in str(done.exception)


def test_nothing_to_test_is_an_error_and_not_a_pass(spec, promtool):
    done = RUN.invoke(slo_command.app, ["test"])

    assert "OBS-SLO-053" in str(done.exception)
