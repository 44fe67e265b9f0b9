"""The engine's two threads: scraping never waits for the pager, and ignorance changes nothing."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from web import serving

from mlops_obs.adapters import alert_groups
from mlops_obs.adapters.embedded import EmbeddedCounters, EmbeddedEngine, Timing
from mlops_obs.errors import TelemetryUnavailable

FAST = Timing(group_wait=0.0, group_interval=0.0)


@dataclass
class Burn:
    name: str = "AvailabilityBudgetBurn"
    labels: dict[str, str] = field(
        default_factory=lambda: {"service": "credit-risk", "team": "risk-ml", "slo": "availability", "severity": "page"}
    )
    annotations: dict[str, str] = field(default_factory=dict)


def until(true: Callable[[], object], patience: float = 20) -> bool:
    deadline = time.monotonic() + patience
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(true())


def engine(tmp_path: Path, webhook: str, firing: Callable[[], Sequence[Burn]]) -> EmbeddedEngine:
    (tmp_path / "discovery").mkdir(exist_ok=True)
    return EmbeddedEngine(
        tmp_path / "metrics.db", tmp_path / "discovery", [], None, webhook, 0.05, timing=FAST, evaluate=lambda source, now: firing()
    )


def test_a_webhook_that_hangs_does_not_delay_scrapes(tmp_path: Path) -> None:
    asked, release = threading.Event(), threading.Event()

    def hang(path: str, body: bytes) -> tuple[int, str, bytes]:
        asked.set()
        release.wait(20)
        return 200, "text/plain", b""

    with (
        serving(lambda path, body: (200, "text/plain", b"a 1\n")) as exporter,
        serving(hang) as webhook,
        engine(tmp_path, f"{webhook}/alerts", lambda: [Burn()]),
    ):
        (tmp_path / "discovery" / "toy-1.json").write_text(json.dumps([{"targets": [exporter.removeprefix("http://")]}]))
        assert asked.wait(20)
        before = time.time()

        grew = until(lambda: EmbeddedCounters(tmp_path / "metrics.db").series("a", {}, before, time.time() + 60))

        release.set()
    assert grew


def test_a_page_is_delivered_once_although_the_webhook_first_refuses(tmp_path: Path) -> None:
    bodies: list[dict[str, object]] = []

    def flaky(path: str, body: bytes) -> tuple[int, str, bytes]:
        bodies.append(json.loads(body))
        return (503 if len(bodies) == 1 else 200), "text/plain", b""

    with serving(flaky) as webhook, engine(tmp_path, f"{webhook}/alerts", lambda: [Burn()]):
        assert until(lambda: len(bodies) == 2)
        rounds = threading.Event()
        rounds.wait(0.5)  # many rounds: nothing more may come

    assert [(one["status"], one["groupKey"]) for one in bodies] == [
        ("firing", '{}/{severity="page",team="risk-ml"}:{service="credit-risk"}')
    ] * 2


def test_a_fault_in_one_message_does_not_end_the_messenger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[dict[str, object]] = []
    real, calls = alert_groups.payload, []

    def faulty(group: alert_groups.Group) -> dict[str, object]:
        calls.append(group)
        if len(calls) == 1:
            raise RuntimeError("an unforeseen annotation")
        return real(group)

    def accept(path: str, body: bytes) -> tuple[int, str, bytes]:
        bodies.append(json.loads(body))
        return 200, "text/plain", b""

    monkeypatch.setattr(alert_groups, "payload", faulty)
    with serving(accept) as webhook, engine(tmp_path, f"{webhook}/alerts", lambda: [Burn()]):
        assert until(lambda: bodies)


def test_a_restarted_engine_does_not_page_again_and_resolves_what_it_had_told(tmp_path: Path) -> None:
    bodies: list[dict[str, object]] = []
    firing = [Burn()]

    def accept(path: str, body: bytes) -> tuple[int, str, bytes]:
        bodies.append(json.loads(body))
        return 200, "text/plain", b""

    with serving(accept) as webhook:
        with engine(tmp_path, f"{webhook}/alerts", lambda: firing):
            assert until(lambda: len(bodies) == 1)
        with engine(tmp_path, f"{webhook}/alerts", lambda: firing):
            threading.Event().wait(0.5)
            firing.clear()
            assert until(lambda: len(bodies) == 2)

    assert [one["status"] for one in bodies] == ["firing", "resolved"]


def test_ignorance_resolves_nothing(tmp_path: Path) -> None:
    bodies: list[dict[str, object]] = []
    rounds: list[int] = []

    def accept(path: str, body: bytes) -> tuple[int, str, bytes]:
        bodies.append(json.loads(body))
        return 200, "text/plain", b""

    def evaluate() -> Sequence[Burn]:
        if not bodies:
            return [Burn()]
        rounds.append(1)
        raise TelemetryUnavailable("OBS-STORE-002", "cannot be read")

    with serving(accept) as webhook, engine(tmp_path, f"{webhook}/alerts", evaluate):
        assert until(lambda: len(rounds) > 5)

    assert [one["status"] for one in bodies] == ["firing"]
