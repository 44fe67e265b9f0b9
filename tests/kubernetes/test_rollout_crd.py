"""The API server itself refuses what is no rollout: `kubectl apply` with validation, on a real server, before any controller looks."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml

from mlops_obs.rollout.spec.document import parse_document, wrap
from mlops_obs.rollout.spec.schema import crd_record, crd_rollout

pytestmark = pytest.mark.stack
MANIFESTS = Path(__file__).parents[2] / "platform" / "manifests" / "rollouts"
GOOD = {
    "service": "credit-risk",
    "canary": "v2",
    "package": "s3://models/v2",
    "target": {"kserve": {"namespace": "models", "name": "credit-risk"}},
    "steps": [10, 50, 100],
    "manual_gates": [50],
    "warm_up": "1m30s",
    "slice": 30,
    "block": "60s",
    "latency_threshold": "2.5ms",
    "watch": "30m",
    "watch_weight": 5,
    "gates": [
        {"name": "queue", "type": "promql", "query": 'depth{revision="{{revision}}"}', "max": 3, "for": "30s"},
        {"name": "inputs", "type": "drift", "max_psi": 0.2},
        {"name": "paid", "type": "slo", "slo": "availability"},
        {"name": "shape", "type": "latency", "dry_run": True},
    ],
}


@pytest.fixture
def apply(kubectl, tmp_path):
    def run(spec: object, *, kind: str = "Rollout", name: str = "one", **more: str) -> str:
        path = tmp_path / "object.json"
        metadata = {"name": name, **more}
        path.write_text(json.dumps({"apiVersion": "mlops-obs.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}))
        return kubectl("apply", "--validate=strict", "-f", str(path), check=False)

    return run


def changed(**changes: object) -> dict:
    spec = copy.deepcopy(GOOD) | changes
    return {key: value for key, value in spec.items() if value is not ...}


def gate(**changes: object) -> dict:
    return changed(gates=[{key: value for key, value in ({**GOOD["gates"][0], **changes}).items() if value is not ...}])


REFUSED = {
    "an unknown key": (changed(warmup="2m"), 'unknown field "spec.warmup"'),
    "an unknown key of a gate": (gate(limit=3), "unknown field"),
    "a kubeconfig": (changed(target={"kserve": {"namespace": "a", "name": "b", "kubeconfig": "/etc/admin"}}), "unknown field"),
    "a missing key": (changed(canary=...), "spec.canary: Required value"),
    "no target": (changed(target=...), "spec.target: Required value"),
    "a target that is null": (changed(target=None), "spec.target: Required value"),
    "an empty target": (changed(target={}), "exactly one of"),
    "two targets": (
        changed(target={"kserve": {"namespace": "a", "name": "b"}, "kuberay": {"namespace": "a", "name": "b"}}),
        "exactly one of",
    ),
    "steps that fall": (changed(steps=[50, 10, 100]), "steps must rise and end at 100"),
    "steps that stand still": (changed(steps=[10, 10, 100]), "steps must rise and end at 100"),
    "steps that do not end": (changed(steps=[10, 50]), "steps must rise and end at 100"),
    "no steps": (changed(steps=[]), "spec.steps"),
    "a step that is no number": (changed(steps=["10", 100]), "spec.steps[0]"),
    "a manual gate beside the steps": (changed(manual_gates=[20]), "is no step"),
    "an error rate that is none": (changed(alpha=0.5), "should be less than 0.5"),
    "a duration that is none": (changed(warm_up="soon"), "spec.warm_up"),
    "a negative duration": (changed(slice=-1), "spec.slice"),
    "a ratio that tolerates too much": (changed(tolerated_ratio=3), "tolerates what"),
    "a watch weight without a watch": (changed(watch=...), "without a watch"),
    "a word that is none": (changed(on_inconclusive="pray"), "Unsupported value"),
    "a gate of an unknown type": (gate(type="dirft"), "Unsupported value"),
    "a gate without its key": (gate(query=...), "needs query"),
    "a gate with a key of another": (gate(max_psi=1), "belongs to gates of type drift"),
    "a gate without a bound": (gate(max=...), "needs min or max"),
    "a query that asks for nobody": (gate(query="depth"), "write {{revision}}"),
    "two gates of one name": (changed(gates=[GOOD["gates"][1], GOOD["gates"][1]]), "Duplicate value"),
    "a gate whose name is none": (gate(name="Queue Depth"), "spec.gates[0].name"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_server_refuses(apply, case):
    spec, words = REFUSED[case]

    said = apply(spec)

    assert "created" not in said
    assert words in said


def test_a_rollout_is_taken_and_shown_in_columns_with_the_status_that_a_controller_writes(apply, kubectl):
    assert "created" in apply(changed())
    status = {
        "phase": "Progressing", "weight": 10, "stable": "v1", "verdict": "undecided", "message": "errors: after 12 requests",
        "state": '{"a":1.0}', "something": {"of": "ours"},
    }  # fmt: skip
    kubectl("patch", "ro", "one", "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))

    head, row = (line.split(maxsplit=7) for line in kubectl("get", "rollouts").splitlines())
    stored = yaml.safe_load(kubectl("get", "ro", "one", "-o", "yaml"))

    assert head == ["NAME", "PHASE", "WEIGHT", "CANARY", "STABLE", "VERDICT", "MESSAGE", "AGE"]
    assert row[:6] == ["one", "Progressing", "10", "v2", "v1", "undecided"]
    assert stored["status"] == status
    assert stored["spec"] == GOOD  # no defaults are written into it
    assert parse_document(stored).spec == parse_document(GOOD).spec


def test_the_sample_is_taken(apply):
    sample = yaml.safe_load((MANIFESTS / "sample-rollout.yaml").read_text())

    assert "created" in apply(sample["spec"], name=sample["metadata"]["name"])


def test_the_service_of_a_rollout_cannot_be_changed_and_its_canary_can(apply):
    apply(changed())

    assert "service cannot be changed" in apply(changed(service="other"))
    assert "configured" in apply(changed(canary="v3"))


def test_a_name_that_is_no_label_is_refused(apply):
    assert "at most 63 characters" in apply(changed(), name="a" * 64)


def test_a_document_that_was_wrapped_is_taken(apply):
    spec = parse_document(changed()).spec
    resource = wrap(spec, "one")

    assert "created" in apply(resource["spec"])
    assert parse_document(resource).spec == spec


def test_a_part_of_the_evidence_log_is_written_once_and_never_changed(apply, kubectl):
    spec = {"rollout": "one", "first": 1, "last": 2, "head": "abc", "records": ['{"a":1.0}', "{}"]}

    assert "created" in apply(spec, kind="RolloutRecord")
    for change in ({"records": ['{"a":1}', "{}"]}, {"last": 3}, {"head": "abd"}):
        assert "never changed" in apply({**spec, **change}, kind="RolloutRecord")
    assert kubectl("get", "rolloutrecords").splitlines()[0].split() == ["NAME", "ROLLOUT", "FIRST", "LAST", "AGE"]
    assert json.loads(kubectl("get", "ror", "one", "-o", "json"))["spec"] == spec


def test_schemas_are_structural_and_without_defaults():
    for crd in (crd_rollout(), crd_record()):
        text = json.dumps(crd["spec"]["versions"][0]["schema"])

        assert not [key for key in ("$ref", "default", "const", "oneOf", "additionalProperties") if f'"{key}":' in text]
