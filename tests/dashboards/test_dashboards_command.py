"""`obs dashboards` and `obs runbooks` as a person calls them."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlops_obs.cli import dashboards, runbooks
from mlops_obs.errors import ObsError

RUN = CliRunner()
ROOT = Path(__file__).parents[2]


def test_render_writes_once_and_then_finds_all_current(tmp_path: Path) -> None:
    first = RUN.invoke(dashboards.app, ["render", "--dir", str(tmp_path)])
    second = RUN.invoke(dashboards.app, ["render", "--dir", str(tmp_path), "--check"])

    assert "6 dashboards, 6 written" in first.output
    assert "6 dashboards are current" in second.output


def test_a_file_that_was_edited_by_hand_is_named(tmp_path: Path) -> None:
    RUN.invoke(dashboards.app, ["render", "--dir", str(tmp_path)])
    (tmp_path / "mlops-obs-drift.json").write_text("{}")

    result = RUN.invoke(dashboards.app, ["render", "--dir", str(tmp_path), "--check"])

    assert isinstance(result.exception, ObsError)
    assert "mlops-obs-drift.json" in str(result.exception)


def test_lint_says_which_rule_a_dashboard_breaks(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"uid": "mine", "panels": []}')

    result = RUN.invoke(dashboards.app, ["lint", "--dir", str(tmp_path)])

    assert result.exit_code == 1
    assert "(template-datasource)" in result.output


def test_lint_refuses_an_exclusion_without_a_reason(tmp_path: Path) -> None:
    RUN.invoke(dashboards.app, ["render", "--dir", str(tmp_path)])
    (tmp_path / ".lint").write_text("exclusions: {timezone-utc: ''}\n")

    result = RUN.invoke(dashboards.app, ["lint", "--dir", str(tmp_path)])

    assert isinstance(result.exception, ObsError)
    assert "OBS-DASH-008" in str(result.exception)


def test_a_file_that_is_not_json_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{\n "uid": \n}')

    result = RUN.invoke(dashboards.app, ["lint", "--dir", str(tmp_path)])

    assert "mine.json:3" in str(result.exception)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("mine.json", b"[1]", "OBS-DASH-007"),
        ("mine.json", b"\xff\xfe", "OBS-DASH-007"),
        (".lint", b"a: [1\nb: }", "OBS-SLO-001"),
        (".lint", b"\xff\xfe", "OBS-SLO-001"),
    ],
)
def test_a_file_that_is_no_dashboard_or_exclusion_is_one_line(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    RUN.invoke(dashboards.app, ["render", "--dir", str(tmp_path)])
    (tmp_path / name).write_bytes(content)

    _expect_one_line(RUN.invoke(dashboards.app, ["lint", "--dir", str(tmp_path)]).exception, name, code)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("x-rules.yaml", b"groups: 3", "OBS-RUN-003"),
        ("x-rules.yaml", b"a: [1\nb: }", "OBS-SLO-001"),
        ("X.md", b"\xff\xfe", "OBS-RUN-004"),
    ],
)
def test_a_file_that_is_no_runbook_or_rule_file_is_one_line(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(content)

    _expect_one_line(RUN.invoke(runbooks.app, ["lint", "--dir", str(tmp_path), "--rules", str(tmp_path)]).exception, name, code)


def test_a_preview_of_metrics_that_do_not_answer_is_a_failure(tmp_path: Path) -> None:
    out = tmp_path / "page.html"

    result = RUN.invoke(dashboards.app, ["preview", "mlops-obs-drift", "--out", str(out), "--prometheus", "http://127.0.0.1:1"])

    _expect_one_line(result.exception, "http://127.0.0.1:1", "OBS-PROM-002")
    assert not out.exists()


def _expect_one_line(error: BaseException | None, where: str, code: str) -> None:
    assert isinstance(error, ObsError), error
    assert where in str(error)
    assert str(error).endswith(f"[{code}]")
    assert "\n" not in str(error)


@pytest.mark.stack
def test_preview_writes_a_file(tmp_path: Path, filled_prometheus: str) -> None:
    out = tmp_path / "page.html"

    RUN.invoke(dashboards.app, ["preview", "mlops-obs-drift", "--out", str(out), "--prometheus", filled_prometheus], catch_exceptions=False)

    assert out.read_text().startswith("<!doctype html>")


def test_the_committed_runbooks_are_current_and_clean() -> None:
    current = RUN.invoke(runbooks.app, ["render", "--dir", str(ROOT / "runbooks"), "--check"])
    clean = RUN.invoke(runbooks.app, ["lint", "--dir", str(ROOT / "runbooks"), "--rules", str(ROOT / "slo" / "generated")])

    assert current.exit_code == 0, current.exception
    assert clean.exit_code == 0, clean.output
