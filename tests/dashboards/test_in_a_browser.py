"""What a browser shows: nothing is loaded from elsewhere, nothing breaks, nothing spills over a narrow screen, dark is dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from loop_scenario import END, T0, scenario

from mlops_obs.adapters.prometheus import PrometheusCounters
from mlops_obs.dashboards.catalogue import DASHBOARDS
from mlops_obs.dashboards.preview import render_preview
from mlops_obs.dashboards.report import render_report
from mlops_obs.dashboards.rollout_report import render_rollout_report

pytestmark = pytest.mark.stack
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]
SPILL = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
BACKGROUND = "getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).slice(0, 3).map(Number)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is missing: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install mlops-obs[dev]")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield chromium
        chromium.close()


def look(browser: Any, html: str, width: int, scheme: str) -> tuple[list[str], int, list[int]]:
    """Show `html`; return what went wrong (errors, requests), the pixels that spill over, and the background's colour."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: wrong.append(request.url))
    page.set_content(html)
    seen = wrong, page.evaluate(SPILL), page.evaluate(BACKGROUND)
    context.close()
    return seen


@pytest.mark.parametrize("width", [1200, 520])
def test_the_report_stands_alone_and_fits_the_screen(browser: Any, width: int) -> None:
    wrong, spill, light = look(browser, render_report(scenario()), width, "light")
    _, _, dark = look(browser, render_report(scenario()), width, "dark")

    assert (wrong, spill) == ([], 0)
    assert min(light) > 200
    assert max(dark) < 60


@pytest.mark.parametrize("width", [1200, 520])
def test_the_report_of_one_rollout_stands_alone_and_fits_the_screen(browser: Any, width: int) -> None:
    ended = {
        "rollout": "credit-risk-v3-2",
        "service": "credit-risk",
        "stable": "v2",
        "canary": "v3",
        "phase": "RolledBack",
        "reason": "why " * 40,
        "created_at": T0,
        "began_at": T0,
        "ended_at": T0 + END,
        "evidence": {},
        "holds": {"git": "rollout.yaml named v3"},
    }
    counted = {"total": 9, "errors": 1, "timed": 9, "slow": 1}
    slices = [{"start": T0 + at, "end": T0 + at + 2, "missing": "", "canary": counted, "stable": counted} for at in range(0, int(END), 2)]
    html = render_rollout_report(ended, scenario().records, slices)
    wrong, spill, light = look(browser, html, width, "light")
    _, _, dark = look(browser, html, width, "dark")

    assert (wrong, spill) == ([], 0)
    assert min(light) > 200
    assert max(dark) < 60


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.uid)
def test_every_preview_stands_alone_and_fits_the_screen(browser: Any, filled_prometheus: str, board: Any) -> None:
    query_range = PrometheusCounters(filled_prometheus).query_range
    html = render_preview(board, query_range, {"service": "credit-risk"}, T0 + 105, T0 + END)

    wrong, spill, _ = look(browser, html, 1200, "light")

    assert (wrong, spill) == ([], 0)
