"""One pass over many files: the same bytes whatever reads them, resumable, in bounded memory."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlops_obs.adapters.drift_scan import Part, local, plain, processes, scan
from mlops_obs.adapters.tables import blocks, expand, infer_table
from mlops_obs.collectors.drift.joint import joint_of, section_from_blocks
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.errors import SpecError, StateError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def write_parts(folder, files=6, rows=500, seed=0):
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(seed)
    for number in range(files):
        table = {"income": random.lognormal(8, 1, rows), "channel": random.choice(["web", "branch", None], rows).astype(object)}
        pq.write_table(pa.table(table), folder / f"part-{number:03}.parquet")
    return expand([str(folder)])


def profile_of(sources, **how):
    return scan(sources, infer_table(sources).schema, **how).to_bytes()


def test_many_files_are_the_profile_of_one_table_with_all_their_rows(tmp_path):
    sources = write_parts(tmp_path / "parts")
    whole = pa.concat_tables([pq.read_table(one) for one in sources])
    pq.write_table(whole, tmp_path / "whole.parquet")

    together = scan([str(tmp_path / "whole.parquet")], infer_table(sources).schema)

    assert profile_of(sources) == together.to_bytes()
    assert together.rows == 3_000


def test_processes_and_any_order_of_files_give_the_same_bytes(tmp_path):
    sources = write_parts(tmp_path / "parts")
    schema = infer_table(sources).schema

    one, two = scan(sources, schema, over=plain), scan(sources, schema, over=processes(2))
    turned = scan(sources[::-1], schema, over=local(1))

    assert one.to_bytes() == two.to_bytes() == turned.to_bytes()


@pytest.mark.stack
def test_ray_gives_the_same_bytes_as_one_machine(tmp_path):
    ray = pytest.importorskip("ray")
    from mlops_obs.adapters.ray_drift import on_ray, profile_dataset

    sources = write_parts(tmp_path / "parts", files=4)
    schema = infer_table(sources).schema
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        files = scan(sources, schema, over=on_ray())
        dataset = profile_dataset(ray.data.read_parquet(str(tmp_path / "parts")), schema)
        Path(sources[1]).write_bytes(b"PAR1 and no more")
        with pytest.raises(SpecError, match="part-001.parquet: .*OBS-TAB-002"):
            scan(sources, schema, over=on_ray())
    finally:
        ray.shutdown()

    assert files.to_bytes() == dataset.to_bytes()
    assert files.rows == 2_000


def test_what_was_read_is_not_read_again_and_the_bytes_are_the_same(tmp_path):
    sources = write_parts(tmp_path / "parts")
    first = profile_of(sources, resume=tmp_path / "kept")
    seen: list[Part] = []

    again = profile_of(sources, resume=tmp_path / "kept", each=seen.append)

    assert again == first
    assert [one.resumed for one in seen] == [True] * 6
    assert [one.source for one in seen] == sources


def test_a_file_that_changed_is_read_again_and_only_that_one(tmp_path):
    sources = write_parts(tmp_path / "parts")
    profile_of(sources, resume=tmp_path / "kept")
    pq.write_table(pa.table({"income": [1.0, 2.0], "channel": ["web", "app"]}), sources[3])
    seen: list[Part] = []

    found = profile_of(sources, resume=tmp_path / "kept", each=seen.append)

    assert sorted(one.source for one in seen if not one.resumed) == [sources[3]]
    assert ReferenceProfile.from_bytes(found).rows == 2_502


def test_a_file_that_was_written_again_in_the_same_size_is_read_again(tmp_path):
    (tmp_path / "parts").mkdir()
    file = tmp_path / "parts" / "one.csv"
    file.write_text("x\n1\n2\n3\n")
    before = profile_of([str(file)], resume=tmp_path / "kept")
    file.write_text("x\n7\n8\n9\n")
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1_000_000_000))

    assert profile_of([str(file)], resume=tmp_path / "kept") != before


def test_another_schema_has_sketches_of_its_own(tmp_path):
    sources = write_parts(tmp_path / "parts", files=2)
    profile_of(sources, resume=tmp_path / "kept")
    narrow = type(infer_table(sources).schema)(infer_table(sources).schema.columns[:1])

    found = scan(sources, narrow, resume=tmp_path / "kept")

    assert tuple(found.sketches) == ("income",)


@pytest.mark.parametrize("damage", [b"", b"\x00" * 20])
def test_a_damaged_sketch_is_made_again(tmp_path, damage):
    sources = write_parts(tmp_path / "parts")
    first = profile_of(sources, resume=tmp_path / "kept")
    next((tmp_path / "kept").iterdir()).write_bytes(damage)

    assert profile_of(sources, resume=tmp_path / "kept") == first


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    sources = write_parts(tmp_path / "parts", files=1)
    (tmp_path / "taken").write_text("")

    with pytest.raises(StateError, match="OBS-DRF-031"):
        profile_of(sources, resume=tmp_path / "taken")


def test_rows_are_summed_as_a_whole_in_the_same_pass_to_the_same_bytes(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "parts").mkdir()
    for number in range(3):
        table = {"a": random.normal(size=400), "b": random.normal(size=400)}
        pq.write_table(pa.table(table), tmp_path / "parts" / f"{number}.parquet")
    sources = expand([str(tmp_path / "parts")])
    schema = infer_table(sources).schema
    reference = scan(sources, schema)
    reference = reference.with_section("joint", section_from_blocks(reference, (one for file in sources for one in blocks(file, schema))))

    found = [scan(sources, schema, joint=joint_of(reference), **how) for how in ({}, {"over": processes(2)}, {"resume": tmp_path / "kept"})]
    again = scan(sources, schema, joint=joint_of(reference), resume=tmp_path / "kept")

    assert {one.to_bytes() for one in (*found, again)} == {reference.to_bytes()}


def test_rows_of_a_file_that_lacks_a_column_are_rows_where_it_is_missing(tmp_path):
    sources = write_parts(tmp_path / "parts", files=2)
    pq.write_table(pa.table({"income": [1.0, 2.0, 3.0]}), sources[1])

    found = ReferenceProfile.from_bytes(profile_of(sources))

    before = ReferenceProfile.from_bytes(profile_of(sources[:1])).sketches["channel"].missing
    assert (found.sketches["channel"].missing, found.sketches["channel"].rows) == (before + 3, 503)


def test_a_column_that_no_file_has_is_not_in_the_profile(tmp_path):
    sources = write_parts(tmp_path / "parts", files=2)
    schema = infer_table(sources).schema
    for one in sources:
        pq.write_table(pa.table({"income": [1.0, 2.0, 3.0]}), one)

    assert tuple(scan(sources, schema).sketches) == ("income",)


KILLED = """
import sys, time
from pathlib import Path
from mlops_obs.adapters.drift_scan import scan
from mlops_obs.adapters.tables import blocks, expand, infer_table
from mlops_obs.collectors.drift.joint import joint_of, section_from_blocks
sources = expand([sys.argv[1]])
def slow(part):
    print(part.source, flush=True)
    time.sleep(30 if part.source.endswith("003.parquet") else 0)
scan(sources, infer_table(sources).schema, resume=Path(sys.argv[2]), each=slow)
"""


def test_after_kill_9_it_goes_on_where_it_was(tmp_path):
    sources = write_parts(tmp_path / "parts")
    kept = tmp_path / "kept"
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "parts"), str(kept)], stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        if line.strip().endswith("003.parquet"):
            break
    child.send_signal(signal.SIGKILL)
    child.wait(30)
    child.stdout.close()
    seen: list[Part] = []

    found = profile_of(sources, resume=kept, each=seen.append)

    assert [Path(one.source).name for one in seen if not one.resumed] == ["part-004.parquet", "part-005.parquet"]
    assert found == profile_of(sources)


BOUNDED = """
import resource, sys
import pyarrow.parquet
from mlops_obs.adapters.drift_scan import plain, scan
from mlops_obs.adapters.tables import blocks, expand, infer_table
from mlops_obs.collectors.drift.joint import joint_of, section_from_blocks
sources = expand([sys.argv[1]])
schema = infer_table(sources).schema
scan(sources[:1], schema)  # every library is loaded
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
scan(sources, schema, over=plain)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_number_of_files(tmp_path):
    sources = write_parts(tmp_path / "parts", files=1, rows=200_000)  # 1.6 MB of numbers in memory, and as much of names
    for number in range(1, 60):
        os.link(sources[0], tmp_path / "parts" / f"part-{number:03}.parquet")

    told = subprocess.run([sys.executable, "-c", BOUNDED, str(tmp_path / "parts")], capture_output=True, text=True, check=True)

    assert int(told.stdout) < 60_000  # kB; all files together hold 190 MB
