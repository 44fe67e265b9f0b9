import json

import numpy as np
import pytest
from typer.testing import CliRunner

from mlops_obs.cli.drift import app
from mlops_obs.errors import SpecError, UsageError

RUN = CliRunner()
CHANNELS = ["web", "branch", "phone"]


def lender(rows, seed=0, **changed):
    """A lender's table: income, age, channel; `changed` replaces columns by what a function makes of them."""
    random = np.random.default_rng(seed)
    table = {
        "income": random.lognormal(8, 0.6, rows),
        "age": random.integers(18, 90, rows).astype(float),
        "channel": random.choice(CHANNELS, rows, p=[0.6, 0.3, 0.1]).astype(object),
    }
    for name, change in changed.items():
        table[name] = change(table[name], random)
    return table


def write_csv(path, table):
    rows = zip(*table.values(), strict=True)
    cells = ("" if cell is None or cell != cell else str(cell) for row in rows for cell in row)
    width = len(table)
    lines = [",".join(line) for line in zip(*[iter(f'"{cell}"' for cell in cells)] * width, strict=True)]
    path.write_text("\n".join([",".join(table), *lines]) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    return write_csv(tmp_path_factory.mktemp("lender") / "train.csv", lender(6_000))


def score(train, table, *more):
    result = RUN.invoke(app, ["score", "--reference", train, "--current", table, "-o", "json", *more])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, json.loads(result.stdout)


def named(answer):
    return {one["name"]: one for one in answer["features"]}


def test_a_table_of_the_same_population_exits_0_and_every_column_is_stable(train, tmp_path):
    code, answer = score(train, write_csv(tmp_path / "today.csv", lender(3_000, seed=1)))

    assert (code, answer["alarm"], answer["verdict"], answer["rows"]) == (0, False, "stable", {"reference": 6_000, "current": 3_000})
    assert {one["verdict"] for one in answer["features"]} == {"stable"}


@pytest.mark.parametrize(
    ("name", "change", "kind"),
    [
        ("income", lambda values, random: values * 100, "unit"),
        ("age", lambda values, random: np.where(random.random(values.size) < 0.4, np.nan, values), "missing"),
        ("channel", lambda values, random: np.where(random.random(values.size) < 0.1, "app", values), "new_category"),
        ("age", lambda values, random: np.array([f"{value:.0f} years" for value in values], dtype=object), "type"),
    ],
)
def test_a_change_exits_3_and_the_json_names_the_column_and_the_kind(train, tmp_path, name, change, kind):
    code, answer = score(train, write_csv(tmp_path / "today.csv", lender(2_000, seed=1, **{name: change})))

    assert (code, answer["alarm"], answer["verdict"]) == (3, True, "drifted")
    first = answer["features"][0]
    assert (first["name"], first["alarm"], first["kind"]) == (name, True, kind)
    assert first["words"]
    assert [one["name"] for one in answer["features"] if one["alarm"]] == [name]


def test_a_column_that_is_gone_alarms_and_a_rename_is_asked_for_by_name(train, tmp_path):
    today = lender(2_000, seed=1)
    today["income_eur"] = today.pop("income")

    code, answer = score(train, write_csv(tmp_path / "today.csv", today))

    assert (code, named(answer)["income"]["kind"]) == (3, "gone")
    assert answer["problems"] == ["income is gone; income_eur is new with the same distribution: renamed?"]


def test_a_new_column_of_another_distribution_is_no_rename(train, tmp_path):
    today = lender(2_000, seed=1)
    today["noise"] = today.pop("income") / 1e6

    _, answer = score(train, write_csv(tmp_path / "today.csv", today))

    assert not any("renamed" in one for one in answer["problems"])
    assert any("noise" in one for one in answer["problems"])


def test_a_column_without_any_value_is_missing_and_not_an_error(train, tmp_path):
    code, answer = score(train, write_csv(tmp_path / "today.csv", lender(1_000, seed=1, income=lambda values, random: [None] * 1_000)))

    assert (code, named(answer)["income"]["kind"], named(answer)["income"]["statistics"]["missing"]) == (3, "missing", 1.0)


def test_no_rows_are_inconclusive_and_said(train, tmp_path):
    empty = write_csv(tmp_path / "today.csv", lender(0))

    code, answer = score(train, empty)
    shown = RUN.invoke(app, ["score", "--reference", train, "--current", empty])

    assert (code, answer["verdict"], answer["rows"]["current"]) == (0, "inconclusive", 0)
    assert "no rows: nothing was compared" in shown.stdout


def test_few_rows_are_inconclusive_and_exit_0(train, tmp_path):
    code, answer = score(train, write_csv(tmp_path / "today.csv", lender(20, seed=1)))

    assert (code, answer["verdict"]) == (0, "inconclusive")


def test_the_same_table_twice_is_stable(train):
    assert score(train, train)[0] == 0


def test_only_the_columns_that_are_asked_for_are_judged(train, tmp_path):
    today = write_csv(tmp_path / "today.csv", lender(2_000, seed=1, income=lambda values, random: values * 100))

    code, answer = score(train, today, "--features", "age, channel")

    assert (code, sorted(named(answer))) == (0, ["age", "channel"])


def test_a_column_that_the_model_does_not_use_never_alarms(train, tmp_path):
    today = write_csv(tmp_path / "today.csv", lender(2_000, seed=1, income=lambda values, random: values * 100))
    (tmp_path / "importance.json").write_text('{"income": 0, "age": 0.3, "channel": 0.1}')

    code, answer = score(train, today, "--importance", str(tmp_path / "importance.json"))

    assert (code, named(answer)["income"]["alarm"]) == (0, False)
    assert named(answer)["income"]["statistics"]["psi"] > 1


@pytest.mark.parametrize("content", ["[1]", "{}", '{"age": "high"}', '{"age": -1}', '{"age": NaN}', "age: 1", "[" * 100_000])
def test_importances_that_are_none_are_refused_with_their_file(train, tmp_path, content):
    (tmp_path / "importance.json").write_text(content)

    result = RUN.invoke(app, ["score", "-r", train, "-c", train, "--importance", str(tmp_path / "importance.json")])

    assert isinstance(result.exception, SpecError)
    assert "importance.json" in str(result.exception)
    assert "OBS-DRF-035" in str(result.exception)


def test_control_characters_of_the_data_reach_no_terminal(train, tmp_path):
    today = lender(2_000, seed=1, channel=lambda values, random: np.where(random.random(values.size) < 0.2, "\x1b[2J\x07app", values))
    today["in\x1b[31mcome"] = today.pop("income")
    path = write_csv(tmp_path / "today.csv", today)

    shown = RUN.invoke(app, ["score", "--reference", train, "--current", path])
    code, answer = score(train, path)

    assert (shown.exit_code, code) == (3, 3)
    assert not any(ord(one) < 32 and one != "\n" for one in shown.stdout)
    assert "app" in named(answer)["channel"]["words"]


def test_the_table_fits_80_columns_and_says_the_worst_first(train, tmp_path):
    today = lender(2_000, seed=1, age=lambda values, random: values * 1000)
    today["a_name_of_a_column_that_somebody_made_very_much_too_long_for_a_terminal"] = today["income"]

    shown = RUN.invoke(app, ["score", "-r", train, "-c", write_csv(tmp_path / "today.csv", today)], env={"COLUMNS": "80"})

    lines = shown.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "1 of 3 columns has drifted: age"


def test_a_profile_a_package_and_a_table_are_the_same_reference(train, tmp_path):
    today = write_csv(tmp_path / "today.csv", lender(2_000, seed=1))
    package = tmp_path / "package"
    package.mkdir()
    made = RUN.invoke(app, ["profile", train, "--out", str(package / "reference.bin")])
    assert made.exit_code == 0, made.exception

    answers = [score(one, today)[1]["features"] for one in (train, str(package / "reference.bin"), str(package))]

    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize(
    ("name", "content", "kind", "code"),
    [
        ("none.csv", None, UsageError, "OBS-TAB-001"),
        ("table.xlsx", b"x", UsageError, "OBS-TAB-001"),
        ("broken.parquet", b"PAR1", SpecError, "OBS-TAB-002"),
        ("notes.bin", b"hello", SpecError, "OBS-DRF-001"),
        ("cut.bin", b"mlops-obs reference 2\n{}", SpecError, "OBS-DRF-001"),
    ],
)
def test_a_bad_reference_is_one_line_with_its_place_and_a_code(train, tmp_path, name, content, kind, code):
    if content is not None:
        (tmp_path / name).write_bytes(content)

    result = RUN.invoke(app, ["score", "-r", str(tmp_path / name), "-c", train])

    assert isinstance(result.exception, kind)
    assert name in str(result.exception)
    assert code in str(result.exception)
    assert "\n" not in str(result.exception)


def test_an_output_format_that_is_not_there_is_refused(train):
    assert "OBS-DRF-008" in str(RUN.invoke(app, ["score", "-r", train, "-c", train, "-o", "xml"]).exception)
