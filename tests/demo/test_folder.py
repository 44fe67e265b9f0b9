"""A bad start of the demo is one clear line, and never costs anybody a file."""

from __future__ import annotations

import socket

import pytest

from mlops_obs.cli.demo import folder
from mlops_obs.errors import PlatformError, UsageError


def test_a_folder_with_somebodys_files_is_refused_and_kept(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(UsageError, match="OBS-DEMO-001"):
        folder.claim(tmp_path)

    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_earlier_run_is_replaced(tmp_path):
    with folder.claim(tmp_path / "run"):
        (tmp_path / "run" / "logs").mkdir()
        (tmp_path / "run" / "logs" / "stack.log").write_text("old")

    with folder.claim(tmp_path / "run"):
        assert not (tmp_path / "run" / "logs").exists()


def test_two_runs_never_share_a_folder(tmp_path):
    with folder.claim(tmp_path), pytest.raises(PlatformError, match="another demo is running here.*OBS-DEMO-002"):
        folder.claim(tmp_path)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")

    with pytest.raises(UsageError, match="OBS-DEMO-001"):
        folder.claim(tmp_path / "file")


def test_too_little_space_is_said_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 5 << 20})())

    with pytest.raises(PlatformError, match="only 5 MiB are free.*OBS-DEMO-002"):
        folder.claim(tmp_path)


def test_a_taken_port_is_named_with_its_option():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(PlatformError, match=f"--http-port: port {port} cannot be used.*OBS-DEMO-007"):
            folder.check_port(port, "--http-port")


def test_an_earlier_run_that_cannot_be_removed_is_said(tmp_path, monkeypatch):
    with folder.claim(tmp_path):
        (tmp_path / "logs").mkdir()

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(folder.shutil, "rmtree", refuse)
    with pytest.raises(PlatformError, match="logs: the earlier run cannot be removed: Permission denied.*OBS-DEMO-002"):
        folder.claim(tmp_path)
