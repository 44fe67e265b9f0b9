"""The reference cannot lag behind the code: every field, kind, series and code is read from it, and every meaning is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from mlops_obs.cli import slo as slo_command
from mlops_obs.cli.slo.reference import codes_in, error_codes
from mlops_obs.errors import SpecError
from mlops_obs.slo import reference as one
from mlops_obs.slo.annotations import ALERTS
from mlops_obs.slo.indicator_spec import Indicator
from mlops_obs.slo.rules.prometheus_rules import render_rules
from mlops_obs.slo.spec import SLO, BudgetStep, TierSpec

ROOT = Path(__file__).parents[2]
RULES = yaml.safe_load(render_rules(one.examples()))


def test_every_field_of_a_spec_has_a_meaning_and_no_meaning_is_left_over():
    fields = {f"{model.__name__}.{name}" for model in (SLO, Indicator, BudgetStep, TierSpec) for name in model.model_fields}

    assert fields - {"SLO.service", "SLO.team"} == set(one.FIELDS)


def test_there_is_an_example_of_every_kind_of_indicator():
    assert set(ALERTS) == {slo.indicator.type for slo in one.examples()}


def test_every_series_that_is_explained_is_recorded_with_labels():
    recorded = one._recorded(RULES)

    assert set(one.SERIES) - set(recorded) == set()
    assert all(recorded[name] for name in one.SERIES)


def test_every_label_of_every_alert_is_explained():
    labels = {label for group in RULES["groups"] for rule in group["rules"] if "alert" in rule for label in rule["labels"]}

    assert labels <= set(one.LABELS)


def test_every_code_in_the_source_is_in_the_table_with_what_it_says():
    text = one.render_reference(RULES, error_codes())
    inside = {
        code
        for folder in ("slo", "paging", "cli/slo")
        for path in (ROOT / "mlops_obs" / folder).rglob("*.py")
        for code, _ in codes_in(path.read_text())
        if re.match(r"OBS-(SLO|PAGE|REP|DUR|PQL|LINT|IMP)-", code)
    }

    assert {code for code in inside if f"`{code}`" not in text} == set()
    assert "| `OBS-SLO-028` | a harder step of budget_policy comes before a milder one; budget_policy has an action twice |" in text


def test_texts_are_read_from_literals_names_and_joined_strings():
    source = """
def a(x):
    what = f"{x} is not a share"
    raise SpecError("OBS-AAA-001", what, todo="none")
raise mistake("OBS-AAA-002", "one " f"{2} three")
helper("OBS-AAA-003", make())
other("not a code", "text")
"""
    assert sorted(codes_in(source)) == [("OBS-AAA-001", "... is not a share"), ("OBS-AAA-002", "one ... three"), ("OBS-AAA-003", "")]


def test_tables_have_as_many_cells_as_their_heads():
    text = one.render_reference(RULES, {"OBS-SLO-001": ["a | b"]})
    width = 0
    for line in text.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert cells in (0, width) or width == 0, line
        width = cells


@pytest.fixture
def readme(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "mlops_obs.cli.slo.reference.error_codes", lambda: {"OBS-SLO-001": ["is not YAML"]}
    )  # reading the source takes a second
    path = tmp_path / "README.md"
    path.write_text(f"# Ours\n\n{one.BEGIN}\nold\n{one.END}\n\nafter\n")
    return path


def obs(*arguments):
    return CliRunner().invoke(slo_command.app, ["reference", *map(str, arguments)])


def test_only_what_stands_between_the_markers_is_written_and_check_tells_when_it_is_old(readme):
    stale = obs("--readme", readme, "--check")
    written = obs("--readme", readme)
    current = obs("--readme", readme, "--check")

    assert isinstance(stale.exception, SpecError)
    assert "OBS-REP-008" in str(stale.exception)
    assert (written.exit_code, current.exit_code) == (0, 0), current.exception
    text = readme.read_text()
    assert text.startswith(f"# Ours\n\n{one.BEGIN}\n## Reference\n")
    assert text.endswith(f"\n{one.END}\n\nafter\n")


@pytest.mark.parametrize(("text", "code"), [("no markers", "OBS-REP-006"), (None, "OBS-REP-007"), (b"\xff", "OBS-REP-007")])
def test_a_file_without_markers_is_left_alone(tmp_path, monkeypatch, text, code):
    monkeypatch.setattr("mlops_obs.cli.slo.reference.error_codes", dict)
    path = tmp_path / "README.md"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    done = obs("--readme", path)

    assert isinstance(done.exception, SpecError)
    assert code in str(done.exception)
