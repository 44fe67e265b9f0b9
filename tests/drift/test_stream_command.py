"""`obs drift stream`, as people pipe rows into it."""

import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest

OBS = [sys.executable, "-m", "mlops_obs.cli.main", "drift", "stream"]


def rows(rng, count):
    return {
        "age": rng.normal(45, 12, count).round(3).tolist(),
        "income": rng.lognormal(10, 1, count).round(2).tolist(),
        "gap": [None if gone else round(x, 4) for gone, x in zip(rng.random(count) < 0.1, rng.normal(size=count), strict=True)],
        "channel": rng.choice(["web", "shop", "phone"], count, p=[0.6, 0.3, 0.1]).tolist(),
    }


def as_json(table):
    return "".join(json.dumps(dict(zip(table, row, strict=True))) + "\n" for row in zip(*table.values(), strict=True))


def as_csv(table):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table)
    writer.writerows([["" if value is None else value for value in row] for row in zip(*table.values(), strict=True)])
    return out.getvalue()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("stream") / "reference.csv"
    path.write_text(as_csv(rows(np.random.default_rng(0), 3000)))
    return path


def stream(reference, text, *options):
    data = text if isinstance(text, bytes) else text.encode()
    done = subprocess.run([*OBS, "--reference", str(reference), *options], input=data, capture_output=True, timeout=120)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()


def changed(seed, **change):
    """Return 1,000 normal rows, then 1,000 with `change` ({column: function of a value})."""
    rng = np.random.default_rng(seed)
    before, after = rows(rng, 1000), rows(rng, 1000)
    return {name: before[name] + [change[name](x) if name in change else x for x in after[name]] for name in before}


@pytest.mark.parametrize("form", [as_json, as_csv])
def test_normal_rows_are_silent_and_exit_zero(reference, form):
    code, alarms, said = stream(reference, form(rows(np.random.default_rng(1), 20_000)))

    assert (code, alarms) == (0, [])
    assert "at most 1 per 100,000 rows false alarms on average" in said
    assert "20,000 rows" in said


@pytest.mark.parametrize(
    ("form", "column", "change", "kinds", "within"),
    [
        (as_json, "age", lambda x: x + 6, {"location"}, 400),
        (as_csv, "age", lambda x: x + 6, {"location"}, 400),
        (as_json, "income", lambda x: x * 100, {"unit"}, 50),
        (as_csv, "income", lambda x: x * 100, {"unit"}, 50),
        (as_json, "age", lambda x: None, {"missing", "gone"}, 50),
        (as_csv, "age", lambda x: None, {"missing", "gone"}, 50),
        (as_json, "age", str, {"type", "invalid"}, 50),
        (as_csv, "age", lambda x: "n.a.?", {"type", "invalid"}, 50),
        (as_json, "channel", lambda x: "app", {"new_category"}, 50),
        (as_csv, "channel", lambda x: "app", {"new_category"}, 50),
        (as_json, "channel", lambda x: {"name": x}, {"type", "invalid"}, 50),
    ],
)
def test_a_change_is_a_line_of_json_that_names_it_and_exit_code_three(reference, form, column, change, kinds, within):
    code, alarms, said = stream(reference, form(changed(2, **{column: change})))

    assert code == 3
    first = alarms[0]
    assert (first["alarm"], first["feature"]) == (True, column)
    assert first["kind"] in kinds
    assert 1000 < first["row"] <= 1000 + within
    assert first["since"]["earliest_row"] - 30 <= 1000 <= first["since"]["latest_row"] + 30
    assert first["words"].startswith(column)
    assert "alarm" in said


def test_bad_lines_are_counted_and_named_and_stop_nothing(reference):
    lines = as_json(changed(3, income=lambda x: x * 100)).splitlines()
    bad = ["{", "[1, 2]", "17", '"text"', '{"age": }', "\x00\x01", "null", "[" * 5000, '{"age": 1},{"age": 2}']
    for place, line in enumerate(bad):
        lines.insert(10 * place + 5, line)
    code, alarms, said = stream(reference, "\n".join(lines))

    assert (code, alarms[0]["feature"]) == (3, "income")
    assert f"{len(bad)} lines were no rows: line 6: not JSON" in said


def test_bad_lines_of_csv_are_counted_and_quoted_line_breaks_are_none(reference):
    text = as_csv(rows(np.random.default_rng(4), 500)) + '1,2\n1,2,3,"shop\nand more"\n1,2,3,4,5,6\n\n'
    code, _, said = stream(reference, text)

    assert code == 0
    assert "501 rows" in said
    assert "2 lines were no rows: line 502: 2 values under 4 column names; line 505: 6 values under 4 column names" in said


