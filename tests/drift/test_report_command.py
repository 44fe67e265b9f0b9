import json
import re
import shutil

import numpy as np
import pytest
from test_score_command import lender, write_csv
from typer.testing import CliRunner

from mlops_obs.adapters.drift_samples import drawn, sampled
from mlops_obs.cli.drift import app
from mlops_obs.collectors.drift.columns import Categories, Column
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.errors import UsageError

RUN = CliRunner()


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    changed = {
        "income": lambda values, random: values * 100,
        "channel": lambda values, random: np.where(random.random(values.size) < 0.2, "<b>app</b>\x1b[2J", values),
    }
    bad = lender(2_000, seed=1, **changed)
    return write_csv(folder / "train.csv", lender(4_000)), write_csv(folder / "today.csv", bad)


@pytest.fixture(scope="module")
def page(tables, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "drift.html"
    done = RUN.invoke(app, ["report", "-r", tables[0], "-c", tables[1], "--html", str(out)])
    assert done.exit_code == 3, done.exception
    assert "2 of 3 columns have drifted" in done.stdout
    return out.read_text()


def test_the_page_says_first_what_score_says(page, tables):
    answer = json.loads(RUN.invoke(app, ["score", "-r", tables[0], "-c", tables[1], "-o", "json"]).stdout)

    drifted = [one["name"] for one in answer["features"] if one["alarm"]]
    assert f"2 of 3 columns have drifted: {', '.join(drifted)}</em>" in page
    assert re.findall("<h3>(.*?)</h3>", page) == drifted
    assert all(one["words"].split("'")[0] in page for one in answer["features"] if one["alarm"] and one["kind"] == "unit")


def test_the_page_loads_nothing_and_takes_no_markup_or_control_characters_from_the_data(page):
    assert not re.search(r"(?:src|href)=|url\(|@import|<script", page)
    assert "<b>app" not in page
    assert not any(ord(one) < 32 and one != "\n" for one in page)


def test_the_page_shows_cells_and_how_to_repeat_it(page, tables):
    assert "unseen" in page
    assert f"obs drift score --reference {tables[0]} --current {tables[1]} -o json" in page
    assert re.search("sha256:[0-9a-f]{64}", page)


def test_the_same_input_gives_the_same_page_but_for_the_time(page, tables, tmp_path):
    RUN.invoke(app, ["report", "-r", tables[0], "-c", tables[1], "--html", str(tmp_path / "again.html")])

    without = re.compile(r"\d+ \w+ 20\d\d, \d\d:\d\d UTC")
    assert without.sub("", (tmp_path / "again.html").read_text()) == without.sub("", page)


def test_files_in_their_order_show_where_it_began(tables, tmp_path):
    for number in range(6):
        scale = 1 if number < 3 else 100
        table = lender(500, seed=number, income=lambda values, random, scale=scale: values * scale)
        write_csv(tmp_path / f"day-{number}.csv", table)

    RUN.invoke(app, ["report", "-r", tables[0], "-c", str(tmp_path / "day-*.csv"), "--html", str(tmp_path / "drift.html")])

    strip = re.search(r'aria-label="PSI of income by file">(.*?)</svg>', (tmp_path / "drift.html").read_text()).group(1)
    assert re.findall('<g class="(.*?)"><title>(day-.).csv', strip) == [
        *(("s0", f"day-{number}") for number in range(3)),
        *(("bad", f"day-{number}") for number in range(3, 6)),
    ]


def test_no_drift_is_a_page_too_and_exits_0(tables, tmp_path):
    done = RUN.invoke(app, ["report", "-r", tables[0], "-c", tables[0], "--html", str(tmp_path / "drift.html")])

    assert done.exit_code == 0
    assert '<em class="good">no drift in 3 columns</em>' in (tmp_path / "drift.html").read_text()


def test_a_report_without_a_place_for_it_is_refused(tables):
    assert "OBS-DRF-036" in str(RUN.invoke(app, ["report", "-r", tables[0], "-c", tables[1]]).exception)


def test_a_thousand_columns_make_a_page_that_a_browser_can_hold(tmp_path):
    random, names = np.random.default_rng(0), ",".join(f"f{place}" for place in range(1_000))
    for file, rows, shift in (("train.csv", 300, 0), ("today.csv", 200, 9)):
        np.savetxt(tmp_path / file, random.normal(size=(rows, 1_000)) + shift, "%.2f", ",", header=names, comments="")
    given = ["-r", str(tmp_path / "train.csv"), "-c", str(tmp_path / "today.csv")]

    done = RUN.invoke(app, ["report", *given, "--html", str(tmp_path / "drift.html")])

    assert done.exit_code == 3, done.exception
    assert "1000 of 1000 columns have drifted: " in done.stdout
    assert (tmp_path / "drift.html").stat().st_size < 1_500_000


def test_a_sample_is_uniform_bounded_and_repeatable():
    blocks = [{"x": np.arange(start, start + 1_000, dtype=float)} for start in range(0, 20_000, 1_000)]

    found = sampled(blocks, [Column("x")], 2_000, seed=3)["x"]

    assert found.size == np.unique(found).size == 2_000
    assert abs(found.mean() - 9_999.5) < 4 * 5_774 / 2_000**0.5
    assert np.array_equal(found, sampled(blocks, [Column("x")], 2_000, seed=3)["x"])


def test_rows_drawn_from_a_profile_have_its_distribution():
    random = np.random.default_rng(0)
    values = np.where(random.random(20_000) < 0.25, np.nan, random.lognormal(3, 1, 20_000))
    names = Categories(random.choice(2, 20_000, p=[0.8, 0.2]), ["web", "branch"])
    profile = ReferenceProfile.from_block({"x": values, "channel": names})

    found = drawn(profile, ["x", "channel"], 10_000)

    assert abs(np.isnan(found["x"]).mean() - 0.25) < 0.02
    assert np.allclose(np.nanquantile(found["x"], [0.1, 0.5, 0.9]), np.nanquantile(values, [0.1, 0.5, 0.9]), rtol=0.06)
    assert abs((found["channel"] == "web").mean() - 0.8) < 0.02


@pytest.mark.stack
@pytest.mark.parametrize("reference", ["table", "profile"])
def test_evidently_draws_the_columns_that_have_drifted_and_no_other(tables, tmp_path, reference):
    pytest.importorskip("evidently")
    train, today = tables
    if reference == "profile":
        RUN.invoke(app, ["profile", train, "--out", str(tmp_path / "reference.bin")])
        train = str(tmp_path / "reference.bin")

    done = RUN.invoke(app, ["report", "-r", train, "-c", today, "--evidently", str(tmp_path / "deep.html"), "--sample", "500"])

    assert (done.exit_code, done.stdout.strip()[-9:]) == (3, "2 columns"), done.exception
    content = (tmp_path / "deep.html").read_text()
    assert "income" in content
    assert '"age"' not in content


@pytest.mark.stack
def test_without_drift_there_is_nothing_for_evidently_to_draw(tables, tmp_path):
    done = RUN.invoke(app, ["report", "-r", tables[0], "-c", tables[0], "--evidently", str(tmp_path / "deep.html")])

    assert (done.exit_code, (tmp_path / "deep.html").exists()) == (0, False)
    assert "no column has drifted" in done.stderr


def test_evidently_that_is_not_installed_is_said(tables, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "evidently", None)

    done = RUN.invoke(app, ["report", "-r", tables[0], "-c", tables[1], "--evidently", str(tmp_path / "deep.html")])

    assert isinstance(done.exception, UsageError)
    assert "OBS-EVI-001" in str(done.exception)


@pytest.mark.stack
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_the_page_fits_a_desk_and_a_phone_light_and_dark(page, width, scheme):
    program = shutil.which("chromium") or shutil.which("google-chrome")
    sync_api = pytest.importorskip("playwright.sync_api")
    if program is None:
        pytest.skip("Chromium is missing: apt-get install chromium")
    wrong = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        shown = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
        shown.on("request", lambda request: wrong.append(request.url))
        shown.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        shown.set_content(page)
        spill = shown.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        paper = shown.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).slice(0, 3).map(Number)")
        browser.close()

    assert (wrong, spill) == ([], 0)
    assert max(paper) < 60 if scheme == "dark" else min(paper) > 200
