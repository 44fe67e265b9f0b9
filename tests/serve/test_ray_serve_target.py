"""Ray Serve as a traffic target: what the rollout controller relies on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from mlops_obs.adapters.ray_serve import RayServeTarget
from mlops_obs.errors import Conflict, TargetError
from mlops_obs.testing.conformance import TargetConformance

pytestmark = pytest.mark.stack
V1 = "/v1/models/credit-risk:predict"


class Load:
    """Callers in threads; `answers` counts (revision, status), `texts` keeps the bodies of failures."""

    def __init__(self, url, callers=4):
        self.answers, self.texts = Counter(), set()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(url,)) for _ in range(callers)]

    def _call(self, url):
        with httpx.Client(base_url=url, timeout=20) as client:
            while not self._stop.is_set():
                answer = client.post(V1, json={"instances": [{"customer_id": "c64"}]})
                self.answers[answer.headers.get("x-revision"), answer.status_code] += 1
                if answer.status_code != 200:
                    self.texts.add(answer.text)
                time.sleep(0.02)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, key, seconds=60):
        deadline = time.monotonic() + seconds
        seen = self.answers[key]
        while self.answers[key] <= seen:
            assert time.monotonic() < deadline, (key, self.answers)
            time.sleep(0.05)


@pytest.fixture(scope="module")
def target(ray_stack):
    target = RayServeTarget(ray_stack[1], "credit-risk", "serving_double:predictor_app")
    yield target
    target.close()


@pytest.fixture
def v2(target):
    """v2 is deployed; all traffic is on v1 before and after."""
    target.deploy("v2", "/p/v2")
    yield "v2"
    target.set_weights({"v1": 100, "v2": 0}, expected=target.weights())


def test_a_new_revision_starts_at_weight_zero_and_deploying_it_again_changes_nothing(target, v2, ray_stack):
    before = replica_pids("v2")

    target.deploy("v2", "/p/v2")

    assert before == replica_pids("v2")
    assert target.weights() == {"v1": 100, "v2": 0}


def test_weights_change_under_load_without_losing_a_request(target, v2, ray_stack):
    ingress = replica_pids("ingress", "Ingress")
    with Load(ray_stack[0]) as load:
        for canary in (20, 50, 100):
            target.set_weights({"v1": 100 - canary, "v2": canary}, expected=target.weights())
            load.wait_for(("v2", 200))
        target.set_weights({"v1": 100}, expected={"v2": 100})

    assert {200} == {status for _, status in load.answers}
    assert ingress == replica_pids("ingress", "Ingress"), "the ingress was restarted"


def test_weights_that_somebody_else_changed_are_a_conflict(target, v2):
    with pytest.raises(Conflict, match="OBS-RAY-006"):
        target.set_weights({"v1": 50, "v2": 50}, expected={"v1": 80, "v2": 20})

    assert target.weights() == {"v1": 100, "v2": 0}


def test_setting_what_is_already_set_succeeds_whatever_was_expected(target, v2):
    target.set_weights({"v1": 100}, expected={"v1": 80, "v2": 20})


def test_another_package_under_a_running_revision_is_a_conflict(target, v2):
    with pytest.raises(Conflict, match="OBS-RAY-004"):
        target.deploy("v2", "/q/v2")


def test_traffic_is_never_sent_to_a_revision_that_is_not_running(target):
    with pytest.raises(TargetError, match="OBS-RAY-007"):
        target.set_weights({"v1": 50, "v9": 50}, expected={"v1": 100})


def test_a_package_that_cannot_be_loaded_is_a_target_error_that_says_why(target):
    with pytest.raises(TargetError, match="OBS-RAY-003"):
        target.deploy("broken", "/p/broken")

    assert target.weights()["v1"] == 100


def test_a_killed_replica_costs_at_worst_clean_503s_and_comes_back(target, v2, ray_stack):
    target.set_weights({"v2": 100}, expected=target.weights())
    with Load(ray_stack[0]) as load:
        load.wait_for(("v2", 200))
        for pid in replica_pids("v2"):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        load.wait_for(("v2", 200))

    assert {200, 503} >= {status for _, status in load.answers}, load.texts
    assert all(list(json.loads(text)) == ["error"] for text in load.texts)


def test_a_killed_ingress_comes_back_with_the_weights_it_had(target, v2, ray_stack):
    target.set_weights({"v1": 70, "v2": 30}, expected=target.weights())

    for pid in replica_pids("ingress", "Ingress"):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while (weights := read(target)) is None and time.monotonic() < deadline:
        time.sleep(0.2)

    assert weights == {"v1": 70, "v2": 30}


def test_a_cluster_that_is_away_is_a_target_error():
    target = RayServeTarget("127.0.0.1:9", "credit-risk", "serving_double:predictor_app")

    with pytest.raises(TargetError, match="OBS-RAY-001"):
        target.weights()


def test_an_application_that_cannot_be_imported_is_named(ray_stack):
    target = RayServeTarget(ray_stack[1], "credit-risk", "no_such_module:app")

    with pytest.raises(TargetError, match="no_such_module.*OBS-RAY-008"):
        target.weights()


def test_the_ray_session_that_dies_is_a_target_error_once_and_then_replaced(target, v2):
    target.weights()
    target._child.kill()

    with pytest.raises(TargetError, match="OBS-RAY-002"):
        target.weights()
    assert target.weights()["v1"] == 100


def test_traffic_records_each_answer_with_its_revision(ray_stack, tmp_path):
    customers, log = tmp_path / "customers.txt", tmp_path / "traffic.jsonl"
    customers.write_text("".join(f"c{n}\n" for n in range(100)))
    argv = [
        sys.executable,
        "-m",
        "feature_train_serve.traffic",
        "--url",
        ray_stack[0],
        "--customers",
        str(customers),
        "--rps",
        "20",
        "--log",
        str(log),
    ]

    generator = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while (not log.exists() or len(log.read_text().splitlines()) < 20) and time.monotonic() < deadline:
        time.sleep(0.2)
    generator.terminate()
    summary = json.loads(generator.communicate(timeout=20)[0])

    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert {("v1", 200)} == {(one["revision"], one["status"]) for one in records}
    assert {"v1", "v2"} == {one["protocol"] for one in records}
    assert {"requests": len(records), "failed": 0, "revisions": {"v1": {"requests": len(records), "failed": 0}}} == summary


class RayRig:
    """The one Ray of this module; each test finds v1 with all the traffic, and may find v2 deployed."""

    patience = 30.0
    going_down_is_all_or_nothing = False

    def __init__(self, target):
        self.target, self.ask = target, target._ask
        self.reset()

    def reset(self):
        self.target.deploy("v1", "/p/v1")
        self.target.set_weights({"v1": 100}, expected=self.target.weights())

    def package(self, revision):
        return f"/p/{revision}"

    def meddle(self):
        wanted = {"v1": 55, "v2": 45}
        self.ask(60, op="set_weights", weights=wanted, expected=dict(self.target.weights()))
        return wanted

    def kill(self, revision):
        self.target.set_weights({"v2": 100}, expected=self.target.weights())
        self.ask(60, op="finish", revision="v2", remove=True)

    @contextlib.contextmanager
    def losing_the_answer(self):
        def lose(seconds, **request):
            done = self.ask(seconds, **request)
            if request["op"] == "set_weights":
                raise TargetError("OBS-RAY-002", "Ray Serve did not answer", todo="read the weights again")
            return done

        self.target._ask = lose
        yield
        self.target._ask = self.ask

    def unsplittable(self):
        return None

    def lying(self):
        return False

    def snapshot(self):
        return dict(self.target.weights()), replica_pids("v1"), replica_pids("v2")


class TestRayServe(TargetConformance):
    # The ingress is ours: it can always split its traffic, and has no status apart from its weights.
    test_a_platform_that_cannot_split_refuses_before_anything_is_changed = None
    test_weights_that_are_only_echoed_are_not_believed = None

    @pytest.fixture
    def rig(self, target):
        rig = RayRig(target)
        yield rig
        rig.reset()


def test_the_way_back_is_told_in_replicas_and_by_the_time_that_the_last_change_took(target, v2):
    target.set_weights({"v1": 80, "v2": 20}, expected=target.weights())

    back = target.way_back("v1")

    assert (back.ready, back.reason) == (True, "v1 runs with 2 replicas")
    assert 0 < back.seconds < 30


def test_old_revisions_are_ended_only_where_that_was_asked_for(target, v2, ray_stack):
    target.set_weights({"v2": 100}, expected=target.weights())
    target.finish("v2")
    kept = replica_pids("v1")
    remover = RayServeTarget(ray_stack[1], "credit-risk", "serving_double:predictor_app", remove_old=True)
    remover._child, remover._rest = target._child, target._rest  # the same session: connecting takes seconds
    remover.finish("v2")
    gone = target.way_back("v1")
    target.deploy("v1", "/p/v1")

    assert kept
    assert (gone.ready, gone.reason) == (False, "v1 is not deployed")
    assert target.weights() == {"v1": 0, "v2": 100}


def read(target):
    try:
        return target.weights()
    except TargetError:
        return None


def replica_pids(name, deployment="Predictor"):
    app = name if name == "ingress" else f"credit-risk-{name}"
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cmdline").read_text().startswith(f"ray::ServeReplica:{app}:{deployment}"):
                found.add(int(process.name))
    return found
