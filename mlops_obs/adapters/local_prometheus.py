"""Prometheus and Alertmanager on this machine, configured from templates people can read (`platform/local/`).

Loopback only, free ports, one folder for all files. Alertmanager's clustering is off: left alone it would listen on every
interface. Processes that die without saying goodbye leave their discovery file behind; a helper thread removes it after a
grace time, long enough for Prometheus to notice that the process is down.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from string import Template

from mlops_obs.adapters.processes import Daemon
from mlops_obs.durations import format_duration, parse_duration
from mlops_obs.errors import PlatformError

_TEMPLATES = Path(__file__).resolve().parents[2] / "platform" / "local"
_PRUNE_SECONDS = 30.0


def alertmanager_program() -> str | None:
    """Return the path of Alertmanager (Debian calls it `prometheus-alertmanager`), or None."""
    return shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


def available() -> bool:
    """Say whether both programs are on the PATH."""
    return shutil.which("prometheus") is not None and alertmanager_program() is not None


class LocalMonitoring:
    """A running Prometheus with its Alertmanager. The constructor returns when both are ready; use it as a context manager or call `stop`.

    Args:
        directory: receives configuration, data and logs.
        rule_files: generated rule files, by path.
        discovery_dir: folder of file_sd JSON files, one per instrumented process.
        alertmanager_config: text from `mlops_obs.paging.alertmanager.render_config`.
        scrape_interval: Prometheus duration.
        evaluation_interval: Prometheus duration; the one that the rules were rendered with.
        prometheus_port: 0 finds a free one; so does alertmanager_port.
        prune: removes discovery files of dead processes, called every 30 s.

    Raises:
        PlatformError: OBS-PLAT-001 to 004: a program is missing, a port is taken, or a program ended (with the end of its log).
    """

    def __init__(
        self,
        directory: Path,
        rule_files: Sequence[Path],
        discovery_dir: Path,
        alertmanager_config: str,
        scrape_interval: str = "1s",
        evaluation_interval: str = "1s",
        *,
        prometheus_port: int = 0,
        alertmanager_port: int = 0,
        prune: Callable[[Path], object] | None = None,
    ) -> None:
        directory = directory.resolve()
        directory.mkdir(parents=True, exist_ok=True)
        discovery_dir.mkdir(parents=True, exist_ok=True)
        alertmanager_yml = directory / "alertmanager.yml"
        alertmanager_yml.write_text(alertmanager_config, encoding="utf-8")
        program = alertmanager_program() or "prometheus-alertmanager"
        self.alertmanager = Daemon(
            "Alertmanager",
            _command(program, "alertmanager.args", alertmanager_yml, directory / "alertmanager"),
            "/-/ready",
            directory / "alertmanager.log",
            alertmanager_port,
        )
        prometheus_yml = directory / "prometheus.yml"
        self.prometheus = Daemon(
            "Prometheus",
            _command("prometheus", "prometheus.args", prometheus_yml, directory / "prometheus"),
            "/-/ready",
            directory / "prometheus.log",
            prometheus_port,
        )
        self._stopping = threading.Event()
        try:
            self.alertmanager.start()
            values = {
                "scrape_interval": scrape_interval,
                "scrape_timeout": format_duration(min(parse_duration(scrape_interval), Decimal(10))),
                "evaluation_interval": evaluation_interval,
                # JSON is YAML: quoting cannot go wrong, whatever the path.
                "rule_files": json.dumps([str(path.resolve()) for path in rule_files]),
                "alertmanager": json.dumps(self.alertmanager.url.removeprefix("http://")),
                "discovery": json.dumps(str(discovery_dir.resolve() / "*.json")),
            }
            prometheus_yml.write_text(_template("prometheus.yml").substitute(values), encoding="utf-8")
            self.prometheus.start()
        except BaseException:
            self.stop()
            raise
        if prune is not None:
            threading.Thread(target=self._prune, args=(prune, discovery_dir), name="prune-discovery", daemon=True).start()

    @property
    def prometheus_url(self) -> str:
        """Base address of Prometheus."""
        return self.prometheus.url

    @property
    def alertmanager_url(self) -> str:
        """Base address of Alertmanager."""
        return self.alertmanager.url

    def stop(self) -> None:
        """End both processes, Prometheus first so that it does not log a lost Alertmanager. May be called twice."""
        self._stopping.set()
        self.prometheus.stop()
        self.alertmanager.stop()

    def __enter__(self) -> LocalMonitoring:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _prune(self, prune: Callable[[Path], object], discovery_dir: Path) -> None:
        while not self._stopping.wait(_PRUNE_SECONDS):
            prune(discovery_dir)


def _command(program: str, flags: str, config: Path, data: Path) -> Callable[[str], Sequence[str]]:
    def command(listen: str) -> Sequence[str]:
        text = _template(flags).substitute(config=config, data=data, listen=listen)
        return [program, *text.splitlines()]

    return command


def _template(name: str) -> Template:
    path = _TEMPLATES / name
    try:
        return Template(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlatformError(
            "OBS-PLAT-004", f"the template cannot be read ({error.strerror})", where=str(path), todo="run from a checkout of mlops-obs"
        ) from error
