"""KServe in Standard mode when something goes wrong, on a real API server. Numbers in names are those of the thirty failure scenarios."""

from __future__ import annotations

import pytest
from rigs import KServeRig, LossyApi

from mlops_obs.adapters.kserve_standard import KServeStandardTarget
from mlops_obs.adapters.platform_object import DEPLOYMENTS
from mlops_obs.errors import Conflict, TargetError
from mlops_obs.testing.platforms.kserve import write_route

pytestmark = pytest.mark.stack


class WithDeployments(LossyApi):
    """Shows Deployments, of which the test server knows nothing: `pods` has those that are available, by Deployment."""

    def __init__(self, kubeconfig):
        super().__init__(kubeconfig)
        self.pods = {}

    def get(self, resource, namespace, name, subresource=""):
        if resource == DEPLOYMENTS and name in self.pods:
            return {"metadata": {"name": name}, "status": {"availableReplicas": self.pods[name]}}
        return super().get(resource, namespace, name, subresource)


@pytest.fixture
def rig(cluster):
    rig = KServeRig(cluster, "Standard", least=4)
    rig.api = WithDeployments(cluster)
    rig.target = KServeStandardTarget(rig.namespace, rig.name, api=rig.api, ready_timeout=5, room_timeout=0.3, poll=0.03)
    yield rig
    rig.close()


def step(rig, share):
    wanted = {"v1": 100 - share, "v2": share}
    rig.target.set_weights(wanted, rig.target.weights())
    rig.eventually({revision: percent for revision, percent in wanted.items() if percent})


def canary(rig):
    return rig.read()["spec"]["canary"][0]


def test_scenario_22_what_the_status_says_and_the_route_does_not_have_is_not_believed_and_told(rig):
    rig.target.deploy("v2", "s3://models/v2")
    rig.faults.routes_nothing = True  # KServe 0.20.0

    assert rig.until(lambda: not rig.refused(lambda: rig.target.set_weights({"v1": 80, "v2": 20}, {"v1": 100})))
    echoed = rig.until(lambda: rig.read()["status"]["canaryStatuses"][0]["trafficPercent"] == 20)
    read = rig.split()

    assert (echoed, read) == (True, {"v1": 100})
    with pytest.raises(TargetError, match=r"the status says 20 % for v2, but the HTTPRoute gives it 0 %.*OBS-KSERVE-025"):
        rig.target.set_weights({"v1": 80, "v2": 20}, {"v1": 100})


def test_scenario_22_plain_ingress_is_refused_before_anything_is_changed(cluster):
    rig = KServeRig(cluster, "Standard")
    target = rig.unsplittable()
    before = rig.snapshot()

    with pytest.raises(TargetError, match=r"no HTTPRoute splits its traffic.*enableGatewayApi.*OBS-KSERVE-019"):
        target.deploy("v2", "s3://models/v2")

    assert before == rig.snapshot()
    rig.close()


def test_a_route_that_no_gateway_takes_is_not_believed(rig):
    rig.faults.no_gateway = True
    rig.until(lambda: rig.refused(rig.target.weights))

    with pytest.raises(TargetError, match=r"no gateway has taken it.*OBS-KSERVE-023"):
        rig.target.weights()


def test_a_second_host_whose_route_has_another_split_is_told(rig):
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 20)
    refs = [{"name": f"{rig.name}-predictor", "port": 80, "weight": 100}, {"name": f"{rig.name}-v2-predictor", "port": 80, "weight": 0}]
    write_route(rig.cluster, rig.namespace, rig.name, refs)  # the service's own host: callers of it would never meet the canary

    with pytest.raises(TargetError, match=r"the routes do not agree.*OBS-KSERVE-024"):
        rig.target.weights()


def test_a_canary_at_zero_has_a_pod_for_a_dark_launch_without_one_never_runs(rig):
    rig.target.deploy("v2", "s3://models/v2")

    assert (canary(rig)["trafficPercent"], canary(rig)["predictor"]["minReplicas"]) == (0, 1)


def test_scenario_23_traffic_waits_for_pods_and_is_left_as_it_is_while_they_do_not_come(rig):
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 20)
    rig.api.pods[f"{rig.name}-v2-predictor"] = 1

    with pytest.raises(TargetError, match=r"v2 has 1 of 2 pods that 50 % needs.*OBS-KSERVE-022"):
        rig.target.set_weights({"v1": 50, "v2": 50}, {"v1": 80, "v2": 20})
    waiting = canary(rig)
    rig.api.pods[f"{rig.name}-v2-predictor"] = 2
    step(rig, 50)

    assert (waiting["trafficPercent"], waiting["predictor"]["minReplicas"]) == (20, 2)


