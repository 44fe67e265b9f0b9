"""`obs drift profile`: what a person sees, gets and can override, and what is refused."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from mlops_obs.cli.drift import app
from mlops_obs.collectors.drift.building import importances_of, left_out_of
from mlops_obs.collectors.drift.matched import SEASONS, SEGMENTS
from mlops_obs.collectors.drift.reference import ReferenceProfile

RUN = CliRunner()
ROWS = 6_000


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    random = np.random.default_rng(0)
    at = np.sort(random.uniform(1.7e9, 1.7e9 + 40 * 86_400, ROWS)).astype("datetime64[s]")
    age, income = random.normal(40, 10, ROWS), random.lognormal(8, 1, ROWS)
    score = 1 / (1 + np.exp(-(age - 40) / 10))
    bad = (random.random(ROWS) < score * 0.3).astype(int)
    rows = zip(at, income, age, random.choice(["web", "shop"], ROWS), score, bad, random.permutation(ROWS), strict=True)
    lines = [f"{when},{earned:.2f},{old:.1f},{how},{said:.4f},{truth},id-{number}" for when, earned, old, how, said, truth, number in rows]
    lines[7] = lines[7].replace(",web,", ",ann@example.org,").replace(",shop,", ",ann@example.org,")
    path = tmp_path_factory.mktemp("train") / "train.csv"
    path.write_text("\n".join(["at,income,age,channel,score,bad,customer", *lines]) + "\n")
    return path


def profile(*arguments):
    return RUN.invoke(app, ["profile", *map(str, arguments)])


def test_a_profile_says_what_each_column_was_taken_for_and_how_to_override(table, tmp_path):
    out = tmp_path / "reference.bin"

    result = profile(table, "--out", out, "--prediction", "score", "--label", "bad")

    assert result.exit_code == 0, result.exception
    said = {line.split()[0]: line for line in result.stdout.splitlines() if line}
    assert "number (prediction)" in said["score"]
    assert "number (label)" in said["bad"]
    assert "category" in said["channel"]
    assert "text" in said["customer"]
    assert "left out: at: grows from row to row" in result.stdout
    assert "--schema" in result.stdout
    reference = ReferenceProfile.from_bytes(out.read_bytes())
    assert (reference.rows, reference.digest[:12] in result.stdout) == (ROWS, True)
    assert {"impact", "natural", "joint", "expectations"} <= set(reference.sections)
    assert left_out_of(reference).keys() == {"at"}


def test_names_of_few_rows_are_not_in_the_file(table, tmp_path):
    for least, named in (("1", True), ("5", False)):
        assert profile(table, "--out", tmp_path / "r", "--min-rows", least, "--segment", "channel").exit_code == 0
        assert (b"ann@example.org" in (tmp_path / "r").read_bytes()) == named


def test_segments_seasons_and_importances_are_kept_where_they_are_asked_for(table, tmp_path):
    (tmp_path / "importance.json").write_text(json.dumps({"income": 0.0, "age": 0.2}))

    result = profile(table, "--out", tmp_path / "r", "--segment", "channel", "--time", "at", "--importance", tmp_path / "importance.json")

    reference = ReferenceProfile.from_bytes((tmp_path / "r").read_bytes())
    assert result.exit_code == 0, result.exception
    assert 2_000 < reference.for_segment("web").rows < 4_000
    assert SEGMENTS in reference.sections
    assert SEASONS not in reference.sections
    assert "no references by hour of the week" in result.stderr
    assert importances_of(reference) == {"income": 0.0, "age": 0.2}


def test_the_same_table_gives_the_same_bytes_in_one_file_or_in_two(table, tmp_path):
    header, *rows = table.read_text().splitlines(keepends=True)
    (tmp_path / "parts").mkdir()
    for part, chosen in enumerate((rows[:4_500], rows[4_500:])):
        (tmp_path / "parts" / f"{part}.csv").write_text("".join([header, *chosen]))

    for source, out in ((table, "one"), (tmp_path / "parts", "two")):
        assert profile(source, "--out", tmp_path / out).exit_code == 0

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_hostile_names_reach_neither_the_terminal_nor_the_next_line(tmp_path):
    (tmp_path / "t.csv").write_text('"a\x1b[2Jb",c\n' + "".join(f"{number * 7 % 40},\x1b]0;x\x07\n" for number in range(40)))

    result = profile(tmp_path / "t.csv", "--out", tmp_path / "r")

    assert result.exit_code == 0, result.exception
    assert "\x1b" not in result.stdout
    assert "a\\x1b[2Jb" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gone.csv", "--out", "r"], "there is no such table.*OBS-TAB-001"),
        (["TABLE", "--out", "FOLDER"], "OBS-DRF-006"),
        (["TABLE", "--out", "r", "--segment", "nowhere"], "no column nowhere.*OBS-TAB-008"),
        (["TABLE", "--out", "r", "--segment", "age"], "age holds no names.*OBS-DRF-011"),
        (["TABLE", "--out", "r", "--importance", "TABLE"], "no importances.*OBS-DRF-010"),
        (["EMPTY", "--out", "r"], "no rows.*OBS-DRF-002"),
    ],
)
def test_what_cannot_be_profiled_is_said_and_leaves_no_file(table, tmp_path, monkeypatch, arguments, said):
    (tmp_path / "empty.csv").write_text("a,b\n")
    (tmp_path / "taken").mkdir()
    monkeypatch.chdir(tmp_path)
    places = {"TABLE": str(table), "FOLDER": str(tmp_path / "taken"), "EMPTY": str(tmp_path / "empty.csv")}

    result = profile(*(places.get(one, one) for one in arguments))

    assert result.exit_code != 0
    with pytest.raises(type(result.exception), match=said):
        raise result.exception
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.csv", "taken"]
