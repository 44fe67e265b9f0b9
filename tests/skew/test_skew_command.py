"""`obs drift skew` and `obs collect skew`: tables in, transformations out."""

import csv
import json
import os

import pytest
from typer.testing import CliRunner

from mlops_obs.adapters.skew_follow import SkewFollower, SkewUnavailable, load_config
from mlops_obs.adapters.skew_log import SkewLog
from mlops_obs.adapters.skew_tables import read_offline, read_online
from mlops_obs.cli.drift import app
from mlops_obs.collectors.skew import SkewKind
from mlops_obs.collectors.skew.records import to_line
from mlops_obs.errors import SpecError, UsageError
from mlops_obs.metric_names import SKEW_NAMED, SKEW_PAIRS
from mlops_obs.testing import skew_world

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def write_offline(path, recomputed, history=True):
    names = list(recomputed[0].values)
    with path.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["request_id", "as_of", "basis", *names])
        for one in recomputed:
            rows = [(one.values, "event")] + [(older, "event") for older in one.earlier] * history + [(one.known, "arrival")] * history
            for back, (values, basis) in enumerate(rows):
                table.writerow([one.request_id, 100 - back, basis, *("" if values[name] is None else values[name] for name in names)])
    return path


@pytest.fixture
def tables(tmp_path):
    def make(fault, requests=150, **more):
        world = skew_world.make(fault, seed=6, requests=requests, features=3)
        online = tmp_path / "log.jsonl"
        online.write_text("".join(to_line(one) + "\n" for one in world.served) + '{"half')
        return str(online), str(write_offline(tmp_path / "offline.csv", world.recomputed, **more))

    return make


def run(*arguments):
    return CliRunner().invoke(app, ["skew", *arguments])


@pytest.mark.parametrize("fault", [SkewKind.STALE, SkewKind.LATE_ARRIVAL, SkewKind.UNIT])
def test_each_feature_is_named_with_its_transformation_and_the_exit_code_is_3(tables, fault):
    online, offline = tables(fault)

    result = run("--online", online, "--offline", offline, "-o", "json")

    document = json.loads(result.stdout)
    assert result.exit_code == 3
    assert document["skew"] is True
    assert {one["kind"] for one in document["findings"]} == {fault.value}
    assert document["requests"] == {"served": 150, "joined": 150, "unreadable_lines": 1}


def test_a_clean_day_exits_0_and_says_how_much_was_compared(tables):
    online, offline = tables(None)

    result = run("--online", online, "--offline", offline)

    assert result.exit_code == 0
    assert "no feature differs beyond what is tolerated" in result.stdout
    assert "150 requests served, 150 with an offline side, 1 lines could not be read" in result.stdout


def test_without_an_offline_side_the_input_is_compared_with_what_was_read(tmp_path):
    table = tmp_path / "served.csv"
    lines = [f"r{at},c{at},{at},{at + 1}.25,{(at + 1.25) * 100}" for at in range(40)]
    table.write_text("request_id,entity,time,income,input.income\n" + "\n".join(lines))

    result = run("--online", str(table))

    assert result.exit_code == 3
    assert "income: input = online x 100 (hundredths for wholes, such as cents or per cent), unit, in 40 of 40 pairs" in result.stdout


