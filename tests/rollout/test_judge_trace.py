"""`obs rollout judge`: tables of counts, whole or torn, through the very same judge."""

import json
import random

import pytest
from typer.testing import CliRunner

from mlops_obs.cli.rollout import app
from mlops_obs.errors import SpecError
from mlops_obs.rollout.judging.trace import Summary, default_spec, judge_trace, read_trace
from mlops_obs.testing.traces import trace

HEADER = "t,arm,pod,requests,errors,slow\n"


def heard(text, weight=10.0):
    return list(judge_trace(read_trace(text.splitlines(), "x.csv"), weight=weight))


def summary(text, weight=10.0):
    found = Summary()
    for one in heard(text, weight):
        found.add(one)
    return found.verdict, found.attribution


def run(*arguments, stdin=None):
    return CliRunner().invoke(app, ["judge", *arguments], input=stdin)


@pytest.mark.parametrize(
    ("family", "rps", "interval", "expected"),
    [
        ("null", 20, 60, ("promote", "none")),
        ("canary-noise-0.6", 2000, 60, ("promote", "none")),
        ("errors-10x", 20, 60, ("rollback", "canary")),
        ("slow-10x", 200, 10, ("rollback", "canary")),
        ("shared-incident", 200, 60, ("promote", "shared")),
        ("telemetry-outage", 200, 60, ("promote", "telemetry")),
        ("traffic-0", 20, 60, ("hold", "telemetry")),
    ],
)
def test_a_trace_is_judged_as_its_story_says(family, rps, interval, expected):
    assert summary(trace(family, rps, 3, interval=interval).csv()) == expected


def test_the_order_of_rows_and_columns_does_not_matter():
    text = trace("errors-4x", 20, 1, interval=60).csv()
    lines = text.splitlines()[1:]
    random.Random(1).shuffle(lines)
    turned = "slow,errors,requests,pod,arm,t\n" + "\n".join(",".join(reversed(line.split(","))) for line in lines)

    assert [one.numbers() for one in heard(turned)] == [one.numbers() for one in heard(text)]


def test_where_t_begins_does_not_matter():
    here, there = (heard(trace("bad-pod", 200, 2, interval=60, start=start).csv()) for start in (0.0, 86_400.0))

    assert [one.verdict for one in here] == [one.verdict for one in there]
    assert there[0].t == 86_400.0


def rows(minutes, canary="100,0,0", stable="900,4,4", start=0):
    return "".join(f"{t},canary,,{canary}\n{t},stable,,{stable}\n" for t in range(start, start + minutes * 60, 60))


@pytest.mark.parametrize(
    ("torn", "words"),
    [
        ("600,stable,,900,4,4\n", "no row of the canary"),
        ("600,canary,,100,0,0\n", "no row of the stable"),
        ("600,canary,,NaN,0,0\n600,stable,,900,4,4\n", "not a number"),
        ("600,canary,,,,\n600,stable,,900,4,4\n", "not a number"),
        ("600,canary,,inf,0,0\n600,stable,,900,4,4\n", "not a number"),
        ("600,canary,,-5,0,0\n600,stable,,900,4,4\n", "negative"),
        ("600,canary,,5,9,0\n600,stable,,900,4,4\n", "more bad requests than requests"),
        ("600,canary,,1e308,1e308,0\n600,stable,,900,4,4\n", "nobody can have counted"),
        ("660,canary,,100,0,0\n660,stable,,900,4,4\n", "no row for this interval"),
    ],
)
def test_what_is_missing_or_impossible_holds_and_is_no_evidence(torn, words):
    said = {one.t: one for one in heard(HEADER + rows(10) + torn)}[600.0]

    assert (said.verdict, said.attribution) == ("hold", "telemetry")
    assert words in said.reason
    assert said.evidence.findings[0].canary_total == 1000


def test_a_pod_that_is_silent_is_missing_for_two_minutes_and_then_gone():
    text = HEADER + "".join(
        f"{t},stable,,900,4,4\n{t},canary,a,50,0,0\n" + (f"{t},canary,b,50,0,0\n" if t < 600 else "") for t in range(0, 1200, 60)
    )

    said = [one.attribution for one in heard(text)]

    assert said[9:13] == ["none", "telemetry", "telemetry", "none"]


