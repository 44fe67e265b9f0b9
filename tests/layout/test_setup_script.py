"""`scripts/setup.sh` on machines that lack something: a stand-in Python and apt-get note what they are asked for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "setup.sh"
TOOLS = ("bash", "sh", "cat", "chmod", "cut", "dirname", "mkdir", "rm", "sha256sum", "touch")
PROGRAMS = ("prometheus", "prometheus-alertmanager", "etcd", "chromium")
# Makes what venv makes; pip fails while the file `no-network` is there.
PYTHON = """#!/bin/sh
echo "python $*" >>log
case "$*" in
  "-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python; touch .venv/pip ;;
  "-m pip --version") [ -e .venv/pip ] ;;
  "-m pip install"*) [ ! -e no-network ] ;;
esac
"""


class Machine:
    """A copy of the checkout's set-up in its own folder, and a PATH with nothing but what it is given."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        (folder / "scripts").mkdir()
        shutil.copy(SCRIPT, folder / "scripts" / "setup.sh")
        (folder / "pyproject.toml").write_text("first")
        (folder / "constraints.txt").touch()
        for tool in (*TOOLS, "cp"):
            (self.bin / tool).symlink_to(shutil.which(tool) or tool)
        self.program("python3.11", PYTHON)
        self.program("id", "#!/bin/sh\necho 1000\n")
        for name in PROGRAMS:
            self.program(name)

    def program(self, name: str, text: str = "#!/bin/sh\n") -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def setup(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [str(self.folder / "scripts" / "setup.sh"), *arguments]
        return subprocess.run(argv, env={"PATH": str(self.bin)}, cwd="/", capture_output=True, text=True)

    @property
    def log(self) -> list[str]:
        """What Python and apt-get were asked for since the last look."""
        path = self.folder / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    @property
    def installed(self) -> bool:
        return any("install" in line and "-e .[all,dev]" in line for line in self.log)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_the_second_run_does_nothing_and_needs_no_network(machine):
    assert machine.setup().returncode == 0
    assert machine.installed
    (machine.folder / "no-network").touch()

    again = machine.setup()

    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert machine.log == []


def test_a_venv_that_was_interrupted_before_it_had_pip_is_made_again(machine):
    (machine.folder / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(machine.bin / "python3.11", machine.folder / ".venv" / "bin" / "python")

    assert machine.setup().returncode == 0

    assert "python -m venv .venv" in machine.log


def test_a_changed_pyproject_installs_again_into_the_same_venv(machine):
    machine.setup()
    assert machine.installed
    (machine.folder / "pyproject.toml").write_text("second")

    machine.setup()

    assert "python -m venv .venv" not in (log := machine.log)
    assert any("-e .[all,dev]" in line for line in log)


def test_an_installation_that_failed_is_never_taken_for_the_one_before_it(machine):
    machine.setup()
    (machine.folder / "pyproject.toml").write_text("second")
    (machine.folder / "no-network").touch()
    assert machine.setup().returncode != 0
    (machine.folder / "no-network").unlink()
    (machine.folder / "pyproject.toml").write_text("first")
    machine.log  # noqa: B018 - forget what came before

    machine.setup()

    assert machine.installed


def test_without_apt_or_without_permission_set_up_goes_on_and_says_how_to_get_the_programs(machine):
    (machine.bin / "prometheus").unlink()
    assert machine.setup().returncode == 0

    machine.program("apt-get", "#!/bin/sh\necho apt-get >>log\n")
    refused = machine.setup()

    assert refused.returncode == 0
    assert "sudo apt-get install prometheus" in refused.stderr
    assert not any("apt-get" in line for line in machine.log)


def test_a_package_that_cannot_be_installed_is_asked_for_once_not_at_every_run(machine):
    (machine.bin / "prometheus").unlink()
    machine.program("apt-get")
    machine.program("sudo", '#!/bin/sh\n[ "$2" = sh ] && echo "$*" >>log && exit 1\nexit 0\n')

    first, second = machine.setup(), machine.setup()

    assert "could not install prometheus" in first.stderr
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert sum("policy-rc.d" in line for line in machine.log) > 0


def test_a_python_that_is_missing_or_too_old_is_one_clear_line(machine):
    (machine.bin / "python3.11").unlink()
    assert "Python 3.11 or 3.12 is needed, found none" in machine.setup().stderr

    machine.program("python3", "#!/bin/sh\nexit 1\n")
    assert "Python 3.11 or 3.12 is needed" in machine.setup().stderr
    assert not (machine.folder / ".venv").exists()
