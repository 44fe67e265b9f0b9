"""What the operator tells: Kubernetes Events, metrics about itself, health."""

import json
import threading
import urllib.error
import urllib.request

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from mlops_obs.adapters.kubernetes.api import KubernetesApi
from mlops_obs.adapters.kubernetes.events import Event, KubernetesEvents, body_of, event_of
from mlops_obs.adapters.kubernetes.health import HealthServer
from mlops_obs.adapters.kubernetes.self_metrics import SelfMetrics
from mlops_obs.errors import PlatformError
from mlops_obs.metric_names import CONTROLLER_ERRORS, CONTROLLER_QUEUE_DEPTH, CONTROLLER_RECONCILE, METRICS, Reading
from mlops_obs.rollout.log.records import make_record
from mlops_obs.rollout.machine.state import RolloutState
from mlops_obs.testing.kubernetes import FakeCore, event_mistakes
from tests.rollout.store_contract import SPEC

ABOUT = {"metadata": {"name": "credit-risk", "namespace": "models", "uid": "0f2c5c1e-aaaa", "resourceVersion": "7"}}
STATE = RolloutState(id="credit-risk-1", spec=SPEC, created_at=1.0, stable="v1")


def record(kind, action, phase="Progressing", **more):
    state = STATE.model_copy(update={"phase": phase})
    body = {"at": 1_800_000_000.0, "action": action, "reason": "because", "before": {}, "after": {}, **more}
    return {**make_record(kind, state, **body), "seq": 26, "hash": "ff"}


@pytest.fixture
def core(tmp_path):
    fake = FakeCore()
    path = tmp_path / "core.kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": fake.url}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(config))
    fake.api = KubernetesApi(path)
    yield fake
    fake.close()


def written(core, *events, **more):
    dropped = []
    sink = KubernetesEvents(core.api, "op-1", dropped=dropped.append, **more)
    for one in events:
        sink.emit(one)
    stop = threading.Event()
    stop.set()
    sink.run(stop)
    return dropped


@pytest.mark.parametrize(
    ("made", "type_", "reason"),
    [
        (record("decision", "deploy"), "Normal", "Deploying"),
        (record("decision", "advance"), "Normal", "Advancing"),
        (record("decision", "hold", "Holding"), "Warning", "Holding"),
        (record("decision", "rollback"), "Warning", "RollingBack"),
        (record("result", "rollback", "RolledBack"), "Warning", "RolledBack"),
        (record("decision", "promote", "Promoted"), "Normal", "Promoted"),
        (record("result", "advance", ok=False), "Warning", "ActionFailed"),
        (record("request", "pause", actor="ada"), "Normal", "Requested"),
    ],
)
def test_each_record_that_matters_is_one_event_that_a_real_api_server_would_take(core, made, type_, reason):
    event = event_of(ABOUT, made)

    assert written(core, event, event) == []
    (body,) = core.events.values()
    assert (body["type"], body["reason"]) == (type_, reason)
    assert body["metadata"]["name"] == "credit-risk.0f2c5c1e.1a"
    assert event_mistakes("models", body) == []


@pytest.mark.parametrize("made", [record("decision", "wait"), record("intent", "advance"), record("result", "advance")])
def test_what_goes_on_as_before_is_no_event(made):
    assert event_of(ABOUT, made) is None


def test_an_event_is_this_object_to_the_letter():
    event = event_of(ABOUT, record("decision", "rollback"))

    assert body_of(event, "op-1") == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "credit-risk.0f2c5c1e.1a", "namespace": "models"},
        "involvedObject": {
            "apiVersion": "mlops-obs.dev/v1alpha1",
            "kind": "Rollout",
            "namespace": "models",
            "name": "credit-risk",
            "uid": "0f2c5c1e-aaaa",
            "resourceVersion": "7",
        },
        "type": "Warning",
        "reason": "RollingBack",
        "message": "because",
        "firstTimestamp": "2027-01-15T08:00:00Z",
        "lastTimestamp": "2027-01-15T08:00:00Z",
        "count": 1,
        "source": {"component": "mlops-obs-operator", "host": "op-1"},
        "reportingComponent": "mlops-obs-operator",
        "reportingInstance": "op-1",
    }