def test_a_pod_that_was_replaced_is_not_missing():
    text = HEADER + "".join(f"{t},stable,,900,4,4\n{t},canary,{'a' if t < 600 else 'b'},100,0,0\n" for t in range(0, 1200, 60))

    assert {one.attribution for one in heard(text)} == {"none"}


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", "OBS-ROLL-120", "empty"),
        (HEADER, "OBS-ROLL-120", "no rows"),
        ("t,arm,pod,requests\n", "OBS-ROLL-120", "no column errors, slow"),
        ("t,t,arm,pod,requests,errors,slow\n", "OBS-ROLL-120", "column t stands there twice"),
        (HEADER + "x,canary,,1,0,0\n", "OBS-ROLL-121", "x.csv:2: t is 'x'"),
        (HEADER + "nan,canary,,1,0,0\n", "OBS-ROLL-121", "write seconds"),
        (HEADER + "0,baseline,,1,0,0\n", "OBS-ROLL-121", "write stable or canary"),
        (HEADER + "0,canary,,many,0,0\n", "OBS-ROLL-121", "requests is 'many'"),
        (HEADER + rows(1) + "0,canary,,1,0,0\n", "OBS-ROLL-121", "x.csv:4: t 0 of canary stands there twice, first in line 2"),
        (HEADER + rows(3) + rows(1, start=10**12), "OBS-ROLL-121", "t jumps from 120"),
        (HEADER + "0,a,,1,0,0\n" * 9, "OBS-ROLL-121", "(and 4 more)"),
    ],
)
def test_a_table_that_is_none_says_what_is_wrong_and_where(text, code, words):
    with pytest.raises(SpecError) as caught:
        read_trace(text.splitlines(), "x.csv")

    assert caught.value.code == code
    assert words in str(caught.value)


def test_one_file_prints_an_object_per_interval(tmp_path):
    path = trace("errors-10x", 20, 1, interval=60).write_csv(tmp_path / "one.csv")

    result = run(str(path), "-o", "json", "--weight", "10")
    said = [json.loads(line) for line in result.stdout.splitlines()]

    assert result.exit_code == 0
    assert [one["t"] for one in said] == list(range(0, 1800, 60))
    assert {"t", "verdict", "attribution", "reason", "tests", "power", "traffic", "calibration"} == set(said[0])
    assert said[-1]["verdict"] == "rollback"
    assert said[-1]["tests"]["errors"]["log10_e_peak"] >= said[-1]["tests"]["errors"]["log10_bound"]


def test_several_files_print_a_line_each_and_a_bad_one_costs_the_others_nothing(tmp_path):
    good = [str(trace(name, 20, 1, interval=60).write_csv(tmp_path / f"{name}.csv")) for name in ("null", "errors-10x")]
    bad = tmp_path / "bad.csv"
    bad.write_text("who,knows\n")

    result = run(good[0], str(bad), str(tmp_path / "none.csv"), good[1], "-o", "json")
    said = [json.loads(line) for line in result.stdout.splitlines()]

    assert result.exit_code == 2
    assert all(isinstance(one["t"], int) for one in said)
    assert [(one["file"], one["verdict"]) for one in said] == [(good[0], "promote"), (good[1], "rollback")]
    assert f"{bad}:1: no column" in result.stderr
    assert "OBS-ROLL-122" in result.stderr


def test_standard_input_is_a_trace_too():
    result = run("-", stdin=trace("null", 20, 1, interval=60).csv())

    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 30


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    path = tmp_path / "windows.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER + rows(5)).replace("\n", "\r\n").encode())

    assert run(str(path)).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--alpha", "0"], "OBS-ROLL-123"),
        (["--weight", "lots"], "OBS-ROLL-123"),
        (["--weight", "0"], "OBS-ROLL-123"),
        (["--spec", "none.yaml"], "OBS-ROLL-122"),
    ],
)
def test_wrong_options_are_refused_with_a_code(arguments, code):
    result = run("-", *arguments, stdin=HEADER + rows(2))

    assert result.exit_code != 0
    assert code in result.stderr or code in str(result.exception)


@pytest.mark.parametrize("weight", ["10", "10%", "0.1"])
def test_a_weight_is_percent_or_a_share_and_is_tested(weight, tmp_path):
    path = trace("sticky", 200, 1, interval=60).write_csv(tmp_path / "sticky.csv")

    said = [json.loads(line) for line in run(str(path), "-o", "json", "--weight", weight).stdout.splitlines()]

    assert said[-1]["attribution"] == "telemetry"
    assert said[-1]["traffic"]["declared"] == pytest.approx(0.1)


def test_a_spec_says_what_is_tolerated(tmp_path):
    path = trace("errors-2x", 2000, 1, interval=60).write_csv(tmp_path / "double.csv")
    lenient = tmp_path / "lenient.yaml"
    lenient.write_text("least_detectable_ratio: 16\nstep_duration_min: 5m\n")

    verdicts = [
        [json.loads(line)["verdict"] for line in run(str(path), "-o", "json", *more).stdout.splitlines()]
        for more in ([], ["--spec", str(lenient)])
    ]

    assert "rollback" in verdicts[0]
    assert "rollback" not in verdicts[1]


def test_a_smaller_alpha_asks_for_more():
    bounds = [default_spec(alpha).alpha for alpha in (None, 0.05)]

    assert bounds == [0.01, 0.05]
