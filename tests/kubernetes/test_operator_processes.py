"""`obs rollout operator` as processes: two at once, one killed or stopped in the middle, one stopped cleanly."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from mlops_obs.adapters.kubernetes.resources import LEASES
from mlops_obs.adapters.kubernetes.store import KubernetesRolloutStore
from tests.kubernetes.conftest import rollout
from tests.kubernetes.realtime_operator import VersionedTarget

HERE = Path(__file__).resolve()
QUICK = {
    "steps": [20, 50, 100],
    "step_duration_min": "2s",
    "slice": "1s",
    "block": "1s",
    "warm_up": "0s",
    "non_inferiority_margin": 0.2,
    "slow_margin": 0.3,
}


class Process:
    """One operator; its lines go to a file."""

    def __init__(self, folder, kubeconfig, namespace, name, errors):
        self.log = folder / f"{name}.log"
        script, root = str(HERE.with_name("realtime_operator.py")), str(HERE.parents[2])
        options = ["--kubeconfig", str(kubeconfig), "--namespace", namespace, "--metrics", "http://unused", "--health-port", "0"]
        options += ["--lease-namespace", namespace, "--lease-seconds", "3", "--interval", "0.2", "--workers", "2", "--deploys", "1"]
        self.process = subprocess.Popen(
            [sys.executable, script, str(folder / "target.json"), str(errors), *options],
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": root},
        )

    def ask(self, path):
        found = wait_for(lambda: re.search(r"metrics on 127.0.0.1:(\d+)", self.log.read_text()), self.log)
        with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}{path}", timeout=20) as answer:
            return answer.read().decode()

    def leads(self):
        return "mlops_obs_controller_leader 1.0" in self.ask("/metrics")


def wait_for(true, log, seconds=120.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = true()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture
def cluster(tmp_path, api, kubeconfig, namespace):
    running = []

    class Cluster:
        store = KubernetesRolloutStore(api, namespace)
        target = VersionedTarget(tmp_path / "target.json")

        def operator(self, name, errors=0):
            running.append(Process(tmp_path, kubeconfig, namespace, name, errors))
            return running[-1]

        def apply(self):
            document = rollout(**QUICK)
            document["spec"]["target"]["kserve"]["namespace"] = namespace
            self.store.apply(document)

        def status(self):
            return self.store.read("credit-risk").get("status") or {}

        def holder(self):
            return api.get(LEASES, namespace, f"mlops-obs-operator-{namespace}")["spec"]["holderIdentity"]

    Cluster.target.begin()
    yield Cluster()
    for one in running:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGCONT)
            one.process.kill()
            one.process.wait()


def test_a_leader_that_is_killed_is_followed_by_the_other_which_ends_the_rollout(cluster):
    first = cluster.operator("first")
    wait_for(first.leads, first.log)
    second = cluster.operator("second")
    cluster.apply()
    wait_for(lambda: cluster.status().get("weight") == 20, first.log)
    first.process.kill()

    wait_for(lambda: cluster.status().get("phase") == "Promoted", second.log)

    assert second.leads()
    assert second.ask("/healthz") == second.ask("/readyz") == "ok\n"
    assert 'mlops_obs_rollout_phase{canary="v2",phase="Promoted",service="credit-risk",stable="v1"} 1.0' in second.ask("/metrics")
    assert cluster.target.weights() == {"v1": 0, "v2": 100}
    assert cluster.store.broken_record() is None
    assert cluster.status()["token"] == 2
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(60) == 0
    assert "operator stopped" in second.log.read_text()
    assert cluster.holder() == ""


def test_a_leader_that_is_stopped_and_wakes_up_finds_itself_replaced_and_touches_nothing(cluster):
    first = cluster.operator("first", errors=45)
    wait_for(first.leads, first.log)
    second = cluster.operator("second", errors=45)
    wait_for(lambda: not second.leads(), second.log)
    cluster.apply()
    wait_for(lambda: cluster.status().get("weight") == 20, first.log)
    first.process.send_signal(signal.SIGSTOP)

    wait_for(lambda: cluster.status().get("phase") == "RolledBack", second.log)
    first.process.send_signal(signal.SIGCONT)
    wait_for(lambda: "leads no longer" in first.log.read_text(), first.log)
    history = cluster.target.history()

    assert not first.leads()
    assert second.leads()
    assert cluster.target.history() == history
    assert max(split.get("v2", 0) for _, split in history) == 20
    assert cluster.target.weights().get("v2", 0) == 0
    assert cluster.store.broken_record() is None
    assert first.process.poll() is None
