"""The demo in order: build, serve, ship a good model, ship a broken one, read the page.

Nothing here decides. The controller promotes and rolls back, Alertmanager pages; the story asks, waits and writes down.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from mlops_obs.cli.demo.inputs import in_words
from mlops_obs.cli.demo.loop import STABLE, Loop
from mlops_obs.cli.demo.outcome import Claim, Inputs, judge
from mlops_obs.cli.demo.screen import Screen
from mlops_obs.errors import PlatformError

GOOD, BAD = "v2", "v3"
_OVER = ("Promoted", "RolledBack", "Aborted")
_BASELINE_REQUESTS = 150
_ROLLOUT_SECONDS = 180.0
_PAGE_SECONDS = 45.0
_SECOND_PAGE_SECONDS = 12.0


def tell(loop: Loop, screen: Screen) -> list[Claim]:
    """Run the whole story on `loop`; return what came true."""
    build(loop, screen)
    with screen.step("callers") as progress:
        loop.start_collectors()
        loop.start_controller()
        loop.start_traffic()
        loop.wait(lambda: len(loop.requests()) >= _BASELINE_REQUESTS, 60, f"{_BASELINE_REQUESTS} requests answered")
        progress.note = f"{loop.settings.requests_per_second:g} requests/s on {STABLE}"
    good = ship(loop, screen, GOOD, "a better model")
    bad = ship(loop, screen, BAD, "a fault that only real traffic shows")
    rolled_back_at = time.time()
    with screen.step("inputs") as progress:
        found = loop.named_inputs(BAD)
        progress.note, progress.detail = f"what {BAD} was fed", in_words(found, BAD)
    with screen.step("on-call") as progress:
        wait_for_page(loop)
        pages = loop.pages()
        progress.note = {0: f"no page within {_PAGE_SECONDS:.0f} s", 1: "one page"}.get(len(pages), f"{len(pages)} pages")
        progress.detail = "; ".join(_summary(page) for page in pages)
    pages = [{"incident": page["incident"], "summary": _summary(page)} for page in loop.pages()]
    inputs = Inputs(found, in_words(found, BAD), rolled_back_at)
    return judge(good=good, bad=bad, pages=pages, requests=loop.requests(), inputs=inputs)


def build(loop: Loop, screen: Screen) -> None:
    """Start monitoring, then the stack, which says its own steps: data, features, training, serving."""
    with screen.step("monitoring") as progress:
        progress.note = loop.start_monitoring()
    started: dict[str, float] = {}
    with screen.status("the stack: features, training, serving") as status:

        def on_line(line: dict[str, Any]) -> None:
            name = str(line["step"])
            if line["status"] == "start":
                started[name] = time.time()
                status.update(f"{name} {line.get('note', '')}")
            elif line["status"] in ("done", "ready"):
                screen.add(name, started.pop(name, time.time()), time.time(), str(line.get("note", "")))

        loop.start_stack(on_line)


def ship(loop: Loop, screen: Screen, revision: str, what: str) -> dict[str, Any]:
    """Ask for a rollout and watch it to its end; return its last status.

    Raises:
        PlatformError: OBS-DEMO-005 if it does not end in three minutes.
    """
    with screen.step(f"ship {revision}") as progress:
        loop.ship(revision)
        status = watch(loop, revision, progress.update)
        progress.note, progress.detail = f"{status['phase']}: {what}", status["reason"]
    return status


def watch(loop: Loop, revision: str, show: Callable[[str], None]) -> dict[str, Any]:
    """Follow the newest rollout, of `revision`, until it is over."""
    deadline = time.monotonic() + _ROLLOUT_SECONDS
    while True:
        loop.children.check()
        status = loop.status()
        if status.get("canary") == revision:
            weights = ", ".join(f"{name} {percent} %" for name, percent in sorted(status.get("weights", {}).items()))
            show(f"{status['phase']} [{weights}] {status['reason']}")
            if status["phase"] in _OVER:
                return status
        if time.monotonic() > deadline:
            what = f"the rollout of {revision} did not end within {_ROLLOUT_SECONDS:.0f} s: {status.get('phase')}: {status.get('reason')}"
            raise PlatformError("OBS-DEMO-005", what, where=str(loop.env_file), todo="read the controller's log")
        time.sleep(1.0)


def wait_for_page(loop: Loop) -> None:
    """Wait for the first page, then long enough that a second one would show."""
    deadline = time.monotonic() + _PAGE_SECONDS
    while not loop.pages() and time.monotonic() < deadline:
        loop.children.check()
        time.sleep(0.5)
    time.sleep(_SECOND_PAGE_SECONDS)


def _summary(page: dict[str, Any]) -> str:
    return str(page["payload"]["alerts"][0]["annotations"]["summary"])
