"""What every TrafficTarget promises, run on the fake and on KServe's adapter against a real API server."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mlops_obs.errors import Conflict, TargetError
from mlops_obs.rollout.state import compact
from mlops_obs.testing.targets import FakeTarget

KUBERNETES = Path(__file__).resolve().parents[2].parent / "shared" / "k8s"
SERVICE = "serving.kserve.io", "v1beta1", "default", "inferenceservices"
JSON_PATCH = "application/json-patch+json"


class FakeRig:
    """The fake; somebody else's change is `force`."""

    def __init__(self) -> None:
        self.target = FakeTarget({"v1": 100}, {"v1": "s3://models/v1"})

    def meddle(self) -> None:
        self.target.force({"v1": 55, "v2": 45})


class KServeRig:
    """An InferenceService on a real API server; a thread plays KServe and writes its status."""

    def __init__(self, api: Any, kubeconfig: Path, name: str) -> None:
        from mlops_obs.adapters.kserve import KServeTarget

        self.api, self.name, self.stop = api, name, threading.Event()
        annotations = {"mlops-obs.dev/revision": "v1"}
        self.api.create_namespaced_custom_object(
            *SERVICE,
            {
                "apiVersion": "serving.kserve.io/v1beta1",
                "kind": "InferenceService",
                "metadata": {"name": name, "annotations": annotations},
                "spec": {"predictor": {"model": {"modelFormat": {"name": "pytorch"}, "storageUri": "s3://models/v1"}}},
            },
        )
        self.uris: list[str] = []
        self.rolled = ""
        self._reconcile()
        self.thread = threading.Thread(target=self._play)
        self.thread.start()
        self.target = KServeTarget("default", name, kubeconfig=kubeconfig, ready_timeout=10, poll=0.05)

    def meddle(self) -> None:
        body = [{"op": "replace", "path": "/spec/predictor/canaryTrafficPercent", "value": 45}]
        self.api.patch_namespaced_custom_object(*SERVICE, self.name, body, _content_type=JSON_PATCH)
        self._reconcile()

    def close(self) -> None:
        self.stop.set()
        self.thread.join()

    def _play(self) -> None:
        while not self.stop.wait(0.05):
            self._reconcile()

    def _reconcile(self) -> None:
        """Write the status that KServe would: a Knative revision per storageUri, and the split between the last two."""
        predictor = self.api.get_namespaced_custom_object(*SERVICE, self.name)["spec"]["predictor"]
        uri = predictor["model"]["storageUri"]
        if not self.uris or self.uris[-1] != uri:
            self.uris.append(uri)
        latest = f"{self.name}-predictor-{len(self.uris):05d}"
        percent = predictor.get("canaryTrafficPercent", 100) if self.rolled and self.rolled != latest else 100
        traffic = [{"revisionName": latest, "percent": percent, "latestRevision": True}]
        if percent < 100:
            traffic.append({"revisionName": self.rolled, "percent": 100 - percent, "tag": "prev"})
        else:
            self.rolled = latest
        status = {
            "latestCreatedRevision": latest,
            "latestReadyRevision": latest,
            "latestRolledoutRevision": self.rolled,
            "traffic": traffic,
        }
        patch = {"status": {"components": {"predictor": status}}}
        self.api.patch_namespaced_custom_object_status(*SERVICE, self.name, patch)


