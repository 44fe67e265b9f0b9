"""What is agreed about columns: derived from a reference, edited by people, checked on rows and on sketches."""

import json

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mlops_obs.adapters.yaml_documents import read_document
from mlops_obs.cli.drift import app
from mlops_obs.collectors.drift.columns import INVALID, MISSING_CODE, Categories, Column, ColumnKind, Schema
from mlops_obs.collectors.drift.expectations import (
    Expectation,
    ExpectationMeter,
    Observed,
    Outcome,
    check,
    derive,
    expectations_of,
    failures,
    observe_block,
    observe_profile,
    parse_expectations,
    render_expectations,
    section_from_profile,
)
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.errors import SpecError
from mlops_obs.metric_names import EXPECTATION_CHECKS
from mlops_obs.slo.spec_errors import SpecErrors

SCHEMA = Schema((Column("income"), Column("channel", ColumnKind.CATEGORY), Column("flag", ColumnKind.BOOLEAN), Column("balance")))
NAMES = ("web", "branch", "app")


def block(rows=4000, seed=0, scale=1.0, missing=0.02, names=NAMES):
    random = np.random.default_rng(seed)
    income = np.where(random.random(rows) < missing, np.nan, np.round(np.exp(random.normal(8, 0.8, rows)) * scale, 2))
    codes = random.integers(0, len(names), rows)
    return {
        "income": income,
        "channel": Categories(codes.astype(np.int64), names),
        "flag": Categories(random.integers(0, 2, rows).astype(np.int64), ("false", "true")),
        "balance": random.normal(0, 50, rows),
    }


@pytest.fixture(scope="module")
def reference():
    return ReferenceProfile.from_block(block(), SCHEMA)


def failed(expectations, of, how=observe_block):
    return {(one.column, one.name) for one in check(expectations, how(expectations, of)) if one.outcome is Outcome.FAILED}


def test_new_rows_of_the_same_kind_meet_what_a_reference_suggests(reference):
    expectations = derive(reference)

    for seed in range(1, 40):
        assert failed(expectations, block(500, seed)) == set()
        assert failed(expectations, ReferenceProfile.from_block(block(500, seed), SCHEMA), observe_profile) == set()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"scale": 100.0}, {("income", "range"), ("income", "median")}),
        ({"missing": 0.4}, {("income", "missing")}),
        ({"names": ("web", "branch", "phone")}, {("channel", "values")}),
    ],
)
def test_rows_and_sketches_fail_the_same_expectations(reference, change, expected):
    expectations = derive(reference)
    rows = block(2000, 9, **change)

    assert failed(expectations, rows) == expected
    assert failed(expectations, ReferenceProfile.from_block(rows, SCHEMA), observe_profile) == expected


def test_one_sentinel_neither_widens_the_range_nor_fails_it(reference):
    poisoned = block(4000)
    poisoned["income"][0] = 999_999_999.0
    current = block(2000, 3)
    current["income"][0] = 999_999_999.0

    wide, usual = (derive(one)["income"].range[1] for one in (ReferenceProfile.from_block(poisoned, SCHEMA), reference))
    assert wide < 1.5 * usual
    assert failed(derive(reference), current) == set()


def test_a_column_that_was_never_negative_may_not_become_so_and_one_that_was_may(reference):
    expectations = derive(reference)

    assert expectations["income"].range[0] == 0
    assert expectations["balance"].range[0] < -100


def test_a_column_that_is_gone_or_of_another_type_fails_and_an_empty_window_does_not(reference):
    expectations = derive(reference)
    rows = block(500, 2)
    del rows["channel"]
    rows["income"] = np.full(500, INVALID)

    assert {("channel", "present"), ("income", "type")} <= failed(expectations, rows)
    assert {one.outcome for one in check(expectations, observe_block(expectations, block(0)))} == {Outcome.INCONCLUSIVE}
    assert {one.outcome for one in check(expectations, {})} == {Outcome.INCONCLUSIVE}


