"""KServe in Knative mode when something goes wrong, on a real API server. Numbers in names are those of the thirty failure scenarios."""

from __future__ import annotations

import json

import pytest
from rigs import KServeRig, serve_knative_revisions

from mlops_obs.adapters.kserve import KServeTarget
from mlops_obs.adapters.kserve_knative import INFERENCE_SERVICES, KServeKnativeTarget
from mlops_obs.adapters.kubernetes.api import ApiConflict, KubernetesApi
from mlops_obs.errors import Conflict, TargetError

pytestmark = pytest.mark.stack


@pytest.fixture
def rig(cluster):
    serve_knative_revisions(KubernetesApi(cluster))
    rig = KServeRig(cluster, "Knative")
    yield rig
    rig.close()


def step(rig, share, before=None):
    wanted = {"v1": 100 - share, "v2": share}
    rig.target.set_weights(wanted, before or rig.target.weights())
    rig.eventually({revision: percent for revision, percent in wanted.items() if percent})


def test_a_stale_write_is_a_conflict_that_changes_nothing(rig):
    stale = rig.read()
    rig.target.deploy("v2", "s3://models/v2")
    service = rig.target._target()._service

    with pytest.raises(ApiConflict, match="OBS-KUBE-003"):
        service.patch(stale, [{"op": "add", "path": "/spec/predictor/canaryTrafficPercent", "value": 90}])

    assert rig.read()["spec"]["predictor"]["canaryTrafficPercent"] == 0


def test_a_service_that_is_not_there_is_named(cluster):
    with pytest.raises(TargetError, match=r"absent.*HTTP 404"):
        KServeTarget("default", "absent", kubeconfig=cluster).weights()


def test_an_api_server_that_is_away_is_a_target_error(tmp_path, cluster):
    import yaml

    config = yaml.safe_load(cluster.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    away = tmp_path / "kubeconfig"
    away.write_text(json.dumps(config))

    with pytest.raises(TargetError, match="OBS-KUBE-005"):
        KServeTarget("default", "credit-risk", kubeconfig=away).weights()


def test_scenario_20_after_promotion_the_way_back_is_said_to_be_gone_and_a_rollback_is_refused(rig):
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 100)

    back = rig.target.way_back("v1")

    assert (back.ready, back.seconds) == (False, None)
    assert "deployed anew" in back.reason
    with pytest.raises(TargetError, match="OBS-KSERVE-006"):
        rig.target.set_weights({"v1": 100}, {"v2": 100})


def test_scenario_20_a_revision_that_knative_has_deleted_is_no_way_back(rig):
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 20)
    assert rig.target.way_back("v1").ready
    rig.kill("v1")

    back = rig.target.way_back("v1")

    assert not back.ready
    assert f"Knative has deleted {rig.name}-predictor-00001" in back.reason


def test_scenario_20_a_package_that_cannot_be_loaded_is_told_in_the_words_of_kserve(rig):
    rig.pods.dead.add(f"{rig.name}-predictor-00002")
    target = KServeTarget(rig.namespace, rig.name, api=rig.api, ready_timeout=0.3, poll=0.03)

    with pytest.raises(TargetError, match=r"v2 did not start.*OBS-KSERVE-002"):
        target.deploy("v2", "s3://models/gone")

    assert rig.split() == {"v1": 100}


def test_scenario_21_a_canary_that_was_taken_back_can_be_tried_again_and_taken_back_again(rig):
    for _ in range(2):
        rig.target.deploy("v2", "s3://models/v2")
        step(rig, 20)
        step(rig, 0)
        rig.target.set_weights({"v1": 100}, {"v1": 100})  # a rollback during a rollback

    assert rig.split() == {"v1": 100}


def test_a_template_that_someone_else_edited_gets_no_traffic_from_us_and_the_way_back_stays_open(rig):
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 20)
    rig.edit("/spec/predictor/model/storageUri", "s3://models/other")
    found = {"v1": 80, f"{rig.name}-predictor-00003": 20}
    rig.eventually(found)

    with pytest.raises(Conflict, match="OBS-KSERVE-005"):
        rig.target.set_weights({"v1": 50, "v2": 50}, found)
    rig.target.set_weights({"v1": 100}, found)

    rig.eventually({"v1": 100})


def test_a_share_that_was_asked_for_and_is_not_shown_yet_is_taken_back(rig):
    rig.target.deploy("v2", "s3://models/v2")
    rig.close()  # KServe is slow from here on
    rig.target.set_weights({"v1": 80, "v2": 20}, {"v1": 100})
    shown = rig.split()

    rig.target.set_weights({"v1": 100, "v2": 0}, {"v1": 100})
    rig.reconciler.reconcile()

    assert (shown, rig.split()) == ({"v1": 100}, {"v1": 100})


