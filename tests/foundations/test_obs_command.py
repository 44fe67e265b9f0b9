"""The `obs` command itself: light, and every bad end is one line and an exit code."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import SimpleNamespace

import pytest
import typer

from mlops_obs.cli import main as cli
from mlops_obs.errors import PlatformError, UsageError


def obs(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "mlops_obs.cli.main", *arguments], capture_output=True, text=True)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["obs", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


@pytest.fixture
def failing(monkeypatch):
    """Make `obs slo` a command that raises what it is given."""

    def fail(error: BaseException) -> None:
        group = typer.Typer()

        @group.command()
        def command() -> None:
            raise error

        real = importlib.import_module
        monkeypatch.setattr(
            importlib, "import_module", lambda name: SimpleNamespace(app=group) if name == "mlops_obs.cli.slo" else real(name)
        )

    return fail


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_every_command(monkeypatch, capsys, flag):
    assert run(monkeypatch, flag) == 0

    shown = capsys.readouterr().out
    assert [name for name in cli.COMMANDS if name not in shown] == []


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_answers_both_forms_of_help(monkeypatch, capsys, name):
    for flag in ("-h", "--help"):
        assert run(monkeypatch, name, flag) == 0
        assert f"obs {name}" in capsys.readouterr().out


def test_an_unknown_command_exits_with_2_and_names_it(monkeypatch, capsys):
    assert run(monkeypatch, "roll-out") == 2

    assert "roll-out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"), [(UsageError("OBS-X-001", "wrong", todo="do right"), 2), (PlatformError("OBS-X-002", "taken"), 1)]
)
def test_our_errors_are_one_line_on_stderr_and_their_exit_code(monkeypatch, capsys, failing, error, code):
    failing(error)

    assert run(monkeypatch, "slo") == code

    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"obs: {error}\n")


def test_ctrl_c_is_said_and_exits_with_130(monkeypatch, capsys, failing):
    failing(KeyboardInterrupt())

    assert run(monkeypatch, "slo") == 130

    assert capsys.readouterr().err == "obs: interrupted\n"


@pytest.mark.parametrize("arguments", [("slo", "check", "nowhere.yaml"), ("rollout", "status", "--env", "nowhere.yaml")])
def test_a_missing_file_is_one_line_without_a_traceback(arguments):
    done = obs(*arguments)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("obs: nowhere.yaml: ")
    assert done.stderr.endswith("]\n")


def test_a_reader_that_leaves_early_gets_no_traceback():
    done = subprocess.run(f"{sys.executable} -m mlops_obs.cli.main --help | true", shell=True, capture_output=True, text=True)

    assert "Traceback" not in done.stderr


def test_the_version_is_the_installed_one(monkeypatch, capsys):
    from importlib.metadata import version

    assert run(monkeypatch, "--version") == 0

    assert capsys.readouterr().out == f"obs {version('mlops-obs')}\n"
