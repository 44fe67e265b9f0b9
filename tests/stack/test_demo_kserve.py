"""The story of the demo by custom resources: real API server, operator, model servers, Prometheus; KServe's reconciler is a stand-in.

The packages are those of a demo that is over: training them again would prove nothing more.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mlops_obs.cli.demo.kserve_loop import NAMESPACE, KServeLoop
from mlops_obs.cli.demo.loop import SERVICE, Settings
from mlops_obs.cli.demo.outcome import judge
from mlops_obs.cli.demo.screen import Screen
from mlops_obs.cli.demo.story import ship, wait_for_page

ROOT = Path(__file__).parents[2]
API_SERVER = ROOT.parent / "shared" / "k8s"

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def loop(embedded_demo, prometheus_installed, tmp_path_factory):
    if not (API_SERVER / "start").exists():
        pytest.skip("the API server for tests is missing: ../shared/k8s/start")
    for program in ("etcd", "kubectl", "openssl", "xz"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing: see ../shared/k8s/README.md")
    lines = [json.loads(line) for line in (embedded_demo[0] / "stack.jsonl").read_text().splitlines() if line.startswith("{")]
    made = next(line for line in lines if line["status"] == "ready")
    with KServeLoop(Settings(tmp_path_factory.mktemp("demo-kserve"), ROOT, seed=7)) as running:
        running.api_server = API_SERVER
        running.packages, running.customers, running.store = made["packages"], Path(made["customers"]), Path(made["store"])
        running.start_monitoring()
        running.start_serving(lambda _: None)
        running.start_controller()
        running.start_traffic()
        running.wait(lambda: len(running.requests()) >= 150, 60, "150 requests answered")
        yield running


def test_the_good_model_is_promoted_and_the_broken_one_rolled_back_by_custom_resources_with_one_page(loop):
    screen = Screen()

    good, bad = ship(loop, screen, "v2", ""), ship(loop, screen, "v3", "")
    wait_for_page(loop)

    pages = [{"incident": page["incident"], "summary": page["payload"]["alerts"][0]["annotations"]["summary"]} for page in loop.pages()]
    claims = judge(good=good, bad=bad, pages=pages, requests=loop.requests())
    assert [claim for claim in claims if not claim.held] == []


def test_what_happened_stands_in_the_cluster_and_can_be_replayed(loop):
    rollout = json.loads(loop.kubectl("get", "rollout", SERVICE, "-n", NAMESPACE, "-o", "json"))
    service = json.loads(loop.kubectl("get", "inferenceservice", SERVICE, "-n", NAMESPACE, "-o", "json"))
    replayed, verified = loop.obs("rollout", "replay"), loop.obs("rollout", "verify")

    assert (rollout["status"]["phase"], rollout["spec"]["canary"]) == ("RolledBack", "v3")
    assert service["spec"]["predictor"]["canaryTrafficPercent"] == 0
    assert (replayed.returncode, verified.returncode) == (0, 0), replayed.stdout + replayed.stderr + verified.stderr
