"""`obs slo import` and `obs slo export` as a person uses them."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from mlops_obs.adapters.files import load_slos
from mlops_obs.cli import slo as slo_command
from mlops_obs.errors import ObsError
from mlops_obs.slo.foreign.yaml_writer import document
from tests.slo.foreign_documents import OPENSLO, PYRRA, SLOTH, WINDOWS, pyrra

RUN = CliRunner()
SPEC = Path(__file__).parents[2] / "slo" / "credit-risk.yaml"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, documents in {"sloth": [SLOTH], "pyrra": PYRRA, "openslo": OPENSLO, "windows": [WINDOWS]}.items():
        Path(f"{name}.yaml").write_text("---\n".join(document(one) for one in documents))
    shutil.copy(SPEC, "credit-risk.yaml")
    return tmp_path


def obs(*arguments):
    return RUN.invoke(slo_command.app, [str(one) for one in arguments])


@pytest.mark.parametrize("tool", ["sloth", "pyrra", "openslo"])
def test_what_is_imported_is_a_spec_that_can_be_rendered(folder, tool):
    done = obs("import", tool, f"{tool}.yaml", "--team", "web", "--out", "mine.yaml")

    assert done.exit_code == 0, done.exception
    assert done.stdout == "written: mine.yaml\n"
    assert "# Imported by `obs slo import" in Path("mine.yaml").read_text()
    assert load_slos(Path("mine.yaml"))
    assert obs("validate", "mine.yaml").exit_code == 0


def test_losses_stand_on_stderr_with_their_lines_and_as_json(folder):
    text = obs("import", "sloth", "sloth.yaml")
    listed = obs("import", "sloth", "sloth.yaml", "--losses", "json")
    silent = obs("import", "sloth", "sloth.yaml", "--losses", "none")

    line = Path("sloth.yaml").read_text().split("\n").index("      name: CheckoutErrors") + 1
    assert f"sloth.yaml:{line}: changed: requests slos.alerting.name: alert CheckoutErrors is called after the indicator now" in text.stderr
    assert text.stdout == listed.stdout == silent.stdout
    assert {tuple(one) for one in json.loads(listed.stderr)} == {("kind", "slo", "field", "what", "where")}
    assert silent.stderr == ""


def test_an_slo_that_is_left_out_is_an_exit_code_of_its_own(folder):
    plugin = {**SLOTH, "slos": [SLOTH["slos"][0], {**SLOTH["slos"][1], "sli": {"plugin": {"id": "x"}}}]}
    Path("plugin.yaml").write_text(document(plugin))

    done = obs("import", "sloth", "plugin.yaml", "--out", "mine.yaml")

    assert done.exit_code == 3
    assert [slo.name for slo in load_slos(Path("mine.yaml"))] == ["requests"]


def test_if_nothing_can_be_carried_over_that_is_an_error(folder):
    Path("plugin.yaml").write_text(document({**SLOTH, "slos": [{**SLOTH["slos"][1], "sli": {"plugin": {"id": "x"}}}]}))

    done = obs("import", "sloth", "plugin.yaml", "--out", "mine.yaml")

    assert "OBS-IMP-004" in str(done.exception)
    assert not Path("mine.yaml").exists()


def test_services_of_several_owners_need_a_folder(folder):
    ratio = {"ratio": {"errors": {"metric": "a"}, "total": {"metric": "b"}}}
    two = [pyrra("a", ratio), pyrra("b", ratio)]
    two[1]["metadata"]["labels"]["pyrra.dev/service"] = "cart"
    Path("two.yaml").write_text("---\n".join(document(one) for one in two))

    refused = obs("import", "pyrra", "two.yaml", "--out", "mine.yaml")
    done = obs("import", "pyrra", "two.yaml", "--out", "specs")

    assert "OBS-IMP-007" in str(refused.exception)
    assert done.exit_code == 0, done.exception
    assert [slo.ref for slo in load_slos(Path("specs"))] == ["cart/b", "shop/a"]


def test_a_file_that_is_there_is_not_overwritten_unless_asked(folder):
    Path("mine.yaml").write_text("precious")

    refused = obs("import", "sloth", "sloth.yaml", "--out", "mine.yaml")
    kept = Path("mine.yaml").read_text()
    done = obs("import", "sloth", "sloth.yaml", "--out", "mine.yaml", "--force")

    assert "OBS-IMP-008" in str(refused.exception)
    assert kept == "precious"
    assert done.exit_code == 0, done.exception
    assert Path("mine.yaml").read_text() != "precious"


@pytest.mark.parametrize("tool", ["sloth", "pyrra", "openslo"])
def test_a_broken_document_leaves_no_file_and_names_its_line(folder, tool):
    broken = Path(f"{tool}.yaml").read_text() + "extra: [\n"
    Path(f"{tool}.yaml").write_text(broken)

    done = obs("import", tool, f"{tool}.yaml", "--out", "mine.yaml")

    assert isinstance(done.exception, ObsError)
    assert f"{tool}.yaml:{broken.count(chr(10)) + 1}: is not valid YAML" in str(done.exception)
    assert not Path("mine.yaml").exists()


def test_a_folder_stands_for_its_files_and_an_slo_that_is_there_twice_has_no_rules(folder):
    Path("specs").mkdir()
    for name in ("a.yaml", "b.yml"):
        shutil.copy("sloth.yaml", Path("specs") / name)

    done = obs("import", "sloth", "specs", "--out", "mine.yaml")
    refused = obs("import", "sloth", "specs", "--as-rules", "sloth")

    assert [slo.name for slo in load_slos(Path("mine.yaml"))][2:4] == ["satisfaction", "requests-2"], done.exception
    assert "specs/b.yml:7: name 'checkout-requests' is there twice" in str(refused.exception)


def test_promql_that_does_not_parse_is_refused_at_its_place_in_the_foreign_file(folder):
    text = (
        Path("sloth.yaml").read_text().replace("sum(rate(http_seconds_count[{{.window}}]))", "sum(rate(http_seconds_count[{{.window}}]")
        + "\n"
    )
    Path("sloth.yaml").write_text(text)

    done = obs("import", "sloth", "sloth.yaml")

    assert "OBS-PQL-001" in str(done.exception)
    assert "sloth.yaml:" in str(done.exception)


def test_sloths_own_rules_can_be_written(folder, promtool):
    done = obs("import", "sloth", "sloth.yaml", "--as-rules", "sloth", "--period", "7d", "--windows", "windows.yaml", "--out", "rules.yaml")

    code, output = promtool("check", "rules", "rules.yaml")
    assert done.exit_code == 0, done.exception
    assert (code, "48 rules found" in output) == (0, True), output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobl9", "sloth.yaml"], "unknown tool 'nobl9'"),
        (["pyrra", "pyrra.yaml", "--as-rules", "sloth"], "rules of other tools are made of Sloth specs only"),
        (["sloth", "sloth.yaml", "--losses", "xml"], "unknown --losses 'xml'"),
        (["sloth", "sloth.yaml", "--period", "7d"], "--period: Sloth has no alert windows for a period of 7d"),
        (["sloth", "sloth.yaml", "--period", "soon"], "--period: 'soon' is not a duration"),
        (["sloth", "gone.yaml"], "gone.yaml: cannot be read"),
        (["sloth", "pyrra.yaml"], "is not a Sloth spec"),
        (["sloth", "sloth.yaml", "--windows", "pyrra.yaml"], "is not a catalogue of alert windows"),
    ],
)
def test_wrong_use_is_told_with_what_to_write(folder, arguments, said):
    done = obs("import", *arguments)

    assert isinstance(done.exception, ObsError)
    assert said in str(done.exception)


def test_an_export_can_be_imported_again(folder):
    obs("export", "openslo", "credit-risk.yaml", "--out", "openslo-out.yaml")

    done = obs("import", "openslo", "openslo-out.yaml", "--out", "back.yaml")

    assert done.exit_code == 0, done.exception
    assert done.stderr == ""
    assert load_slos(Path("back.yaml")) == load_slos(Path("credit-risk.yaml"))


@pytest.mark.parametrize("form", ["prometheus", "prometheus-operator"])
def test_rules_are_exported_as_a_file_or_as_a_resource(folder, form, promtool):
    done = obs("export", form, "credit-risk.yaml", "--out", "out.yaml", "--label", "prometheus=k8s")

    text = Path("out.yaml").read_text()
    assert done.exit_code == 0, done.exception
    if form == "prometheus":
        code, output = promtool("check", "rules", "out.yaml")
        assert code == 0, output
    else:
        assert "kind: PrometheusRule" in text
        assert 'prometheus: "k8s"' in text


def test_printed_rules_of_several_services_are_one_file_because_prometheus_reads_one_document(folder):
    Path("other.yaml").write_text(Path("credit-risk.yaml").read_text().replace("service: credit-risk", "service: other"))

    done = obs("export", "prometheus", "credit-risk.yaml", "other.yaml")

    (rules,) = yaml.safe_load_all(done.stdout)
    assert {one["name"].removesuffix("-telemetry") for one in rules["groups"] if one["name"].endswith("-telemetry")} == {
        "credit-risk",
        "other",
    }


@pytest.mark.parametrize(("arguments", "said"), [(["grafana"], "unknown format"), (["prometheus", "--label", "x"], "is not key=value")])
def test_wrong_use_of_export_is_told(folder, arguments, said):
    done = obs("export", arguments[0], "credit-risk.yaml", *arguments[1:])

    assert said in str(done.exception)
