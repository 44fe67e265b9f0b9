"""Route and inhibition tests on a real Alertmanager: its routing, grouping and inhibition, with receivers that only listen.

The configuration under test keeps its routes, matchers and inhibition. Changed are the receivers (nobody may be paged by a test, and
keys need not be here), the delays (so that it takes seconds), and one label: `case` is added to every alert, to grouping and to each
`equal`, so that cases which run side by side do not see each other. Mute times are left out, or the result would depend on the hour.
The trap is silence: that an alert was *not* told only counts after everybody who should be told was, and every group has had its turn.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from mlops_obs.adapters.alertmanager import alerts_of, post_alerts
from mlops_obs.adapters.local_prometheus import alertmanager_program
from mlops_obs.adapters.processes import Daemon
from mlops_obs.errors import PlatformError, SpecError
from mlops_obs.paging.case_file import verdict
from mlops_obs.paging.route_cases import Case

CASE = "case"
_GROUP_WAIT = 1.0
_PATIENCE, _SETTLE, _POLL = 30.0, 1.0, 0.1
_BATCH, _AT_ONCE = 120, 3  # cases of one Alertmanager, and Alertmanagers at a time


@dataclass(frozen=True, slots=True)
class Told:
    """One notification: the receiver and Alertmanager's webhook document."""

    receiver: str
    payload: Mapping[str, Any]