def test_a_message_in_any_language_is_cut_between_letters(core):
    event = Event(ABOUT, "1", "Warning", "Holding", "é" * 2000, 1.0)

    assert written(core, event) == []
    assert next(iter(core.events.values()))["message"] == "é" * 512


def test_events_that_cannot_be_written_are_counted_and_hold_nobody_up(core):
    core.answer = 403
    event = Event(ABOUT, "1", "Normal", "Paused", "x", 1.0)

    assert written(core, event) == ["403"]
    assert written(core, event, event, event, room=2) == ["full", "403", "403"]


def test_the_stand_in_refuses_what_a_real_api_server_refuses(core):
    good = body_of(event_of(ABOUT, record("decision", "rollback")), "op-1")

    assert event_mistakes("models", good) == []
    assert event_mistakes("other", good) != []
    assert event_mistakes("models", {**good, "type": "Bad"}) == ["type is neither Normal nor Warning"]
    assert event_mistakes("models", {**good, "details": 1}) == ["unknown field details"]
    assert event_mistakes("models", {**good, "metadata": {"name": "Upper_Case"}})[0].endswith("is no DNS subdomain")


def test_the_metrics_are_prometheus_text_with_the_names_of_the_table():
    told = SelfMetrics()
    told.count(CONTROLLER_ERRORS, "OBS-ROLL-011", by=2)
    told.api_call("get", "rollouts", 0, 0.1)
    for seconds in (0.003, 0.003, 99.0):
        told.observe(CONTROLLER_RECONCILE, seconds, "ok")
    told.register(lambda: [Reading(CONTROLLER_QUEUE_DEPTH, {}, 3.0)])

    text = told.text()[0].decode()

    families = {one.name: one for one in text_string_to_metric_families(text)}
    samples = {(s.name, *sorted(s.labels.values())): s.value for one in families.values() for s in one.samples}
    assert samples["mlops_obs_controller_errors_total", "OBS-ROLL-011"] == 2
    assert samples["mlops_obs_controller_api_calls_total", "get", "none", "rollouts"] == 1
    assert samples["mlops_obs_controller_queue_depth",] == 3
    assert samples["mlops_obs_controller_reconcile_seconds_bucket", "0.005", "ok"] == 2
    assert samples["mlops_obs_controller_reconcile_seconds_bucket", "+Inf", "ok"] == 3
    assert samples["mlops_obs_controller_reconcile_seconds_count", "ok"] == 3
    assert samples["mlops_obs_controller_reconcile_seconds_sum", "ok"] == pytest.approx(99.006)
    assert {name for name in METRICS if name.startswith("mlops_obs_controller_")} >= {
        f"{one}_total" if families[one].type == "counter" else one for one in families
    }


def test_health_readiness_and_metrics_answer_on_one_port():
    wrong = {"healthy": "", "ready": "rollouts are being listed"}
    server = HealthServer(lambda: wrong["healthy"], lambda: wrong["ready"], lambda _: (b"x 1\n", "text/plain"), "127.0.0.1", 0)

    def ask(path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    assert ask("/healthz") == (200, "ok\n")
    assert ask("/readyz") == (503, "rollouts are being listed\n")
    assert ask("/metrics") == (200, "x 1\n")
    assert ask("/else")[0] == 404
    wrong["healthy"] = "threads ended: operator-watch"
    assert ask("/healthz") == (503, "threads ended: operator-watch\n")
    with pytest.raises(PlatformError, match="OBS-KUBE-014"):
        HealthServer(str, str, lambda _: (b"", ""), "127.0.0.1", server.port)
    server.close()


def test_a_real_api_server_without_core_types_costs_an_event_and_nothing_else(api, namespace):
    dropped = []
    sink = KubernetesEvents(api, "op-1", dropped=dropped.append)
    sink.emit(Event(json.loads(json.dumps(ABOUT)), "1", "Normal", "Paused", "x", 1.0))
    stop = threading.Event()
    stop.set()
    sink.run(stop)

    assert dropped == ["404"]
