"""What the model server writes down, and that it never costs the request more than a copy of two references."""

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.adapters import skew_log
from mlops_obs.adapters.skew_log import SkewLog, read_records
from mlops_obs.collectors.skew import Served, sampled
from mlops_obs.collectors.skew.records import from_line, to_line
from mlops_obs.errors import SpecError, UsageError


@pytest.fixture
def log(tmp_path):
    made = SkewLog(tmp_path / "skew", service="shop", revision="v1", rate=1.0, every=3600.0)
    yield made
    made.close()


def outcomes(log):
    return {one.labels["outcome"]: one.value for one in log.read()}


def test_the_same_entities_are_sampled_on_every_machine_and_a_larger_rate_holds_those_of_a_smaller_one():
    names = [f"customer-{at}" for at in range(4000)]

    few, many = ({name for name in names if sampled(name, rate)} for rate in (0.05, 0.2))

    assert few < many
    assert 150 < len(few) < 250
    assert sampled("customer-18", 0.01) is True  # fixed for ever: other languages and last year's logs rely on it
    assert {name for name in names if sampled(name, 0.05, salt="b")} != few
    assert all(sampled(name, 1.0) for name in names)
    assert not any(sampled(name, 0.0) for name in names)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_that_is_no_share_is_refused(rate, tmp_path):
    with pytest.raises(SpecError, match="OBS-SKW-001"):
        SkewLog(tmp_path, service="shop", rate=rate)


def test_what_is_offered_is_read_again_with_its_numbers_to_the_last_bit(log, tmp_path):
    online = {
        "a": 0.1 + 0.2,
        "b": np.float32(1.5),
        "c": None,
        "d": "web",
        "e": float("inf"),
        "f": True,
        "g": float("nan"),
        "h": np.int64(7),
    }

    assert log.offer("r1", "anna", 12.5, online, {"a": 1}, {"a": 3.0, "b": float("nan")})
    log.flush()

    (record,) = read_records(tmp_path / "skew")
    assert record.online == {"a": 0.1 + 0.2, "b": 1.5, "c": None, "d": "web", "e": float("inf"), "f": "true", "g": None, "h": 7.0}
    assert (record.entity, record.time, record.inputs, record.ages, record.revision) == ("anna", 12.5, {"a": 1.0}, {"a": 3.0}, "v1")
    assert outcomes(log) == {"written": 1, "dropped": 0}


def test_each_line_is_plain_json_whatever_the_values(log, tmp_path):
    log.offer('"\n', "\ud800", 1.0, {"x\n": "\x00", "y": float("-inf"), "z": object()})
    log.flush()

    (file,) = (tmp_path / "skew").iterdir()
    (line,) = file.read_text().splitlines()

    assert json.loads(line, parse_constant=pytest.fail)["online"]["y"] == "-Infinity"


def test_a_full_queue_drops_and_counts_and_the_request_never_waits(tmp_path):
    log = SkewLog(tmp_path, service="shop", rate=1.0, capacity=10, every=3600.0)
    log._start = lambda: None  # no writer at all: the slowest disk there is

    kept = [log.offer(f"r{at}", "anna", 1.0, {"a": at}) for at in range(50)]

    assert (sum(kept), outcomes(log)) == (10, {"written": 0, "dropped": 40})


def test_a_folder_that_cannot_be_written_is_counted_and_never_raised(tmp_path):
    (tmp_path / "file").write_text("")
    log = SkewLog(tmp_path / "file" / "below", service="shop", rate=1.0, every=3600.0)

    log.offer("r1", "anna", 1.0, {"a": 1})
    log.close()

    assert outcomes(log) == {"written": 0, "dropped": 1}


def test_a_broken_offer_is_counted_and_never_raised(log):
    assert log.offer("r1", None, 1.0, {}) is False
    assert outcomes(log)["dropped"] == 1


def test_files_are_bounded_in_size_and_number(tmp_path):
    log = SkewLog(tmp_path, service="shop", rate=1.0, file_bytes=400, files=3, every=3600.0)
    for at in range(40):
        log.offer(f"r{at:03}", "anna", 1.0, {"a": at})
        log.flush()
    log.close()

    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    assert all(file.stat().st_size <= 400 for file in files)
    assert [one.request_id for one in read_records(tmp_path)][-1] == "r039"


def test_the_thread_writes_by_itself_and_close_writes_the_rest(tmp_path):
    log = SkewLog(tmp_path, service="shop", rate=1.0, every=0.01)
    for at in range(100):
        log.offer(f"r{at}", "anna", 1.0, {"a": at})
    log.close()

    assert {one.request_id for one in read_records(tmp_path)} == {f"r{at}" for at in range(100)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_writes_a_file_of_its_own(log, tmp_path):
    log.offer("parent", "anna", 1.0, {"a": 1})
    log.flush()
    child = os.fork()
    if child == 0:
        log.offer("child", "anna", 1.0, {"a": 1})
        log.flush()
        os._exit(0)
    os.waitpid(child, 0)

    assert len(list((tmp_path / "skew").iterdir())) == 2
    assert {one.request_id for one in read_records(tmp_path / "skew")} == {"parent", "child"}


def test_half_a_line_of_a_killed_writer_is_counted_and_the_rest_is_read(tmp_path):
    path = tmp_path / "x.skew.jsonl"
    path.write_bytes(to_line(Served("r1", "anna", 1.0, {"a": 1.0})).encode() + b'\n{"request_id": "r2", "ti\n\xff\xfe\n[]\n\n')
    bad = [0]

    assert [one.request_id for one in read_records(path, bad)] == ["r1"]
    assert bad == [3]


def test_a_folder_without_logs_is_said(tmp_path):
    with pytest.raises(UsageError, match="OBS-SKW-002"):
        list(read_records(tmp_path))
    with pytest.raises(UsageError, match="OBS-SKW-002"):
        list(read_records(tmp_path / "none.jsonl"))
    assert skew_log.LOG_SUFFIX == ".skew.jsonl"


VALUES = st.one_of(st.none(), st.floats(), st.text(max_size=20), st.booleans(), st.integers())


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=5), st.dictionaries(st.text(max_size=8), VALUES, max_size=5))
def test_any_record_survives_its_line(online, inputs):
    first = from_line(to_line(Served("r", "e", 1.0, online, inputs)))

    assert first is not None
    assert from_line(to_line(first)) == first


@given(
    st.one_of(st.text(max_size=200), st.recursive(VALUES, lambda x: st.dictionaries(st.text(max_size=12), x, max_size=4)).map(json.dumps))
)
def test_no_line_breaks_the_reader(line):
    assert from_line(line) is None or isinstance(from_line(line), Served)
