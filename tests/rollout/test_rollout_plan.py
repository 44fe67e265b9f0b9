"""Before it begins, and before it must go back: `start --dry-run` and `rollback --verify` touch nothing and hide nothing."""

from __future__ import annotations

import json
import subprocess

import pytest
from simulated_world import World
from typer.testing import CliRunner

from mlops_obs.cli import rollout, wiring
from mlops_obs.cli.rollout.start import origin_of
from mlops_obs.errors import TargetError, UsageError
from mlops_obs.rollout.ports import WayBack

ENV = """
service: credit-risk
state: state.db
metrics: {embedded: metrics.db}
target: {kserve: {namespace: default, name: credit-risk}}
"""
SPEC = "canary: v2\npackage: /packages/v2\n"


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A service at 30 requests/s with ten minutes of past, as the commands meet it."""
    (tmp_path / "obs.yaml").write_text(ENV)
    (tmp_path / "rollout.yaml").write_text(SPEC)
    world = World(tmp_path)
    for _ in range(600):
        world.pass_second()
    monkeypatch.setattr(wiring, "traffic_target", lambda _: world.target)
    monkeypatch.setattr(wiring, "counter_source", lambda _: world.counters)
    monkeypatch.setattr("mlops_obs.cli.rollout.plan.time.time", lambda: world.now)
    return world


def obs(world, *arguments, code=0):
    result = CliRunner().invoke(rollout.app, [*map(str, arguments), "--env", str(world.folder / "obs.yaml")])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def plan(world, *arguments, code=0):
    shown = obs(world, "start", "-f", world.folder / "rollout.yaml", "--dry-run", "-o", "json", *arguments, code=code)
    return json.loads(shown.stdout)


def test_the_plan_measures_the_traffic_and_asks_the_platform_for_the_way_back(world):
    data = plan(world)

    assert (data["stable"], data["canary"]) == ("v1", "v2")
    assert data["traffic"]["measured"]
    assert data["traffic"]["rps"] == pytest.approx(30, rel=0.1)
    assert data["traffic"]["bad"]["slow"] == pytest.approx(0.01, rel=0.5)
    assert data["way_back"]["ready"]
    assert [one["weight"] for one in data["steps"]] == [20, 50, 100]
    assert data["refused"] == []
    shown = obs(world, "start", "-f", world.folder / "rollout.yaml", "--dry-run").stdout
    assert [one["compares"] for one in data["steps"]] == [True, True, False]
    assert "stable has no traffic left to compare with" in shown
    assert "nothing was started" in shown
    assert world.target.calls.count("set_weights") == world.target.calls.count("deploy") == 0
    assert wiring.rollout_store(wiring.load_environment(world.folder / "obs.yaml")).load("credit-risk") is None


def test_steps_that_cannot_decide_anything_are_named_with_the_least_weight_that_can(world):
    (world.folder / "rollout.yaml").write_text(SPEC + "steps: [1, 50, 100]\ndeadline: 45m\n")
    data = plan(world)

    assert any("at 1 %" in note and "OBS-RLINT-001" in note for note in data["notes"])
    assert data["steps"][0]["seconds"]["slow"] is None or data["steps"][0]["seconds"]["slow"] > data["steps"][1]["seconds"]["slow"]


def test_a_step_that_the_controller_would_not_take_is_refused_in_the_plan(world):
    (world.folder / "rollout.yaml").write_text(SPEC + "steps: [1, 50, 100]\nexpected_requests: 0.2/s\n")

    assert "at 0.2/s a step at 1 % could not even find a canary that fails half of its requests" in plan(world, code=1)["refused"][0]


def test_a_declared_traffic_is_used_where_metrics_do_not_answer_and_says_so(world, monkeypatch):
    def down(_):
        raise TargetError("OBS-X-001", "no route to host")

    monkeypatch.setattr(wiring, "counter_source", down)
    (world.folder / "rollout.yaml").write_text(SPEC + "expected_requests: 200/s\n")
    data = plan(world)

    assert data["traffic"] == {"rps": 200.0, "bad": {"errors": 0.005, "slow": 0.005}, "measured": False}
    assert "cannot be measured: no route to host" in data["notes"][0]


def test_what_start_or_the_controller_would_refuse_is_said_before(world):
    world.start()
    assert plan(world, code=1)["refused"] == ["rollout credit-risk-v2-1 of credit-risk is still running"]

    world.target.force({"v1": 60, "v3": 40})
    assert "the traffic is split already: v1 60 %  v3 40 %" in plan(world, code=1)["refused"]

    world.target.force({"v2": 100})
    assert "v2 has all the traffic already" in plan(world, code=1)["refused"]


def test_a_target_that_cannot_be_asked_is_said_and_the_rest_is_still_told(world, monkeypatch):
    def away():
        raise TargetError("OBS-X-001", "connection refused")

    monkeypatch.setattr(world.target, "weights", away)
    data = plan(world)

    assert data["way_back"]["reason"] == "the target cannot be asked: connection refused [OBS-X-001]"
    assert data["traffic"]["measured"]


def test_no_way_back_is_a_reason_not_to_start(world, monkeypatch):
    monkeypatch.setattr(world.target, "way_back", lambda _: WayBack(False, "v1 has no replica"))

    assert plan(world, code=1)["refused"] == ["there is no way back to v1: v1 has no replica"]


def test_the_plan_shows_the_weights_that_will_be_set_and_a_package_that_is_not_there(world):
    (world.folder / "rollout.yaml").write_text("canary: v2\npackage: models/v3\nwatch: 30m\nwatch_weight: 5\n")
    data = plan(world)

    assert [(one["weight"], one["compares"]) for one in data["steps"]] == [(20, True), (50, True), (95, True)]
    assert "package models/v3 does not exist here; it is given to the target as written" in data["notes"]
    assert not any("does not exist" in note for note in plan(world, "--package", "s3://models/v3")["notes"])


def test_with_pace_auto_no_steps_are_promised(world):
    (world.folder / "rollout.yaml").write_text(SPEC + "pace: auto\n")

    assert plan(world)["steps"] == []
    assert "steps chosen one by one" in obs(world, "start", "-f", world.folder / "rollout.yaml", "--dry-run").stdout


def test_rollback_verify_tells_whether_all_traffic_could_return_and_changes_nothing(world, monkeypatch):
    world.start()
    monkeypatch.setattr(wiring, "traffic_target", lambda _: world.target)
    controller = world.controller()
    world.run(30, controller, until=lambda one: one.step == 0 and one.step_started_at is not None)
    world.store.lease("test-1", 4e9, 60.0)  # the command reads the real clock
    before, calls = dict(world.target.weights()), world.target.calls.count("set_weights")

    ready = json.loads(obs(world, "rollback", "--verify", "-o", "json").stdout)
    monkeypatch.setattr(world.target, "way_back", lambda _: WayBack(False, "0 of 2 replicas of v1 are ready"))
    lost = obs(world, "rollback", "--verify", code=1)

    assert (ready["ready"], ready["revision"], ready["weights"]) == (True, "v1", {"v1": 80, "v2": 20})
    assert ready["reason"] == "all traffic could return to v1"
    assert "✖ way back to v1: 0 of 2 replicas of v1 are ready" in lost.stdout
    assert (dict(world.target.weights()), world.target.calls.count("set_weights")) == (before, calls)
    assert world.store.load("credit-risk").requests == ()


def test_rollback_verify_is_not_content_without_a_controller(world):
    world.start()

    shown = obs(world, "rollback", "--verify", code=1)

    assert "✖ controller: none is running, so nobody would carry it out" in shown.stdout


def test_the_start_remembers_which_commit_named_the_canary(world):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", str(world.folder), *identity, *arguments], check=True, capture_output=True)

    file = world.folder / "rollout.yaml"
    assert origin_of(file)["origin"] == {"file": str(file), "commit": "", "dirty": False}
    git("init", "-q")
    git("add", "rollout.yaml")
    git("commit", "-qm", "ship v2")
    clean = origin_of(file)["origin"]
    file.write_text(SPEC + "alpha: 0.02\n")

    assert len(clean["commit"]) == 40
    assert not clean["dirty"]
    assert origin_of(file)["origin"] == {**clean, "dirty": True}
    assert origin_of(None) == {}

    obs(world, "start", "-f", file)
    (started,) = json.loads(obs(world, "history", "-o", "json").stdout)["records"]
    assert started["evidence"]["origin"]["commit"] == clean["commit"]


def test_an_object_for_kubernetes_names_its_target_and_is_only_printed_by_a_dry_run(world, tmp_path):
    file = tmp_path / "object.yaml"
    file.write_text(
        "apiVersion: mlops-obs.dev/v1alpha1\nkind: Rollout\nmetadata: {name: scores}\nspec: {service: s, canary: v2, package: p}\n"
    )

    with pytest.raises(UsageError, match="needs a target.*OBS-ROLL-067"):
        CliRunner().invoke(rollout.app, ["start", "-f", str(file), "-n", "models"], catch_exceptions=False)
    file.write_text(file.read_text().replace("package: p", "package: p, target: {kserve: {namespace: m, name: s}}"))
    shown = CliRunner().invoke(rollout.app, ["start", "-f", str(file), "-n", "models", "--dry-run", "-o", "json", "--revision", "v3"])

    document = json.loads(shown.stdout)
    assert (document["kind"], document["metadata"], document["spec"]["canary"]) == (
        "Rollout",
        {"name": "scores", "namespace": "models"},
        "v3",
    )


def test_lint_knows_the_measured_traffic_and_fails_on_what_could_never_work(world, tmp_path):
    file = world.folder / "rollout.yaml"
    file.write_text("step_duration_min: 20m\ndeadline: 30m\n")
    wrong = json.loads(obs(world, "lint", file, "-o", "json", code=1).stdout)["findings"]
    file.write_text("step_duration_min: 60s\nleast_detectable_ratio: 10\ndigest: sha256:abc\nwatch: 30m\nwatch_weight: 5\n")
    right = obs(world, "lint", file)

    assert ("OBS-RLINT-003", "error") in {(one["code"], one["level"]) for one in wrong}
    assert "OBS-RLINT-002" not in {one["code"] for one in wrong}  # the traffic is known: it was measured
    assert "error" not in right.stdout
    assert "rollout.yaml" in obs(world, "lint", file).stdout


def test_lint_finds_a_gate_that_has_no_data_of_the_revision_that_serves_now(world):
    file = world.folder / "rollout.yaml"
    file.write_text(SPEC + "gates: [{type: drift, name: inputs, max_psi: 0.2}]\n")

    found = json.loads(obs(world, "lint", file, "-o", "json").stdout)["findings"]

    (silent,) = [one for one in found if one["code"] == "OBS-RLINT-021"]
    assert "inputs has no data" in silent["what"]


def test_lint_says_that_a_document_of_another_service_would_not_start_here(world):
    file = world.folder / "rollout.yaml"
    file.write_text(SPEC + "service: fraud\n")

    assert "obs.yaml is credit-risk's, so start would refuse this document of fraud" in obs(world, "lint", file).stdout