def test_data_of_another_kind_are_invalid_in_every_row_that_is_there(reference):
    expectations = derive(reference)
    swapped = block(300, 1)
    swapped["income"] = Categories(np.array([MISSING_CODE, 0, 0] * 100), ("abc",))
    swapped["channel"] = np.array([np.nan, 1.0, 2.0] * 100)

    seen = observe_block(expectations, swapped)

    assert (seen["income"].missing, seen["income"].invalid) == (100, 200)
    assert (seen["channel"].missing, seen["channel"].invalid) == (100, 200)
    assert observe_profile(expectations, ReferenceProfile.from_block(swapped, SCHEMA))["income"].invalid == 200


@given(st.integers(1, 3000), st.floats(0, 1), st.floats(0, 1))
def test_a_share_within_its_bound_is_met_and_chance_alone_never_fails_it(rows, share, bound):
    count = int(rows * share)
    (found,) = [
        one for one in check({"a": Expectation(type="number", missing=bound)}, {"a": Observed(rows, count)}) if one.name == "missing"
    ]

    assert (found.outcome is Outcome.MET) == (count / rows <= bound)
    if found.outcome is Outcome.FAILED and bound > 0:
        random = np.random.default_rng(0)
        assert (random.binomial(rows, bound, 2000) >= count).mean() < 0.005


def test_a_bound_of_zero_means_none():
    expectations = {"a": Expectation(type="number", missing=0)}

    assert [one.outcome for one in check(expectations, {"a": Observed(1_000_000, 1)})][-1] is Outcome.FAILED


def test_a_few_rows_beyond_the_bound_are_inconclusive():
    expectations = {"a": Expectation(type="number", missing=0.05)}

    assert [one.outcome for one in check(expectations, {"a": Observed(10, 2)})][-1] is Outcome.INCONCLUSIVE
    assert [one.outcome for one in check(expectations, {"a": Observed(10_000, 2000)})][-1] is Outcome.FAILED


def test_what_is_written_is_read_again_and_the_same_reference_gives_the_same_text(reference, tmp_path):
    text = render_expectations(derive(reference), "two\nlines")
    (tmp_path / "e.yaml").write_text(text)

    assert parse_expectations(*read_document(tmp_path / "e.yaml")) == derive(reference)
    assert render_expectations(derive(ReferenceProfile.from_bytes(reference.to_bytes())), "two\nlines") == text
    assert text.startswith("# two\n# lines\nexpectations:\n  income: {type: number, missing: 0.0")


ODD = st.text(max_size=12)


@given(st.dictionaries(ODD, st.lists(ODD, min_size=1, max_size=4, unique=True), max_size=4))
def test_any_name_survives_the_file(columns):
    expectations = {name: Expectation(type="category", values=tuple(names), others=0.1) for name, names in columns.items()}
    text = render_expectations(expectations)
    try:
        plain = yaml.safe_load(text)
    except yaml.reader.ReaderError:
        return  # YAML has no word for it

    assert parse_expectations(plain) == expectations


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_any_range_survives_the_file(one, other):
    expectations = {"a": Expectation(type="number", range=(min(one, other), max(one, other)), outside=0.5)}

    assert parse_expectations(yaml.safe_load(render_expectations(expectations))) == expectations


def test_a_reference_carries_its_expectations_and_a_damaged_section_is_said(reference):
    carried = reference.with_section("expectations", section_from_profile(reference))
    edited = reference.with_section("expectations", b'{"expectations": {"income": {"type": "number", "missing": 0.5}}}')

    assert expectations_of(ReferenceProfile.from_bytes(carried.to_bytes())) == derive(reference)
    assert expectations_of(edited)["income"].missing == 0.5
    with pytest.raises(SpecError, match="OBS-EXP-001"):
        expectations_of(reference.with_section("expectations", b"{"))


def test_every_mistake_of_a_document_is_told_with_its_line(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text(
        "expectations:\n"
        "  income: {type: number, missing: 2}\n"
        "  age: {type: number, misssing: 0.1}\n"
        "  channel: {type: category, range: [0, 1], outside: 0}\n"
        "  zip: {type: category, values: [a]}\n"
        "  x: {type: number, range: [5, 1], outside: 0}\n"
        "  y: {type: integer}\n"
    )

    with pytest.raises(SpecErrors) as caught:
        parse_expectations(*read_document(path))

    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0].removeprefix(str(path)) for line in lines] == [":2", ":3", ":4", ":5", ":6", ":7"]
    assert "2 is no share of the rows; write 0.02 for 2 % [OBS-EXP-002]" in lines[0]
    assert "did you mean 'missing'?" in lines[1]
    assert "a category has no range" in lines[2]