def test_scenario_23_the_predictors_minimum_lowered_in_the_middle_does_not_lock_us_out(rig):
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 20)
    rig.edit("/spec/predictor/minReplicas", 2)

    step(rig, 99)

    assert canary(rig)["predictor"]["minReplicas"] == 2  # KServe refuses a canary with more than the predictor has


def test_scenario_23_promotion_waits_until_the_canary_has_the_services_pods(rig):
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 100)
    rig.api.pods[f"{rig.name}-v2-predictor"] = 2

    with pytest.raises(TargetError, match=r"v2 has 2 of 4 pods.*OBS-KSERVE-022"):
        rig.target.finish("v2")

    assert "name" not in rig.read()["spec"]["predictor"]


def test_promotion_is_one_write_that_renames_the_predictor_when_it_has_all_the_traffic_already(rig):
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 100)
    before = rig.target.way_back("v1")

    rig.target.finish("v2")
    spec = rig.read()["spec"]
    rig.eventually({"v2": 100})
    after = rig.target.way_back("v1")

    assert (spec["predictor"]["name"], spec["predictor"]["model"]["storageUri"], spec["canary"]) == ("v2", "s3://models/v2", [])
    assert (before.ready, after.ready) == (True, False)
    assert "deployed anew" in after.reason


def test_scenario_20_the_way_back_is_counted_in_pods(rig):
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 50)
    told = {}
    for pods in (4, 1, 0):
        rig.api.pods[f"{rig.name}-predictor"] = pods
        back = rig.target.way_back("v1")
        told[pods] = (back.ready, back.reason)

    assert told == {
        4: (True, "v1 has 4 pods"),
        1: (True, "v1 has 1 of 4 pods; the others start cold"),
        0: (False, "v1 has no pod that is available"),
    }


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("/spec/transformer", {"containers": [{"name": "kserve-container", "image": "t"}]}, "a transformer .* bypasses the split"),
        ("/spec/predictor/workerSpec", {"containers": [{"name": "worker", "image": "w"}]}, "no worker pods"),
        ("/spec/predictor/model/storageUri", "s3://models/v2", "only a change of storageUri can be promoted"),
        ("/spec/predictor/model", None, "the predictor has no `model`"),
        ("/metadata/annotations/mlops-obs.dev~1revision", "", "does not say how the running predictor is called"),
    ],
)
def test_what_could_never_be_split_or_promoted_is_refused_before_anything_is_changed(rig, path, value, why):
    if value is None:
        rig.edit("/spec/predictor", {"containers": [{"name": "kserve-container", "image": "x"}]})
        rig.faults.stuck = True
    else:
        rig.edit(path, value)
    before = rig.read()["spec"]

    with pytest.raises(TargetError, match=f"{why}.*OBS-KSERVE"):
        rig.target.deploy("v2", "s3://models/v2")

    assert before == rig.read()["spec"]


@pytest.mark.parametrize("revision", ["V2", "v2_1", "2v", "v" * 60])
def test_a_revision_that_cannot_be_a_services_name_is_refused(rig, revision):
    with pytest.raises(TargetError, match="OBS-KSERVE-020"):
        rig.target.deploy(revision, "s3://models/v2")

    assert "canary" not in rig.read()["spec"]


def test_a_second_canary_is_refused_while_the_first_one_has_traffic(rig):
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 20)

    with pytest.raises(Conflict, match="OBS-KSERVE-018"):
        rig.target.deploy("v3", "s3://models/v3")

    assert rig.split() == {"v1": 80, "v2": 20}


def test_scenario_17_a_canary_that_someone_edits_gets_no_more_traffic_and_is_not_promoted_but_can_be_taken_back(rig):
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 50)
    rig.edit("/spec/canary/0/predictor/model/storageUri", "s3://models/other")

    with pytest.raises(Conflict, match=r"v2 was edited: it has s3://models/other now.*OBS-KSERVE-005"):
        rig.target.set_weights({"v2": 100}, {"v1": 50, "v2": 50})

    step(rig, 0)


def test_scenario_17_a_canary_that_someone_edits_at_a_hundred_percent_is_not_promoted(rig):
    rig.target.deploy("v2", "s3://models/v2")
    step(rig, 100)
    rig.edit("/spec/canary/0/predictor/model/storageUri", "s3://models/other")

    with pytest.raises(Conflict, match="OBS-KSERVE-005"):
        rig.target.finish("v2")