def test_the_old_package_can_be_shipped_again_after_its_successor_was_promoted(rig):
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 100)

    rig.target.deploy("v1", "s3://models/v1")
    dark = rig.split()
    rig.target.set_weights({"v1": 20, "v2": 80}, {"v2": 100})

    assert dark == {"v2": 100}
    rig.eventually({"v1": 20, "v2": 80})


def test_a_canary_can_be_shipped_again_after_another_was_tried_in_between(rig):
    for revision in ("v2", "v3", "v2"):
        rig.target.deploy(revision, rig.package(revision))

    step(rig, 20)


def test_a_canary_is_not_started_where_kserve_would_split_against_a_revision_that_does_not_serve(rig):
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 100)
    rig.faults.leaks = True  # kserve#2130: after v3 goes back to 0 %, v1 counts as rolled out
    rig.target.deploy("v3", "s3://models/v3")
    rig.reconciler.reconcile()
    rig.faults.stuck = True
    leaked = [
        {"op": "add", "path": "/status/components/predictor/latestRolledoutRevision", "value": f"{rig.name}-predictor-00001"},
        {
            "op": "add",
            "path": "/status/components/predictor/traffic",
            "value": [{"revisionName": f"{rig.name}-predictor-00002", "percent": 100}],
        },
    ]
    rig.cluster.patch(INFERENCE_SERVICES, rig.namespace, rig.name, leaked, "status")
    before = rig.read()["spec"]

    with pytest.raises(TargetError, match=r"OBS-KSERVE-017"):
        rig.target.deploy("v4", "s3://models/v4")

    assert before == rig.read()["spec"]


@pytest.mark.parametrize(
    "service", [{"status": {"deploymentMode": "ModelMesh"}}, {}], ids=["told by the status", "asked for by annotation"]
)
def test_a_mode_that_splits_nothing_is_refused_before_anything_is_changed(service):
    class Api:
        def get(self, *_):
            annotations = {"serving.kserve.io/deploymentMode": "ModelMesh"}
            return {"metadata": {"annotations": annotations}, "spec": {"predictor": {}}, **service}

    target = KServeTarget("default", "credit-risk", api=Api())

    for call in (target.weights, lambda: target.deploy("v2", "s3://models/v2"), lambda: target.set_weights({"v2": 100}, {"v1": 100})):
        with pytest.raises(TargetError, match=r"ModelMesh mode, which splits no traffic; create it anew.*OBS-KSERVE-015"):
            call()


def test_the_mode_is_looked_up_once_and_old_names_of_modes_are_known(cluster):
    seen = []

    class Api(KubernetesApi):
        def get(self, resource, namespace, name, subresource=""):
            seen.append(resource.plural)
            return super().get(resource, namespace, name, subresource)

    rig = KServeRig(cluster, "RawDeployment")
    target = KServeTarget(rig.namespace, rig.name, api=Api(cluster))

    weights = [target.weights() for _ in range(2)]

    assert weights == [{"v1": 100}, {"v1": 100}]
    assert seen.count("inferenceservices") == 3  # one look for the mode, one for each reading
    assert "HTTPRoute" not in " ".join(KServeTarget("default", "x", mode="Knative").limits())
    rig.close()


def test_a_template_that_someone_edits_while_the_canary_starts_is_not_taken_for_the_canary(rig):
    rig.close()  # KServe is slow from here on
    target = KServeKnativeTarget(rig.namespace, rig.name, api=rig.api, ready_timeout=0, poll=0.03)
    assert rig.refused(lambda: target.deploy("v2", "s3://models/v2"))
    rig.edit("/spec/predictor/model/storageUri", "s3://models/other")
    rig.reconciler.reconcile()

    with pytest.raises(Conflict, match=r"v2 was edited: it has s3://models/other now.*OBS-KSERVE-005"):
        target.deploy("v2", "s3://models/v2")

    assert rig.split() == {"v1": 100}


def test_a_revision_of_someone_else_is_not_taken_for_the_canary_before_kserve_has_seen_our_patch(rig):
    rig.edit("/spec/predictor/canaryTrafficPercent", 0)
    rig.edit("/spec/predictor/model/storageUri", "s3://models/other")
    assert rig.until(lambda: rig.read()["status"]["components"]["predictor"]["latestReadyRevision"] == f"{rig.name}-predictor-00002")
    rig.close()  # KServe is slow from here on
    target = KServeKnativeTarget(rig.namespace, rig.name, api=rig.api, ready_timeout=0, poll=0.03)

    early = rig.refused(lambda: target.deploy("v2", "s3://models/v2"))
    rig.reconciler.reconcile()
    target.deploy("v2", "s3://models/v2")
    target.set_weights({"v1": 80, "v2": 20}, {"v1": 100})
    rig.reconciler.reconcile()

    assert early
    assert rig.split() == {"v1": 80, "v2": 20}
