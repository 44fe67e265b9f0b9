"""The benchmark of profile and score runs, and leaves out with the reason what is not there."""

from pathlib import Path

import pytest

from benchmarks.drift import batch

pytest.importorskip("pyarrow")


def test_a_small_slice_is_measured_in_processes_of_their_own():
    report = batch.measure((2_000,), ("floor", "ours"))

    lines = {line.split("|")[1].strip(): line for line in report.splitlines() if line.startswith("| ")}
    assert "2,000 rows x 50 columns" in report
    assert lines["ours, dictionary columns"].split("|")[4].strip() == "1.00"
    assert "floor: every byte read once" in lines


def test_a_tool_that_cannot_be_installed_is_left_out_with_the_reason(monkeypatch, tmp_path):
    monkeypatch.setattr(batch, "CACHE", tmp_path)
    monkeypatch.setattr(batch, "_INSTALL_SECONDS", 0)
    monkeypatch.setattr(batch.subprocess, "run", lambda *given, **options: (_ for _ in ()).throw(OSError("no disk")))

    assert batch.run("nannyml", [Path("a"), Path("b")], 1) == "not installed: no disk"