class AlertmanagerTrial:
    """A real Alertmanager on a free port with the routing of `config`, and a receiver that keeps what it is told.

    Args:
        config: a loaded Alertmanager configuration.
        directory: receives its files and log.
        group_wait: seconds before a group is first told.

    Raises:
        PlatformError: OBS-PLAT-001 if Alertmanager is not installed, 003 if it refuses the configuration (with the end of its log).
        SpecError: OBS-PAGE-011 if `config` is no Alertmanager configuration.
    """

    def __init__(self, config: Mapping[str, Any], directory: Path, group_wait: float = _GROUP_WAIT) -> None:
        self._directory = directory
        self._receivers = _receiver_names(config)
        self._told: list[Told] = []
        self._lock = threading.Lock()
        self._server = _Sink(self._keep)
        self._exit = ExitStack()
        self.config = trial_config(config, f"http://127.0.0.1:{self._server.server_address[1]}", f"{group_wait:g}s")
        program = alertmanager_program() or "prometheus-alertmanager"
        path = directory / "alertmanager.json"
        self._daemon = Daemon("Alertmanager", lambda listen: _command(program, path, directory, listen), "/-/ready", directory / "log")
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.config, indent=1), encoding="utf-8")  # JSON is YAML

    @property
    def url(self) -> str:
        """Base address of the Alertmanager."""
        return self._daemon.url

    @property
    def told(self) -> list[Told]:
        """What the receivers were told so far, in order."""
        with self._lock:
            return list(self._told)

    def send(self, alerts: Sequence[Mapping[str, str]]) -> None:
        """Fire alerts with these labels at one moment."""
        post_alerts(self.url, [{"labels": dict(labels)} for labels in alerts])

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that Alertmanager knows, with their receivers and what inhibits them."""
        return alerts_of(self.url)

    def __enter__(self) -> AlertmanagerTrial:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        self._exit.callback(self._server.server_close)
        self._exit.callback(self._server.shutdown)
        self._exit.callback(self._daemon.stop)
        try:
            self._daemon.start()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._exit.close()

    def _keep(self, path: str, payload: Mapping[str, Any]) -> None:
        index = path.strip("/")
        name = self._receivers[int(index)] if index.isdigit() and int(index) < len(self._receivers) else path
        with self._lock:
            self._told.append(Told(name, payload))


def run_cases(config: Mapping[str, Any], cases: Sequence[Case], directory: Path) -> list[list[str]]:
    """Return what is wrong in each case (nothing where it passes), many cases side by side on one real Alertmanager.

    Raises:
        PlatformError: OBS-PLAT-001 to 003 if Alertmanager does not run.
        SpecError: OBS-PAGE-011 if `config` is no Alertmanager configuration.
    """
    # Alertmanager compares every alert with every other one for each rule, so thousands at once would take it minutes.
    batches = [cases[start : start + _BATCH] for start in range(0, len(cases), _BATCH)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda item: _run_batch(config, item[1], directory / str(item[0])), enumerate(batches))
        return [problems for batch in found for problems in batch]


def _run_batch(config: Mapping[str, Any], cases: Sequence[Case], directory: Path) -> list[list[str]]:
    alerts = [(index, {**one.labels, CASE: str(index)}) for index, case in enumerate(cases) for one in case.alerts]
    due = {_identity(labels) for (_, labels), one in zip(alerts, _expected(cases), strict=True) if one.told}
    with AlertmanagerTrial(config, directory) as trial:
        began = time.monotonic()
        trial.send([labels for _, labels in alerts])
        while not (due <= _heard(trial.told).keys()) and time.monotonic() < began + _PATIENCE:
            time.sleep(_POLL)
            if time.monotonic() > began + _GROUP_WAIT + _SETTLE:
                # What is wrongly silenced will never be told; waiting for it would take the whole patience.
                due -= {_identity(one["labels"]) for one in trial.alerts() if one["status"]["inhibitedBy"]}
        # All groups were born at one moment, so all have had their turn a moment after the last one that was awaited.
        time.sleep(max(_SETTLE, began + _GROUP_WAIT + _SETTLE - time.monotonic()))
        heard, groups = _heard(trial.told), _groups(trial.told)
        routed = {_identity(one["labels"]): frozenset(to["name"] for to in one["receivers"]) for one in trial.alerts()}
    results: list[list[str]] = []
    position = 0
    for case in cases:
        mine = [_identity(labels) for _, labels in alerts[position : position + len(case.alerts)]]
        position += len(case.alerts)
        nobody: frozenset[str] = frozenset()
        told = [frozenset(heard.get(one, nobody)) for one in mine]
        results.append(verdict(case, told, [routed.get(one, nobody) for one in mine], len(groups.get(str(len(results)), nobody))))
    return results


def check_config(path: Path) -> str | None:
    """Return what amtool finds wrong in the configuration at `path`: empty if nothing is, None if amtool is not installed."""
    program = shutil.which("amtool")
    if program is None:
        return None
    done = subprocess.run([program, "check-config", str(path)], capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else (done.stderr or done.stdout).strip()


def trial_config(config: Mapping[str, Any], sink_url: str, group_wait: str) -> dict[str, Any]:
    """Return `config` with receivers that only listen, short delays, and cases kept apart."""
    names = _receiver_names(config)
    hooks = [{"name": name, "webhook_configs": [{"url": f"{sink_url}/{index}", "send_resolved": True}]} for index, name in enumerate(names)]
    rules = [
        {**{key: value for key, value in rule.items() if key != "equal"}, "equal": [*(rule.get("equal") or []), CASE]}
        for rule in config.get("inhibit_rules") or []
    ]
    return {"route": _quick(config["route"], group_wait), "inhibit_rules": rules, "receivers": hooks}


def _quick(route: Mapping[str, Any], group_wait: str) -> dict[str, Any]:
    kept = {key: value for key, value in route.items() if key not in {"mute_time_intervals", "active_time_intervals", "routes"}}
    kept |= {"group_wait": group_wait, "group_interval": "1s", "repeat_interval": "1h"}
    if "group_by" in kept and "..." not in kept["group_by"]:
        kept["group_by"] = [*kept["group_by"], CASE]
    if route.get("routes"):
        kept["routes"] = [_quick(one, group_wait) for one in route["routes"]]
    return kept


def _receiver_names(config: Mapping[str, Any]) -> list[str]:
    receivers, route = (config.get(key) if isinstance(config, Mapping) else None for key in ("receivers", "route"))
    if not isinstance(receivers, Sequence) or not isinstance(route, Mapping) or not all(isinstance(one, Mapping) for one in receivers):
        raise SpecError("OBS-PAGE-011", "is not an Alertmanager configuration", todo="it needs route: and receivers:")
    return [str(one.get("name", "")) for one in receivers]


def _expected(cases: Sequence[Case]) -> list[Any]:
    return [one for case in cases for one in case.alerts]


def _identity(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _heard(told: Sequence[Told]) -> dict[tuple[tuple[str, str], ...], set[str]]:
    heard: dict[tuple[tuple[str, str], ...], set[str]] = {}
    for one in told:
        for alert in one.payload.get("alerts", []):
            if alert.get("status") == "firing":
                heard.setdefault(_identity(alert["labels"]), set()).add(one.receiver)
    return heard


def _groups(told: Sequence[Told]) -> dict[str, frozenset[str]]:
    """Return by case the keys of the groups that were told."""
    found: dict[str, set[str]] = {}
    for one in told:
        for alert in one.payload.get("alerts", []):
            found.setdefault(alert["labels"].get(CASE, ""), set()).add(f"{one.receiver} {one.payload.get('groupKey')}")
    return {case: frozenset(keys) for case, keys in found.items()}


def _command(program: str, config: Path, directory: Path, listen: str) -> list[str]:
    # Clustering is off: left alone it would listen on every interface.
    flags = [
        f"--config.file={config}",
        f"--storage.path={directory / 'data'}",
        f"--web.listen-address={listen}",
        "--cluster.listen-address=",
    ]
    return [program, *flags, "--log.level=warn"]


class _Sink(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, keep: Callable[[str, Mapping[str, Any]], None]) -> None:
        try:
            super().__init__(("127.0.0.1", 0), _Handler)
        except OSError as error:
            raise PlatformError("OBS-PLAT-002", f"no port can be listened on: {error}", todo="free one") from error
        self.keep = keep


class _Handler(BaseHTTPRequestHandler):
    server: _Sink
    timeout = 10

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.keep(self.path, json.loads(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass
