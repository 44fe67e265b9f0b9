from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from mlops_obs.adapters.discovery import announce, prune_dead, withdraw


def test_a_discovery_file_is_what_prometheus_file_sd_reads(tmp_path: Path) -> None:
    path = announce(tmp_path / "new", "credit-risk-serve-v1", "127.0.0.1:9000")

    assert json.loads(path.read_text()) == [{"targets": ["127.0.0.1:9000"], "labels": {"obs_process": "credit-risk-serve-v1"}}]
    assert path.name == f"credit-risk-serve-v1-{os.getpid()}.json"


def test_no_half_written_file_is_ever_left_behind(tmp_path: Path) -> None:
    announce(tmp_path, "a", "127.0.0.1:1")

    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_a_process_that_goes_to_another_folder_still_finds_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = announce(Path("discovery"), "a", "127.0.0.1:1")
    monkeypatch.chdir("/")

    withdraw(path)

    assert list((tmp_path / "discovery").iterdir()) == []


def test_a_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    path = announce(tmp_path, "../../etc/évil name", "127.0.0.1:1")

    assert path.parent == tmp_path
    assert path.name == f".._.._etc_vil_name-{os.getpid()}.json"


def test_files_of_living_processes_stay_and_of_dead_ones_go(tmp_path: Path) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    mine = announce(tmp_path, "a", "127.0.0.1:1")
    dead = announce(tmp_path, "b", "127.0.0.1:2", pid=child.pid)
    foreign = tmp_path / "handwritten.json"
    foreign.write_text("[]")

    assert prune_dead(tmp_path) == [dead]
    assert sorted(tmp_path.iterdir()) == sorted([mine, foreign])


def test_a_zombie_is_dead(tmp_path: Path) -> None:
    child = subprocess.Popen(["sleep", "60"])
    path = announce(tmp_path, "z", "127.0.0.1:1", pid=child.pid)
    assert prune_dead(tmp_path) == []
    child.kill()
    deadline = time.monotonic() + 10
    while prune_dead(tmp_path) == [] and time.monotonic() < deadline:
        time.sleep(0.01)

    assert not path.exists()
    child.wait()


def test_a_reused_process_id_does_not_keep_a_dead_target_alive(tmp_path: Path) -> None:
    path = announce(tmp_path, "old", "127.0.0.1:1")
    os.utime(path, (1_000_000_000, 1_000_000_000))

    assert prune_dead(tmp_path) == [path]


def test_withdrawing_twice_or_pruning_nothing_is_fine(tmp_path: Path) -> None:
    path = announce(tmp_path, "a", "127.0.0.1:1")
    withdraw(path)
    withdraw(path)

    assert prune_dead(tmp_path / "missing") == []


def test_a_full_disk_leaves_no_half_written_file(tmp_path, monkeypatch):
    def full(self, *_args, **_kwargs):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)

    with pytest.raises(OSError, match="No space left"):
        announce(tmp_path, "credit-risk-train-v1", "127.0.0.1:1")

    assert list(tmp_path.iterdir()) == []