@pytest.mark.parametrize("document", [None, [], {"expectations": 3}, {"expectations": {"a": None}}, {"other": {}}])
def test_what_is_no_such_document_is_refused(document):
    with pytest.raises(SpecErrors, match="OBS-EXP-001"):
        parse_expectations(document)


def test_windows_are_counted_by_outcome_and_empty_ones_are_no_checks(reference):
    meter = ExpectationMeter("shop", "v2", {"income": derive(reference)["income"]})
    for rows in (block(500, 3), block(500, 4, missing=0.5), block(0)):
        meter.look(observe_block(meter.expectations, rows))

    readings = meter.read()

    assert all(tuple(one.labels) == one.metric.labels and one.metric is EXPECTATION_CHECKS for one in readings)
    assert {(one.labels["expectation"], one.labels["outcome"]): one.value for one in readings} == {
        ("present", "met"): 2,
        ("type", "met"): 2,
        ("missing", "met"): 1,
        ("missing", "failed"): 1,
        ("range", "met"): 2,
        ("median", "met"): 2,
    }
    assert list(meter.failed) == ["income"]


def test_the_first_failure_of_a_column_is_the_one_that_is_told():
    expectations = {"a": Expectation(type="number", missing=0.1, range=(0, 1), outside=0.1)}

    assert failures(check(expectations, {"a": Observed(1000, missing=500, outside=400)})) == {
        "a": "a: 50 % of 1000 values are missing; agreed is at most 10 %"
    }


def table(path, rows, scale=1, header="income,channel"):
    random = np.random.default_rng(rows)
    lines = [f"{scale * np.exp(random.normal(8, 1)):.2f},{random.choice(NAMES)}" for _ in range(rows)]
    path.write_text(header + "\n" + "\n".join(lines) + "\n")
    return str(path)


def test_a_file_is_written_edited_and_checked(tmp_path):
    agreed, same, wrong = tmp_path / "e.yaml", table(tmp_path / "same.csv", 800), table(tmp_path / "wrong.csv", 801, scale=100)
    written = CliRunner().invoke(app, ["expectations", "--reference", table(tmp_path / "ref.csv", 2000), "--out", str(agreed)])

    good = CliRunner().invoke(app, ["expect", "-e", str(agreed), "-c", same])
    bad = CliRunner().invoke(app, ["expect", "-e", str(agreed), "-c", wrong, "-o", "json"])
    agreed.write_text(agreed.read_text().replace("web", "post"))
    edited = CliRunner().invoke(app, ["expect", "-e", str(agreed), "-c", same])

    assert (written.exit_code, written.stdout.endswith("e.yaml: 2 columns\n")) == (0, True)
    assert (good.exit_code, good.stdout.splitlines()[-1]) == (0, "9 checks: 9 met, 0 failed, 0 inconclusive")
    document = json.loads(bad.stdout)
    assert (bad.exit_code, document["verdict"]) == (3, "failed")
    assert {one["expectation"] for one in document["checks"] if one["outcome"] == "failed"} == {"range", "median"}
    assert edited.exit_code == 3
    assert "channel: 3" in edited.stdout
    assert "have a name that is not agreed" in edited.stdout


def test_a_column_that_the_table_lacks_is_told(tmp_path):
    agreed = tmp_path / "e.yaml"
    agreed.write_text("expectations:\n  income: {type: number}\n  age: {type: number, missing: 0.1}\n")

    result = CliRunner().invoke(app, ["expect", "-e", str(agreed), "-c", table(tmp_path / "t.csv", 50)])

    assert result.exit_code == 3
    assert "age: the column is not there" in result.stdout


def test_an_empty_agreement_and_a_place_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "e.yaml").write_text("expectations: {}\n")
    reference = table(tmp_path / "ref.csv", 100)

    nothing = CliRunner().invoke(app, ["expect", "-e", str(tmp_path / "e.yaml"), "-c", reference])
    nowhere = CliRunner().invoke(app, ["expectations", "-r", reference, "--out", str(tmp_path / "none" / "e.yaml")])

    assert "OBS-EXP-004" in str(nothing.exception)
    assert "OBS-EXP-003" in str(nowhere.exception)