def test_an_alarm_does_not_wait_for_the_pipe_to_fill(reference):
    lines = as_json(changed(5, income=lambda x: x * 100)).splitlines(keepends=True)
    with subprocess.Popen(
        [*OBS, "--reference", str(reference)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as run:
        run.stdin.write("".join(lines[:1100]).encode())
        run.stdin.flush()
        first = json.loads(run.stdout.readline())  # the pipe is still open
        assert run.poll() is None
        run.stdin.close()
        assert run.wait(60) == 3

    assert first["feature"] == "income"


def test_hostile_bytes_are_no_reason_to_die(reference):
    rng = np.random.default_rng(6)
    junk = bytes(rng.integers(0, 256, 200_000).tolist())
    code, alarms, said = stream(reference, junk + b"\n" + as_json(rows(rng, 100)).encode(), "--format", "json")

    assert (code, alarms) == (0, [])
    assert "100 rows" in said


def test_a_line_without_end_is_dropped_in_bounded_memory(reference):
    long = b'{"age": "' + b"x" * (40 << 20) + b'"}\n'
    code, _, said = stream(
        reference, as_json(rows(np.random.default_rng(7), 100)).encode() + long + as_json(rows(np.random.default_rng(8), 50)).encode()
    )

    assert code == 0
    assert "150 rows" in said
    assert "line 101: a line without end" in said


def test_columns_that_never_come_and_columns_that_nobody_knows_are_said(reference):
    table = rows(np.random.default_rng(9), 2000)
    table["shoe_size"] = table.pop("gap")
    code, alarms, said = stream(reference, as_json(table))

    assert (code, alarms) == (0, [])
    assert "in the reference and not in the stream, so not watched: gap" in said
    assert "in the stream and not in the reference: shoe_size" in said


def test_with_a_time_column_the_budget_is_one_of_days_and_the_start_is_a_time(reference):
    table = changed(10, age=lambda x: x + 9)
    table["at"] = [f"2026-03-01T{place // 3600:02d}:{place // 60 % 60:02d}:{place % 60:02d}Z" for place in range(2000)]
    code, alarms, said = stream(reference, as_csv(table), "--time", "at", "--budget", "1 per 90d")

    assert code == 3
    assert "at most 1 per 90d" in said
    start = 1772323200
    assert start + 1000 < alarms[0]["at"] <= start + 1600
    assert alarms[0]["since"]["earliest"] - 30 <= start + 1000 <= alarms[0]["since"]["latest"] + 30


def test_a_drift_document_sets_budget_and_importance(reference, tmp_path):
    spec = tmp_path / "drift.yaml"
    spec.write_text("service: credit-risk\nbudget: 1 per 50000 rows\nimportance: {age: 2, income: 0, gap: 1, channel: 1}\n")
    code, alarms, said = stream(reference, as_json(changed(11, income=lambda x: x * 100)), "--spec", str(spec))

    assert (code, alarms) == (0, [])
    assert "1 per 50,000 rows" in said


def test_every_mistake_of_a_drift_document_is_told_with_its_line(reference, tmp_path):
    spec = tmp_path / "drift.yaml"
    spec.write_text(
        "service: Credit Risk\nbuget: 1 per 90d\nbudget: often\ntolerance: 9\nseverity: loud\nimportance: {age: -1}\nwindow: soon\n"
    )
    code, _, said = stream(reference, "", "--spec", str(spec))

    assert code == 2
    for part in (
        "1: service",
        "2: buget is no key of a drift document; did you mean 'budget'?",
        "3: 'often' is not a budget",
        "4: tolerance",
        "5: severity",
    ):
        assert f"drift.yaml:{part}" in said
    assert "6: importance of age is no part of a budget" in said
    assert "7: window 'soon' is not a duration" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--budget", "sometimes"], "OBS-ALM-001"),
        (["--budget", "1 per 90d"], "OBS-ALM-013"),
        (["--format", "xml"], "OBS-ALM-010"),
        (["--features", "nope"], "OBS-ALM-011"),
    ],
)
def test_wrong_options_are_told_before_a_row_is_read(reference, options, code):
    status, alarms, said = stream(reference, "", *options)

    assert (status, alarms) == (2, [])
    assert code in said


def test_a_stream_of_other_columns_is_an_error_and_an_empty_one_is_none(reference):
    assert stream(reference, "")[0] == 0
    status, _, said = stream(reference, '{"other": 1}\n' * 10)
    assert status == 2
    assert "OBS-ALM-012" in said


def test_a_reader_that_goes_away_ends_the_stream_without_a_traceback(reference):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*OBS, "--reference", str(reference)],
        input=as_json(changed(12, income=lambda x: x * 100)).encode(),
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=60,
    )
    os.close(write)

    assert b"Traceback" not in done.stderr
