"""`obs rollout ... -n NAMESPACE`: the same commands on the Rollout objects of a cluster, here a real API server."""

import json

import pytest
from typer.testing import CliRunner

from mlops_obs.cli import rollout as command
from mlops_obs.cli import wiring
from mlops_obs.errors import StateError, UsageError
from tests.kubernetes.cluster_world import BAD, SPEC, ClusterWorld

HEAD = "apiVersion: mlops-obs.dev/v1alpha1\nkind: Rollout\nmetadata: {name: credit-risk}\nspec: "


@pytest.fixture
def obs(kubeconfig, namespace):
    def run(*arguments, code=0):
        where = ["-n", namespace, "--kubeconfig", str(kubeconfig)]
        result = CliRunner().invoke(command.app, [*map(str, arguments), *where])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return run


def document(tmp_path, namespace, **changes):
    spec = {"service": "credit-risk", "canary": "v2", "package": "/packages/v2", **SPEC, **changes}
    spec["target"] = {"kserve": {"namespace": namespace, "name": "credit-risk"}}
    path = tmp_path / "rollout.yaml"
    path.write_text(HEAD + json.dumps(spec))
    return path


def test_a_rollout_is_started_steered_and_read_by_the_same_commands(api, namespace, obs, tmp_path, monkeypatch):
    world = ClusterWorld(api, namespace)
    monkeypatch.setattr(wiring, "target_of", lambda *_, **__: world.target)

    started = obs("start", "-f", document(tmp_path, namespace))
    world.run(20, until=lambda state: state.weight == 20 and state.step_started_at is not None)
    obs("pause", "--reason", "release freeze")
    world.second()
    paused = json.loads(obs("status", "-o", "json", code=4).stdout)
    verified = json.loads(obs("rollback", "--verify", "-o", "json", code=1).stdout)  # nobody holds the operator's lease here
    obs("resume")
    obs("promote", "--full", "--reason", "seen enough")
    world.run(30)
    promoted = json.loads(obs("status", "--rollout", "credit-risk", "-o", "json").stdout)

    assert f"rollout {namespace}/credit-risk ships v2" in started.stdout
    assert "start `obs rollout operator`" in started.stderr
    assert (paused["phase"], "release freeze" in paused["reason"], paused["weights"]) == ("Paused", True, {"v1": 80, "v2": 20})
    assert (verified["ready"], verified["revision"], verified["controller"]) == (True, "v1", None)
    assert (promoted["phase"], promoted["rollout"]) == ("Promoted", paused["rollout"])


def test_a_rollback_on_a_cluster_is_explained_replayed_verified_and_tried_again(api, namespace, obs, tmp_path):
    world = ClusterWorld(api, namespace, errors=BAD)
    obs("start", "-f", document(tmp_path, namespace, digest="sha256:bad"))
    first = world.run(60)

    status = json.loads(obs("status", "-o", "json", code=3).stdout)
    why = json.loads(obs("explain", "-o", "json").stdout)
    again = json.loads(obs("replay", "-o", "json").stdout)
    obs("verify")
    obs("report", "--out", tmp_path / "r.html")
    obs("retry", "--reason", "the upstream was broken")
    world.second()
    world.second()

    assert "spec.predictor of the InferenceService still is v2's" in status["holds"]["cluster"]
    assert status["holds"]["object"] == "the spec of Rollout credit-risk still names v2; nothing is retried by itself"
    assert (why["action"], why["attribution"]) == ("rollback", "canary")
    assert again["reproduced"] == again["decisions"] > 3
    assert "v2 was rolled back" in (tmp_path / "r.html").read_text()
    second = json.loads(obs("status", "-o", "json").stdout)
    assert second["rollout"] not in ("", first.id)
    assert json.loads(obs("status", "--rollout", first.id, "-o", "json", code=3).stdout)["phase"] == "RolledBack"


def test_which_rollout_is_meant_must_be_said_where_there_are_several(api, namespace, obs):
    with pytest.raises(UsageError, match=r"has 0 Rollouts; .*OBS-ROLL-062"):
        obs("status")

    world = ClusterWorld(api, namespace)
    world.apply()
    with pytest.raises(UsageError, match="credit-risk has no rollout yet.*OBS-ROLL-014"):
        obs("status")
    world.name = "fraud"
    world.apply(service="fraud")

    with pytest.raises(UsageError, match=r"has 2 Rollouts; pass --rollout NAME; known: credit-risk, fraud.*OBS-ROLL-062"):
        obs("status")
    with pytest.raises(UsageError, match=r"there is no Rollout nobody.*OBS-ROLL-062"):
        obs("status", "--rollout", "nobody")


def test_a_cluster_that_does_not_answer_exits_with_5(tmp_path):
    config = tmp_path / "kubeconfig"
    config.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]\n"
        "users: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"
    )

    with pytest.raises(StateError) as error:
        CliRunner().invoke(command.app, ["status", "-n", "x", "--kubeconfig", str(config)], catch_exceptions=False)
    assert error.value.exit_code == 5