@pytest.fixture(scope="module")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if not (KUBERNETES / "start").exists():
        pytest.skip("the API server for tests is missing: ../shared/k8s/start")
    for program in ("etcd", "kubectl", "openssl", "xz"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing: see ../shared/k8s/README.md")
    folder = tmp_path_factory.mktemp("kubernetes")
    try:
        done = subprocess.run([KUBERNETES / "start", folder, str(_free_ports())], capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stderr
        yield Path(done.stdout.split()[-1])
    finally:
        subprocess.run([KUBERNETES / "stop", folder], capture_output=True, timeout=60, check=False)


def _free_ports() -> int:
    """Return a port such that it and the two after it are free."""
    for port in range(21_000, 30_000, 37):
        try:
            for one in range(port, port + 3):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", one))
        except OSError:
            continue
        return port
    raise AssertionError("no free ports")


@pytest.fixture(params=["fake", pytest.param("kserve", marks=pytest.mark.stack)])
def rig(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "fake":
        yield FakeRig()
        return
    kubeconfig = request.getfixturevalue("kubernetes")
    with kserve_rig(kubeconfig) as made:
        yield made


@contextmanager
def kserve_rig(kubeconfig: Path) -> Iterator[KServeRig]:
    from kubernetes import client, config

    api = client.CustomObjectsApi(config.new_client_from_config(str(kubeconfig)))
    kserve_rig.count = getattr(kserve_rig, "count", 0) + 1  # type: ignore[attr-defined]
    made = KServeRig(api, kubeconfig, f"credit-risk-{kserve_rig.count}")  # type: ignore[attr-defined]
    try:
        yield made
    finally:
        made.close()


def eventually(look: Callable[[], Any], wanted: Any) -> None:
    """Wait until `look()` is `wanted`: a platform applies accepted weights a moment later."""
    pause = threading.Event()
    for _ in range(200):
        if look() == wanted:
            return
        pause.wait(0.05)
    assert look() == wanted


def split(rig: Any) -> dict[str, int]:
    return compact(rig.target.weights())


def test_a_deployed_revision_is_ready_at_weight_zero(rig):
    rig.target.deploy("v2", "s3://models/v2")

    assert split(rig) == {"v1": 100}


def test_deploying_twice_changes_nothing(rig):
    rig.target.deploy("v2", "s3://models/v2")
    rig.target.deploy("v2", "s3://models/v2")

    assert split(rig) == {"v1": 100}


def test_deploying_another_package_under_a_taken_name_is_a_conflict(rig):
    rig.target.deploy("v2", "s3://models/v2")

    with pytest.raises(Conflict):
        rig.target.deploy("v2", "s3://models/another")


def test_weights_that_are_set_are_the_weights_that_are_read(rig):
    rig.target.deploy("v2", "s3://models/v2")
    rig.target.set_weights({"v1": 80, "v2": 20}, {"v1": 100})

    eventually(lambda: split(rig), {"v1": 80, "v2": 20})


def test_a_revision_can_go_all_the_way_up(rig):
    rig.target.deploy("v2", "s3://models/v2")
    rig.target.set_weights({"v1": 50, "v2": 50}, {"v1": 100})
    eventually(lambda: split(rig), {"v1": 50, "v2": 50})
    rig.target.set_weights({"v1": 0, "v2": 100}, {"v1": 50, "v2": 50})

    eventually(lambda: split(rig), {"v2": 100})


def test_a_canary_can_be_taken_back_to_zero(rig):
    rig.target.deploy("v2", "s3://models/v2")
    rig.target.set_weights({"v1": 80, "v2": 20}, {"v1": 100})
    eventually(lambda: split(rig), {"v1": 80, "v2": 20})
    rig.target.set_weights({"v1": 100, "v2": 0}, {"v1": 80, "v2": 20})

    eventually(lambda: split(rig), {"v1": 100})


def test_setting_what_is_set_succeeds_whatever_was_expected(rig):
    rig.target.deploy("v2", "s3://models/v2")
    rig.target.set_weights({"v1": 80, "v2": 20}, {"v1": 100})
    eventually(lambda: split(rig), {"v1": 80, "v2": 20})

    rig.target.set_weights({"v1": 80, "v2": 20}, {"v1": 100})

    assert split(rig) == {"v1": 80, "v2": 20}


def test_weights_that_are_not_as_expected_are_left_alone(rig):
    rig.target.deploy("v2", "s3://models/v2")
    rig.target.set_weights({"v1": 80, "v2": 20}, {"v1": 100})
    eventually(lambda: split(rig), {"v1": 80, "v2": 20})
    rig.meddle()
    eventually(lambda: split(rig), {"v1": 55, "v2": 45})

    with pytest.raises(Conflict):
        rig.target.set_weights({"v1": 50, "v2": 50}, {"v1": 80, "v2": 20})
    assert split(rig) == {"v1": 55, "v2": 45}


def test_an_unknown_revision_gets_no_traffic(rig):
    rig.target.deploy("v2", "s3://models/v2")

    with pytest.raises(TargetError):
        rig.target.set_weights({"v1": 80, "v9": 20}, {"v1": 100})
    assert split(rig) == {"v1": 100}


@pytest.mark.stack
def test_kserve_refuses_a_stale_write_and_a_missing_service(kubernetes):
    from mlops_obs.adapters.kserve import KServeTarget

    with kserve_rig(kubernetes) as rig:
        stale = rig.target._get()
        rig.target.deploy("v2", "s3://models/v2")
        operation = {"op": "add", "path": "/spec/predictor/canaryTrafficPercent", "value": 90}

        with pytest.raises(Conflict, match="OBS-KSERVE-004"):
            rig.target._patch(stale, [operation])
        with pytest.raises(TargetError, match="HTTP 404"):
            KServeTarget("default", "absent", kubeconfig=kubernetes).weights()


@pytest.mark.stack
def test_kserve_refuses_to_go_back_after_promotion_because_kserve_forgets_the_way(kubernetes):
    with kserve_rig(kubernetes) as rig:
        rig.target.deploy("v2", "s3://models/v2")
        rig.target.set_weights({"v2": 100}, {"v1": 100})
        eventually(lambda: split(rig), {"v2": 100})

        with pytest.raises(TargetError, match="OBS-KSERVE-006"):
            rig.target.set_weights({"v1": 100}, {"v2": 100})


@pytest.mark.stack
def test_kserve_gives_no_traffic_to_a_template_that_someone_else_edited_and_can_still_go_back(kubernetes):
    with kserve_rig(kubernetes) as rig:
        rig.target.deploy("v2", "s3://models/v2")
        rig.target.set_weights({"v1": 80, "v2": 20}, {"v1": 100})
        eventually(lambda: split(rig), {"v1": 80, "v2": 20})
        body = [{"op": "replace", "path": "/spec/predictor/model/storageUri", "value": "s3://models/other"}]
        rig.api.patch_namespaced_custom_object(*SERVICE, rig.name, body, _content_type=JSON_PATCH)
        found = {"v1": 80, f"{rig.name}-predictor-00003": 20}
        eventually(lambda: split(rig), found)

        with pytest.raises(Conflict, match="OBS-KSERVE-005"):
            rig.target.set_weights({"v1": 50, "v2": 50}, found)
        rig.target.set_weights({"v1": 100}, found)
        eventually(lambda: split(rig), {"v1": 100})


@pytest.mark.stack
def test_an_api_server_that_is_away_is_a_target_error(tmp_path, kubernetes):
    import yaml

    from mlops_obs.adapters.kserve import KServeTarget

    config = yaml.safe_load(kubernetes.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    away = tmp_path / "kubeconfig"
    away.write_text(json.dumps(config))

    with pytest.raises(TargetError, match="OBS-KSERVE-011"):
        KServeTarget("default", "credit-risk", kubeconfig=away).weights()


@pytest.mark.stack
def test_kserve_takes_back_a_share_that_was_asked_for_and_is_not_shown_yet(kubernetes):
    with kserve_rig(kubernetes) as rig:
        rig.target.deploy("v2", "s3://models/v2")
        rig.close()  # KServe is slow from here on
        rig.target.set_weights({"v1": 80, "v2": 20}, {"v1": 100})
        shown = split(rig)

        rig.target.set_weights({"v1": 100, "v2": 0}, {"v1": 100})
        rig._reconcile()

        assert shown == {"v1": 100}
        assert split(rig) == {"v1": 100}


@pytest.mark.stack
def test_kserve_ships_the_old_package_again_after_its_successor_was_promoted(kubernetes):
    with kserve_rig(kubernetes) as rig:
        rig.target.deploy("v2", "s3://models/v2")
        rig.target.set_weights({"v2": 100}, {"v1": 100})
        eventually(lambda: split(rig), {"v2": 100})

        rig.target.deploy("v1", "s3://models/v1")
        dark = split(rig)
        rig.target.set_weights({"v1": 20, "v2": 80}, {"v2": 100})
        eventually(lambda: split(rig), {"v1": 20, "v2": 80})

        assert dark == {"v2": 100}


@pytest.mark.stack
def test_kserve_ships_a_canary_again_after_another_was_tried_in_between(kubernetes):
    with kserve_rig(kubernetes) as rig:
        rig.target.deploy("v2", "s3://models/v2")
        rig.target.deploy("v3", "s3://models/v3")
        rig.target.deploy("v2", "s3://models/v2")

        rig.target.set_weights({"v1": 80, "v2": 20}, {"v1": 100})
        eventually(lambda: split(rig), {"v1": 80, "v2": 20})


@pytest.mark.parametrize(
    "service",
    [
        {"metadata": {"annotations": {"serving.kserve.io/deploymentMode": "Standard"}}, "spec": {"predictor": {}}},
        {"metadata": {}, "spec": {"predictor": {}}, "status": {"deploymentMode": "RawDeployment"}},
    ],
    ids=["asked for by annotation", "told by the status"],
)
def test_kserve_refuses_a_mode_that_ignores_the_percentage_before_it_changes_anything(service):
    from mlops_obs.adapters.kserve import KServeTarget

    class Api:
        def get_namespaced_custom_object(self, *_: Any, **__: Any) -> Any:
            return service

    target = KServeTarget("default", "credit-risk")
    target._api = Api()

    for call in (target.weights, lambda: target.deploy("v2", "s3://models/v2"), lambda: target.set_weights({"v2": 100}, {"v1": 100})):
        with pytest.raises(
            TargetError, match="mode, where canaryTrafficPercent routes nothing; create it anew.*Serverless.*OBS-KSERVE-015"
        ):
            call()