def test_the_moment_at_which_it_began_is_told_in_utc_where_requests_have_times(tmp_path):
    rows = [
        {"request_id": f"r{at}", "time": 1_780_000_000 + at, "online": {"x": at + 1}, "inputs": {"x": (at + 1) / 7}} for at in range(30)
    ]
    (tmp_path / "on.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    assert "since 2026-05-28 20:26 UTC" in run("--online", str(tmp_path / "on.jsonl")).stdout


def test_parquet_keeps_texts_times_and_nulls(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    ids = list(range(30))
    dates = pa.array([1_780_000_000_000 + 60_000 * at for at in ids], pa.timestamp("ms"))
    later = pa.array([1_780_000_000_000 + 60_000 * at - 3_600_000 for at in ids], pa.timestamp("ms"))
    pq.write_table(pa.table({"request_id": ids, "at": dates, "zip": ["007"] * 30, "x": [None] * 30}), tmp_path / "off.parquet")
    pq.write_table(
        pa.table({"request_id": ids, "entity": ids, "at": later, "zip": ["007"] * 30, "x": [None] * 30}), tmp_path / "on.parquet"
    )

    result = run("--online", str(tmp_path / "on.parquet"), "--offline", str(tmp_path / "off.parquet"), "-o", "json")

    (finding,) = json.loads(result.stdout)["findings"]
    assert (finding["feature"], finding["transformation"]) == ("at", "online = offline - 1 h")


def test_requests_without_any_in_common_are_an_error_and_no_clean_day(tmp_path):
    (tmp_path / "on.csv").write_text("request_id,x\na,1\n")
    (tmp_path / "off.csv").write_text("request_id,x\nb,1\n")

    result = run("--online", str(tmp_path / "on.csv"), "--offline", str(tmp_path / "off.csv"))

    assert "OBS-SKW-005" in str(result.exception)


def test_a_feature_of_one_side_and_a_poor_join_are_said(tmp_path):
    (tmp_path / "on.csv").write_text("request_id,x,y\n" + "".join(f"{at},1,1\n" for at in range(10)))
    (tmp_path / "off.csv").write_text("request_id,x,z\n1,1,1\n2,1,1\n")

    document = json.loads(run("--online", str(tmp_path / "on.csv"), "--offline", str(tmp_path / "off.csv"), "-o", "json").stdout)

    assert document["problems"] == [
        "y: only the served side has it",
        "z: only the offline side has it",
        "only 2 of 10 served requests are in the offline table",
    ]


def test_an_empty_log_is_inconclusive(tmp_path):
    (tmp_path / "on.jsonl").write_text("")

    result = run("--online", str(tmp_path / "on.jsonl"), "-o", "json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["verdict"] == "inconclusive"


def test_control_characters_in_names_and_values_do_not_reach_the_terminal(tmp_path):
    rows = [{"request_id": f"r{at}", "time": at, "online": {"a\x1b[31m": "b\x1b"}, "inputs": {"a\x1b[31m": "c\x07"}} for at in range(30)]
    (tmp_path / "on.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    result = run("--online", str(tmp_path / "on.jsonl"))

    assert result.exit_code == 3
    assert not set("\x1b\x07") & set(result.stdout)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("off.csv", b"id,x\n1,2\n", "OBS-SKW-008"),
        ("off.csv", b"request_id,basis\n1,guess\n", "OBS-SKW-008"),
        ("off.csv", b"request_id,x\n1,2,3\n", "OBS-SKW-007"),
        ("off.csv", b"\xff\xfe\x00", "OBS-SKW-007"),
        ("off.jsonl", b"[1]\n", "OBS-SKW-007"),
        ("off.jsonl", b'{"request_id": \n', "OBS-SKW-007"),
        ("off.parquet", b"PAR1", "OBS-SKW-007"),
        ("off.xlsx", b"", "OBS-SKW-006"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line_with_a_code(tmp_path, name, content, code):
    (tmp_path / name).write_bytes(content)

    with pytest.raises((SpecError, UsageError), match=code) as caught:
        read_offline(tmp_path / name)

    assert "\n" not in str(caught.value)


def test_a_missing_table_and_an_unknown_format_are_refused(tmp_path):
    (tmp_path / "on.jsonl").write_text("")

    assert "OBS-SKW-006" in str(run("--online", str(tmp_path / "none.csv")).exception)
    assert "OBS-SKW-002" in str(run("--online", str(tmp_path / "none")).exception)
    assert "OBS-DRF-008" in str(run("--online", str(tmp_path / "on.jsonl"), "-o", "xml").exception)


def test_ids_that_a_dataframe_turned_into_floats_still_join(tmp_path):
    (tmp_path / "on.jsonl").write_text('{"request_id": "7", "time": 1, "online": {"x": 1}}\n')
    (tmp_path / "off.jsonl").write_text('{"request_id": 7.0, "x": 1}\n')

    assert run("--online", str(tmp_path / "on.jsonl"), "--offline", str(tmp_path / "off.jsonl")).exit_code == 0
    assert [one.request_id for one in read_online(tmp_path / "on.jsonl")] == ["7"]


@pytest.fixture
def followed(tmp_path):
    (tmp_path / "collector.yaml").write_text("service: shop\nlog: skew\noffline: off.csv\nfeatures: [x]\n")
    log = SkewLog(tmp_path / "skew", service="shop", revision="v2", rate=1.0, every=3600.0)
    now = [0.0]
    yield SkewFollower(load_config(tmp_path / "collector.yaml"), tmp_path, clock=lambda: now[0]), log, now, tmp_path
    log.close()


def pairs(readings):
    return {one.labels["kind"]: one.value for one in readings if one.metric is SKEW_PAIRS}


def test_the_exporter_follows_the_log_and_the_table_and_reads_nothing_twice(followed):
    follower, log, now, folder = followed
    for at in range(30):
        log.offer(f"r{at}", f"c{at}", float(at), {"x": 60.0 * (at + 1)})
    log.flush()
    assert pairs(follower.read()) == {}

    (folder / "off.csv").write_text("request_id,x\n" + "".join(f"r{at},{at + 1}\n" for at in range(20)))
    now[0] += 60
    first = follower.read()
    (folder / "off.csv").write_text("request_id,x\n" + "".join(f"r{at},{at + 1}\n" for at in range(30)))
    now[0] += 60
    second = follower.read()
    now[0] += 60

    assert sum(pairs(first).values()) == 20
    assert sum(pairs(second).values()) == sum(pairs(follower.read()).values()) == 30
    assert [one.labels["kind"] for one in second if one.metric is SKEW_NAMED] == ["unit"]


def test_a_line_that_is_still_being_written_is_read_when_it_is_whole(followed):
    follower, _, now, folder = followed
    (folder / "skew").mkdir()
    file = folder / "skew" / "1.skew.jsonl"
    line = '{"request_id": "r1", "time": 1, "online": {"x": 1}, "inputs": {"x": 1}}\n'
    file.write_text(line[:20])
    follower.read()
    file.write_text(line)
    now[0] += 60

    assert pairs(follower.read()) == {"equal": 1}


def test_a_broken_table_is_told_and_the_next_version_is_read(followed):
    follower, log, now, folder = followed
    log.offer("r1", "c1", 1.0, {"x": 1.0})
    log.flush()
    (folder / "off.csv").write_text("nonsense\n1\n")

    with pytest.raises(SkewUnavailable, match="OBS-SKW-010") as caught:
        follower.read()
    (folder / "off.csv").write_text("request_id,x\nr1,1\n")
    os.utime(folder / "off.csv", (1e9, 1e9))
    now[0] += 60

    assert caught.value.reason == "skew_log_unavailable"
    assert pairs(follower.read()) == {"equal": 1}


def test_a_folder_that_is_not_there_is_told(followed):
    with pytest.raises(SkewUnavailable, match="OBS-SKW-010"):
        followed[0].read()


def test_the_configuration_that_ships_is_one_and_a_wrong_one_is_named(tmp_path):
    from pathlib import Path

    shipped = Path(__file__).parents[2] / "collectors" / "skew" / "collector.yaml"
    wrong = tmp_path / "collector.yaml"
    wrong.write_text(shipped.read_text().replace("features:", "featurs:"))

    assert load_config(shipped).service == "credit-risk"
    with pytest.raises(SpecError, match="OBS-SKW-012"):
        load_config(wrong)
    with pytest.raises(UsageError, match="OBS-SKW-011"):
        load_config(tmp_path / "none.yaml")
