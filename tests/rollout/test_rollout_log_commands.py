"""Why, and is it true: `explain`, `replay`, `verify`, `report` and `history` on rollouts that a controller has carried out."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from pathlib import Path

import pytest
from simulated_world import World
from typer.testing import CliRunner

from mlops_obs.cli import rollout, wiring
from mlops_obs.errors import StateError, UsageError
from mlops_obs.rollout.log.explain import explain, requests_to_accept, slices_until

ENV = """
service: credit-risk
state: state.db
metrics: {embedded: metrics.db}
target: {kserve: {namespace: default, name: credit-risk}}
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Two rollouts of one service: a bad canary that was rolled back, and the folder to copy."""
    folder = tmp_path_factory.mktemp("ended")
    (folder / "obs.yaml").write_text(ENV)
    world = World(folder, canary=(0.08, 0.02), stable=(0.01, 0.01), rps=60, spec={"warm_up": "0s", "digest": "sha256:bad"})
    world.start()
    state = world.run(240)
    assert state.phase == "RolledBack"
    return folder


@pytest.fixture
def env(ended, tmp_path):
    shutil.copytree(ended, tmp_path / "copy")
    return tmp_path / "copy" / "obs.yaml"


def obs(*arguments, code=0, **options):
    result = CliRunner().invoke(rollout.app, [str(one) for one in arguments], **options)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def records(env: Path):
    return json.loads(obs("history", "--env", env, "-o", "json").stdout)["records"]


def test_explain_names_the_decision_that_rolled_back_with_its_numbers_and_samples(env):
    told = json.loads(obs("explain", "--env", env, "-o", "json").stdout)

    assert (told["action"], told["verdict"], told["attribution"]) == ("rollback", "condemned", "canary")
    assert told["tests"]["errors"]["log10_e_peak"] >= told["tests"]["errors"]["log10_bound"]
    assert told["weights_seen"] == {"v1": 80, "v2": 20}
    assert told["weights_set"] == {"v1": 100, "v2": 0}
    assert sum(one["canary"]["errors"] for one in told["samples"]) > 0
    assert told["changes"][0].startswith("nothing: a retreat is never taken back")
    assert told["holds"]["package"].startswith("sha256:bad is known as bad")


def test_explain_takes_any_record_and_says_which_there_are(env):
    first = next(one["seq"] for one in records(env) if one["kind"] == "decision")

    assert json.loads(obs("explain", first, "--env", env, "-o", "json").stdout)["seq"] == first
    with pytest.raises(UsageError, match=r"no decision at record 9999; choose one of 1 to \d+.*OBS-ROLL-065"):
        obs("explain", 9999, "--env", env)


def test_an_open_decision_is_foretold_by_the_judge_itself_for_two_scenarios(tmp_path):
    (tmp_path / "obs.yaml").write_text(ENV)
    world = World(tmp_path, canary=(0.03, 0.01), stable=(0.005, 0.01), rps=60, spec={"warm_up": "0s", "step_duration_min": "10m"})
    world.start()
    world.run(80)

    told = explain(world.state, world.store.records("credit-risk"))
    status = json.loads(obs("status", "--env", tmp_path / "obs.yaml", "-o", "json").stdout)
    world.run(600)

    assert told is not None
    now, as_stable = told.forecast
    assert (now["scenario"], now["outcome"]) == ("as now", "condemned")
    assert as_stable["scenario"] == "as stable"
    assert as_stable["outcome"] != "condemned"
    assert [one["outcome"] for one in status["forecast"]] == ["condemned", as_stable["outcome"]]
    assert told.changes[0].startswith("if it goes on like the last minutes: v2 is rolled back in about ")
    assert world.state.phase == "RolledBack"


def test_too_little_evidence_foretells_nothing(tmp_path):
    (tmp_path / "obs.yaml").write_text(ENV)
    world = World(tmp_path, spec={"step_duration_min": "10m"})
    world.start()
    world.run(30)

    told = explain(world.state, world.store.records("credit-risk"))

    assert told is not None
    assert told.forecast == ()


def test_the_samples_of_an_old_decision_are_those_that_were_known_then(env):
    log = records(env)
    early = next(one["seq"] for one in log if one["kind"] == "decision" and one["input"]["slices"])

    assert len(slices_until(log, early)) < len(slices_until(log))


def test_replay_says_that_every_decision_is_reproduced_and_what_a_looser_alpha_would_have_done(env):
    shown = obs("replay", "--env", env, "--alpha", "0.4", "--rule", "argo", "--rule", "kayenta").stdout

    assert re.search(r"^(\d+) of \1 decisions of credit-risk-v2-1 reproduced byte for byte$", shown, re.MULTILINE)
    assert "with alpha 0.4: at record" in shown
    assert "rollback instead of" in shown
    assert "obs rollout           rollback after" in shown
    assert "Argo failureLimit 0" in shown
    assert "Kayenta every 5 min" in shown
    assert "Flagger" not in shown


def test_replay_reads_a_log_that_was_carried_elsewhere(env, tmp_path):
    log = tmp_path / "log.json"
    log.write_text(obs("history", "--env", env, "-o", "json").stdout)

    told = json.loads(obs("replay", "-f", log, "-o", "json").stdout)
    piped = json.loads(obs("replay", "-f", "-", "-o", "json", input=log.read_text()).stdout)

    assert told == piped
    assert told["reproduced"] == told["decisions"] > 3


def test_a_changed_sample_or_a_changed_conclusion_is_found_by_replay(env, tmp_path):
    log = records(env)
    decision = next(one for one in log if one["kind"] == "decision" and one["action"] == "rollback")
    decision["evidence"]["tests"]["errors"]["canary_bad"] -= 1
    (tmp_path / "log.json").write_text(json.dumps(log))

    result = obs("replay", "-f", tmp_path / "log.json", code=1)

    assert f"record {decision['seq']}: evidence.tests.errors.canary_bad was" in result.stdout


def test_what_is_no_log_is_one_line_with_a_code(env, tmp_path):
    (tmp_path / "log.json").write_text("[1, 2]")

    with pytest.raises(UsageError, match="OBS-ROLL-070"):
        obs("replay", "-f", tmp_path / "log.json")
    with pytest.raises(UsageError, match="OBS-ROLL-070"):
        obs("replay", "-f", tmp_path / "nothing.json")
    with pytest.raises(UsageError, match="OBS-ROLL-068"):
        obs("replay", "--env", env, "--rule", "argos")
    with pytest.raises(UsageError, match="OBS-ROLL-069"):
        obs("replay", "--env", env, "--alpha", "1")


def test_verify_prints_a_head_that_proves_later_that_nothing_was_cut_off(env):
    head = json.loads(obs("verify", "--env", env, "-o", "json").stdout)["head"]["hash"]

    assert "head" in obs("verify", "--env", env, "--head", head[:16]).stdout
    gone = obs("verify", "--env", env, "--head", "0" * 64, code=1)
    assert "the log was cut short or replaced [OBS-ROLL-061]" in gone.stderr
    with pytest.raises(UsageError, match="OBS-ROLL-060"):
        obs("verify", "--env", env, "--head", "ab")


def test_verify_names_the_first_record_that_was_changed(env):
    db = sqlite3.connect(env.parent / "state.db")
    db.executescript("DROP TRIGGER records_stay; UPDATE records SET body = replace(body, 'v2', 'v3') WHERE seq = 4")
    db.close()

    result = obs("verify", "--env", env, "-o", "json", code=1)

    assert json.loads(result.stdout)["first_broken"] == 4
    assert "record 4 does not follow" in result.stderr
    assert obs("history", "--env", env, code=1).stdout  # still shown: it is what there is


def test_a_store_that_cannot_be_read_exits_with_5_and_not_with_2(env):
    for path in env.parent.glob("state.db*"):  # a write-ahead log would heal the file
        path.write_bytes(b"this is no database" * 100)

    with pytest.raises(StateError) as error:
        obs("status", "--env", env)
    assert error.value.exit_code == 5


def test_retry_asks_why_a_known_bad_package_should_go_again_and_then_starts_it_anew(env):
    with pytest.raises(UsageError, match="was rolled back before, in credit-risk-v2-1.*OBS-ROLL-022"):
        obs("retry", "--env", env)
    obs("retry", "--env", env, "--reason", "the upstream was broken, not the model")

    status = json.loads(obs("status", "--env", env, "-o", "json").stdout)
    assert (status["rollout"], status["phase"], status["digest"]) == ("credit-risk-v2-2", "Pending", "sha256:bad")
    with pytest.raises(UsageError, match="only one that was rolled back or aborted is tried again.*OBS-ROLL-024"):
        obs("retry", "--env", env)
    assert "the upstream was broken" in obs("history", "--env", env).stdout


def test_status_and_history_find_an_older_rollout_by_its_id(env):
    obs("retry", "--env", env, "--reason", "once more")

    assert json.loads(obs("status", "--env", env, "--rollout", "credit-risk-v2-1", "-o", "json", code=3).stdout)["phase"] == "RolledBack"
    assert {one["rollout"] for one in json.loads(obs("history", "--env", env, "--all", "-o", "json").stdout)["records"]} == {
        "credit-risk-v2-1",
        "credit-risk-v2-2",
    }
    with pytest.raises(UsageError, match="known: credit-risk-v2-1, credit-risk-v2-2"):
        obs("status", "--env", env, "--rollout", "credit-risk-v9-1")


def test_yaml_says_the_same_as_json(env):
    import yaml

    as_json = json.loads(obs("explain", "--env", env, "-o", "json").stdout)

    assert yaml.safe_load(obs("explain", "--env", env, "-o", "yaml").stdout) == as_json


def test_the_report_is_one_file_that_needs_nothing_else_and_says_how_it_ended(env, tmp_path):
    out = tmp_path / "report.html"
    obs("report", "--env", env, "--out", out)
    page = out.read_text()
    obs("report", "--env", env, "--out", tmp_path / "again.html")

    assert '<em class="bad">v2 was rolled back</em>' in page
    assert "prefers-color-scheme:dark" in page
    assert re.findall(r"(?:src|href)=|<script|@import|url\(", page) == []
    assert page.count("<svg") == 4  # traffic, evidence, failed, slow
    assert "limit 200" in page
    assert "Worse by" in page
    assert wiring.rollout_store(wiring.load_environment(env)).records("credit-risk")[-1]["hash"] in page


def test_a_rollout_without_a_decision_says_so_and_still_has_a_report(tmp_path):
    (tmp_path / "obs.yaml").write_text(ENV)
    World(tmp_path).start()

    with pytest.raises(UsageError, match="has decided nothing yet.*OBS-ROLL-064"):
        obs("explain", "--env", tmp_path / "obs.yaml")
    obs("report", "--env", tmp_path / "obs.yaml", "--out", tmp_path / "r.html")
    assert "No evidence was recorded" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("bad", "total", "upper", "more"),
    [(0, 100, 0.10, 300), (0, 100, 0.06, 44), (10, 100, 0.2, None), (0, 0, 1.0, None)],
    ids=["half as sure needs four times as many", "nearly there", "a real difference is never accepted", "nothing yet"],
)
def test_requests_to_accept_are_estimated_from_what_is_still_uncertain(bad, total, upper, more):
    test = {"canary_bad": bad, "canary_total": total, "stable_bad": 0, "stable_total": 100, "difference_upper": upper, "margin": 0.05}

    assert requests_to_accept({**test, "step_requests": total}) == more


def test_explaining_needs_a_decision():
    from screen_cases import CASES

    case = CASES["pending"]

    assert explain(case.state, []) is None
