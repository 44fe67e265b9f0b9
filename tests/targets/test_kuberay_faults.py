"""KubeRay when something goes wrong, on a real API server. Scenario 28: a rollback that puts back half of the spec."""

from __future__ import annotations

import time

import pytest
import yaml
from rigs import SERVE_CONFIG, KubeRayRig

from mlops_obs.adapters.kuberay import HOLD, RAY_SERVICES
from mlops_obs.errors import Conflict, TargetError

pytestmark = pytest.mark.stack


@pytest.fixture
def rig(cluster):
    rig = KubeRayRig(cluster)
    yield rig
    rig.close()


def options(rig):
    return rig.read()["spec"]["upgradeStrategy"]["clusterUpgradeOptions"]


def step(rig, share):
    wanted = {"v1": 100 - share, "v2": share}
    before = rig.target.weights()
    assert rig.until(lambda: not rig.refused(lambda: rig.target.set_weights(wanted, before)))
    rig.eventually({revision: percent for revision, percent in wanted.items() if percent})


def test_a_new_model_is_never_put_onto_the_cluster_that_serves(rig):
    active = rig.reconciler.active

    rig.target.deploy("v2", "s3://models/v2")

    assert active.config == SERVE_CONFIG
    assert "s3://models/v2" in rig.reconciler.pending.config
    assert [app["name"] for app in yaml.safe_load(rig.reconciler.pending.config)["applications"]] == ["credit-risk-v2", "ingress"]


def test_a_share_is_held_for_as_long_as_it_takes(rig):
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 20)
    held = options(rig)["intervalSeconds"]
    rig.jumped += 86_400
    time.sleep(0.3)

    assert (held, rig.split()) == (HOLD, {"v1": 80, "v2": 20})


def test_scenario_28_a_rollback_puts_the_application_back_with_the_cluster_in_one_write(rig):
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 50)
    generation = rig.read()["metadata"]["generation"]
    rig.target.set_weights({"v1": 100}, {"v1": 50, "v2": 50})
    after = rig.read()
    rig.eventually({"v1": 100})
    rig.until(lambda: rig.reconciler.pending is None)

    assert rig.reconciler.active.config == SERVE_CONFIG  # and not the bad model, pushed onto the good cluster
    assert (after["metadata"]["generation"], after["spec"]["serveConfigV2"]) == (generation + 1, SERVE_CONFIG)
    assert after["spec"]["upgradeStrategy"]["clusterUpgradeOptions"]["intervalSeconds"] == 1


@pytest.mark.parametrize("share", [0, 100], ids=["after a rollback", "after a promotion"])
def test_people_get_back_the_pace_that_they_had_set(rig, share):
    before = options(rig)
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 20)
    step(rig, share)
    rig.until(lambda: rig.reconciler.pending is None and (not rig.refused(rig.target.weights)) and options(rig) == before)

    assert options(rig) == before


def test_a_gate_that_a_controller_left_open_is_shut_by_the_first_look_of_the_next_one(rig):
    rig.target.deploy("v2", "s3://models/v2")
    dead = rig.adapter(rig.name)
    dead._shut = lambda: True  # killed behind its write
    assert rig.until(lambda: not rig.refused(lambda: dead.set_weights({"v1": 80, "v2": 20}, {"v1": 100})))
    rig.until(lambda: rig.reconciler.pending.traffic == 20)
    left_open = options(rig)["intervalSeconds"]

    shut = rig.until(lambda: not rig.refused(rig.target.weights) and options(rig)["intervalSeconds"] == HOLD)

    assert left_open < HOLD
    assert shut


def test_a_stride_is_refused_while_the_last_one_is_fresh(rig):
    target = rig.adapter(rig.name, gap=10_000)
    target.deploy("v2", "s3://models/v2")

    with pytest.raises(TargetError, match=r"the next stride needs 10000 s.*OBS-KUBERAY-007"):
        target.set_weights({"v1": 80, "v2": 20}, {"v1": 100})

    assert options(rig)["intervalSeconds"] == HOLD


def test_a_share_that_was_asked_for_and_is_not_shown_yet_is_taken_back(rig):
    rig.target.deploy("v2", "s3://models/v2")
    rig.reconciler.faults.stuck = True
    rig.adapter(rig.name).set_weights({"v1": 80, "v2": 20}, {"v1": 100})

    rig.target.set_weights({"v1": 100}, {"v1": 100})
    rig.reconciler.faults.stuck = False
    rig.until(lambda: rig.reconciler.pending is None)

    assert rig.split() == {"v1": 100}
    assert rig.read()["spec"]["serveConfigV2"] == SERVE_CONFIG


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("/spec/upgradeStrategy/type", "NewCluster", "moves all traffic at once"),
        ("/spec/upgradeStrategy/clusterUpgradeOptions/maxSurgePercent", 20, "maxSurgePercent is 20"),
        ("/spec/rayClusterConfig/enableInTreeAutoscaling", False, "enableInTreeAutoscaling is off"),
        ("/spec/suspend", True, "suspended"),
        ("/spec/serveConfigV2", "applications: []", "names no `package`"),
        ("/metadata/annotations/mlops-obs.dev~1revision", "", "how the running revision is called"),
    ],
)
def test_what_kuberay_could_not_split_is_refused_before_anything_is_changed(rig, path, value, why):
    rig.playing.stop()
    rig.cluster.patch(RAY_SERVICES, rig.namespace, rig.name, [{"op": "add", "path": path, "value": value}])
    before = rig.snapshot()

    with pytest.raises(TargetError, match=f"{why}.*OBS-KUBERAY-004"):
        rig.target.deploy("v2", "s3://models/v2")

    assert before == rig.snapshot()


def test_a_second_upgrade_is_refused_while_one_is_under_way(rig):
    rig.target.deploy("v2", "s3://models/v2")

    with pytest.raises(Conflict, match="OBS-KUBERAY-002"):
        rig.target.deploy("v3", "s3://models/v3")


def test_scenario_20_after_promotion_the_old_cluster_is_no_way_back(rig):
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 100)

    assert not rig.target.way_back("v1").ready
    rig.until(lambda: rig.reconciler.pending is None)
    assert "deployed anew" in rig.target.way_back("v1").reason


def test_an_upgrade_on_its_way_back_is_known_from_the_spec_before_the_status_says_so(rig):
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 20)
    rig.reconciler.faults.stuck = True
    rig.target.set_weights({"v1": 100}, {"v1": 80, "v2": 20})

    with pytest.raises(TargetError, match=r"still rolling back v2.*OBS-KUBERAY-004"):
        rig.target.deploy("v3", "s3://models/v3")


def test_scenario_17_an_application_that_someone_edits_gets_no_more_traffic_but_can_be_taken_back(rig):
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 20)
    edited = rig.read()["spec"]["serveConfigV2"].replace("s3://models/v2", "s3://models/other")
    rig.cluster.patch(RAY_SERVICES, rig.namespace, rig.name, [{"op": "replace", "path": "/spec/serveConfigV2", "value": edited}])

    with pytest.raises(TargetError, match=r"serveConfigV2 was edited.*OBS-KUBERAY-006"):
        rig.target.set_weights({"v1": 50, "v2": 50}, rig.target.weights())

    rig.target.set_weights({"v1": 100}, rig.target.weights())
    rig.eventually({"v1": 100})
