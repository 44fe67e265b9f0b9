"""The stand-ins of platforms have the originals' faults: what protects an adapter from them is protected from something."""

from __future__ import annotations

import pytest
from rigs import SERVE_CONFIG, KServeRig, KubeRayRig, serve_knative_revisions

from mlops_obs.adapters.kuberay import RAY_SERVICES
from mlops_obs.adapters.kubernetes.api import ApiError, KubernetesApi
from mlops_obs.adapters.platform_object import HTTP_ROUTES, Settling
from mlops_obs.testing.platforms.kserve import Faults, KServeReconciler

pytestmark = pytest.mark.stack


def entry(percent=20, **predictor):
    model = {"name": "kserve-container", "modelFormat": {"name": "pytorch"}, "storageUri": "s3://models/v2"}
    return {"trafficPercent": percent, "predictor": {"name": "v2", "model": model} | predictor}


@pytest.mark.parametrize(
    ("canaries", "why"),
    [
        ([entry(minReplicas=3)], "a canary has more minReplicas than the predictor"),
        ([entry(maxReplicas=3)], "a canary has a field that is not allowed"),
        ([entry(60), entry(60, name="v3")], "the percentages sum to more than 100"),
        ([entry(10), entry(10)], "predictor names are not unique"),
    ],
)
def test_kserve_notes_what_its_webhook_would_refuse(cluster, canaries, why):
    rig = KServeRig(cluster, "Standard")
    rig.playing.stop()
    rig.edit("/spec/canary", canaries)

    rig.reconciler.reconcile()

    assert why in rig.reconciler.violations


def test_kserve_without_gateway_api_echoes_a_share_that_nothing_routes(cluster):
    rig = KServeRig(cluster, "Standard")
    rig.playing.stop()
    other = f"{rig.name}-plain"
    rig.create(other)
    kserve = KServeReconciler(rig.cluster, rig.namespace, other, faults=Faults(plain_ingress=True))
    rig.name = other
    rig.edit("/spec/canary", [entry()])
    kserve.reconcile()

    assert rig.read()["status"]["canaryStatuses"] == [{"name": "v2", "ready": True, "trafficPercent": 20}]
    with pytest.raises(ApiError, match="404"):
        rig.cluster.get(HTTP_ROUTES, rig.namespace, f"{other}-predictor")


def test_knative_gives_the_canarys_share_to_a_third_revision_and_ignores_the_percentage_at_first(cluster):
    serve_knative_revisions(KubernetesApi(cluster))
    rig = KServeRig(cluster, "Knative")
    rig.playing.stop()
    first = rig.read()["status"]["components"]["predictor"]["traffic"]
    for uri in ("s3://models/v2", "s3://models/v3"):
        rig.edit("/spec/predictor/canaryTrafficPercent", 20)
        rig.edit("/spec/predictor/model/storageUri", uri)
        rig.reconciler.reconcile()

    parts = rig.read()["status"]["components"]["predictor"]["traffic"]

    assert [part["percent"] for part in first] == [100]
    assert {part["revisionName"][-5:]: part["percent"] for part in parts} == {"00003": 20, "00001": 80}


def test_kuberay_pushes_the_bad_application_onto_the_good_cluster_when_half_of_the_spec_is_put_back(cluster):
    rig = KubeRayRig(cluster)
    rig.target.deploy("v2", "s3://models/v2")
    active, bad = rig.reconciler.active, rig.reconciler.pending.config

    template = [{"op": "remove", "path": "/spec/rayClusterConfig/headGroupSpec/template/metadata"}]
    rig.cluster.patch(RAY_SERVICES, rig.namespace, rig.name, template)
    rig.until(lambda: active.config != SERVE_CONFIG)

    assert active.config == bad
    rig.close()


def test_kuberay_applies_a_changed_application_in_place_without_any_canary(cluster):
    rig = KubeRayRig(cluster)
    other = SERVE_CONFIG.replace("models/v1", "models/v2")
    rig.cluster.patch(RAY_SERVICES, rig.namespace, rig.name, [{"op": "replace", "path": "/spec/serveConfigV2", "value": other}])
    rig.until(lambda: rig.reconciler.active.config == other)

    assert (rig.reconciler.active.config, rig.reconciler.pending) == (other, None)
    rig.close()


def test_the_time_that_a_change_takes_is_measured_from_its_acceptance_to_its_first_sight():
    times = iter([10.0, 14.5, 20.0])
    settling = Settling(lambda: next(times))

    settling.asked({"v1": 80, "v2": 20})
    settling.shown({"v1": 100})
    before = settling.seconds
    settling.shown({"v1": 80, "v2": 20})
    settling.shown({"v1": 80, "v2": 20})

    assert (before, settling.seconds) == (None, 4.5)
