"""Whole screens, as somebody reads them at three in the morning. `OBS_WRITE_SCREENS=1` writes them anew; look at the difference."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from screen_cases import CASES, NOW, Case, make_state

from mlops_obs.cli.rollout.shared import moved
from mlops_obs.cli.rollout.standing import as_json
from mlops_obs.cli.rollout.view import history_line, tree
from mlops_obs.cli.rollout.view_explain import explained
from mlops_obs.rollout.log.explain import explain
from mlops_obs.rollout.machine.state import PHASES

FOLDER = Path(__file__).parent / "screens"


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def same_as_file(name: str, lines: list[str]) -> None:
    path, text = FOLDER / f"{name}.txt", "\n".join(line.rstrip() for line in lines) + "\n"
    if os.environ.get("OBS_WRITE_SCREENS"):
        path.write_text(text)

    assert path.read_text() == text


def drawn(case: Case) -> list[str]:
    evidence = {"evidence": dict(case.evidence)}
    return tree(case.state, evidence, case.controller, NOW, width=case.width, records=case.records(), foretold=case.foretold)


@pytest.mark.parametrize("name", CASES)
def test_a_moment_looks_as_it_did(name):
    same_as_file(name, drawn(CASES[name]))


@pytest.mark.parametrize(
    "name",
    [
        "progressing",
        "progressing-gates",
        "rolled-back-on-kserve-from-git",
        "telemetry-lost",
        "promoted",
        "budget-frozen",
        "way-back-lost",
        "rollback-stuck",
        "traffic-mismatch",
    ],
)
def test_an_explanation_reads_as_it_did(name):
    case = CASES[name]
    found = explain(case.state, case.records())

    assert found is not None
    same_as_file(f"explain-{name}", explained(found, case.state, case.width))


def test_the_history_of_a_rollback_reads_as_it_did():
    same_as_file("history-rolled-back", [history_line(one) for one in CASES["rolled-back"].records()])


def test_every_phase_has_a_screen_and_no_file_is_left_without_a_case():
    named = {f"{name}.txt" for name in CASES} | {path.name for path in FOLDER.iterdir() if path.name.startswith(("explain-", "history-"))}

    assert {path.name for path in FOLDER.iterdir()} == named
    assert {case.state.phase for case in CASES.values()} == set(PHASES)


@pytest.mark.parametrize("name", CASES)
def test_no_line_is_wider_than_its_terminal_unless_one_name_is(name):
    case = CASES[name]

    assert [line for line in drawn(case) if len(line) > case.width and max(map(len, line.split())) + 13 <= case.width] == []


@pytest.mark.parametrize("name", CASES)
def test_no_name_is_ever_cut(name):
    case = CASES[name]
    shown = "\n".join(drawn(case))

    assert case.state.id in shown
    assert case.state.spec.canary in shown
    assert case.state.stable in shown


@pytest.mark.parametrize("name", CASES)
def test_the_data_behind_a_screen_is_json_with_the_same_keys_in_every_phase(name):
    case = CASES[name]
    data = as_json(case.state, {"evidence": dict(case.evidence)}, case.controller, NOW, case.records())

    assert json.loads(json.dumps(data)) == data
    assert data.keys() == as_json(CASES["pending"].state, None, None).keys()
    assert set(data) == {
        "rollout",
        "service",
        "stable",
        "canary",
        "package",
        "digest",
        "phase",
        "reason",
        "why",
        "step",
        "steps",
        "pace",
        "manual_gates",
        "weights",
        "traffic",
        "dry_run",
        "deployed",
        "watch",
        "attribution",
        "power",
        "forecast",
        "way_back",
        "budget",
        "policy",
        "notices",
        "goal",
        "actor",
        "created_at",
        "began_at",
        "step_started_at",
        "updated_at",
        "ended_at",
        "deadline_left",
        "watch_left",
        "evidence",
        "holds",
        "controller",
        "object",
        "exit_code",
    }


def test_exit_codes_tell_well_from_rolled_back_from_waiting():
    codes = {name: as_json(case.state, None, None)["exit_code"] for name, case in CASES.items()}

    assert {codes[name] for name in ("pending", "progressing", "watching", "promoted", "rolling-back")} == {0}
    assert {codes[name] for name in ("rolled-back", "aborted")} == {3}
    assert {codes[name] for name in ("paused", "telemetry-lost", "shared-incident", "budget-frozen", "waiting-for-a-person")} == {4}


def test_time_that_does_not_count_is_added_to_the_deadline():
    running, held = CASES["progressing"], CASES["shared-incident"]

    left = as_json(running.state, None, None, NOW)["deadline_left"]

    assert left == pytest.approx(1_800 - 754)
    assert as_json(held.state, None, None, NOW)["deadline_left"] == pytest.approx(left + 90)


def test_a_rollout_that_waits_for_its_controller_shows_the_weights_that_will_be_set():
    state = make_state({"watch": "30m", "watch_weight": 5}, phase="Pending", plan=(), step=-1)

    assert as_json(state, None, None)["steps"] == [20, 50, 95]


def test_on_the_way_back_a_line_says_where_to_and_after_it_where():
    back = make_state(goal="rollback", desired={"v1": 100, "v2": 0})

    assert (moved(make_state()), moved(back)) == ("v2 50 %", "v2 to 0 %")
    assert moved(back.model_copy(update={"phase": "RolledBack"})) == "v2 0 %"
