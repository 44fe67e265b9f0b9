"""The manifests of the operator: everything parses, nothing is missing, and the account may do what it does and no more."""

import re
import subprocess

import pytest
import yaml

from mlops_obs.adapters.kubernetes.controller_side import LEASE
from mlops_obs.adapters.kubernetes.lease import Elector, LeaseLock
from mlops_obs.adapters.kubernetes.operator import Operator, Settings
from mlops_obs.adapters.kubernetes.self_metrics import SelfMetrics
from mlops_obs.rollout.controller import Controller
from mlops_obs.rollout.spec.document import parse_document
from tests.kubernetes.cluster_world import BAD, ClusterWorld
from tests.kubernetes.conftest import MANIFESTS

ROOT = MANIFESTS.parents[2]
ADAPTERS = ROOT / "mlops_obs" / "adapters"


@pytest.fixture(scope="module")
def built():
    """What `kubectl apply -k` would apply, by kind and name."""
    done = subprocess.run(["kubectl", "kustomize", str(MANIFESTS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(done.stdout)}


def granted(role):
    """Return {resource with its group: verbs}."""
    out = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                out.setdefault(f"{group}/{resource}", set()).update(rule["verbs"])
    return out


@pytest.fixture
def used(api, namespace, kubeconfig):
    """{resource: verbs} of a promotion, a rollback, a deletion and an election, as an API server sees them."""
    found = {}
    send = api._send

    def named(verb, method, resource, path, **more):
        plural = f"{resource.group}/{resource.plural}" + ("/status" if path.endswith("/status") else "")
        found.setdefault(plural, set()).add(verb)
        return send(verb, method, resource, path, **more)

    api._send = named
    for errors in (0.0, BAD):
        world = ClusterWorld(api, f"{namespace}-{errors > 0:d}", errors=errors)
        del api._send  # what people do is not the operator's
        world.apply()
        api._send = named
        world.run(20, until=lambda state: state.weight == 20)
        world.run(60)
        world.reconciler._stores(world.namespace).history("credit-risk-1")  # as after a restart
        del api._send
        world.delete()
        api._send = named
        world.look()
    metrics, told = SelfMetrics(), world.told
    elector = Elector(LeaseLock(api, namespace, LEASE), "op")
    operator = Operator(
        api,
        elector,
        told,
        Settings(namespace, workers=1, deploys=1),
        make_target=lambda _: world.target,
        make_controller=lambda name, store, target, spec: Controller(spec.service, store, target, world.counters, owner="", clock=float),
        metrics=metrics,
    )
    operator.start()
    assert operator.informer.synced.wait(30)
    assert operator.stop(30)
    return found


def test_the_operator_may_do_exactly_what_it_does_to_our_own_objects(built, used):
    roles = granted(built["ClusterRole", "rollout-operator"]) | granted(built["Role", "rollout-operator-leader"])
    own = {key: verbs for key, verbs in roles.items() if key.split("/")[0] in ("mlops-obs.dev", "coordination.k8s.io")}

    assert own == used


def test_every_kind_of_object_that_an_adapter_knows_is_granted_and_none_else(built):
    text = "".join(path.read_text() for path in ADAPTERS.glob("*.py"))
    known = {f"{group}/{plural}" for group, plural in re.findall(r'Resource\("([^"]*)", "[^"]*", "([^"]*)"', text)}
    roles = granted(built["ClusterRole", "rollout-operator"])
    targets = {key: verbs for key, verbs in roles.items() if key.split("/")[0] not in ("mlops-obs.dev", "")}

    assert set(targets) == known
    assert all(verbs <= {"get", "patch", "create"} for verbs in targets.values())
    assert roles["/events"] == {"create"}


def test_nobody_at_all_may_change_or_delete_evidence(built):
    for (kind, _), one in built.items():
        if kind in ("Role", "ClusterRole"):
            assert not granted(one).get("mlops-obs.dev/rolloutrecords", set()) & {"update", "patch", "delete", "deletecollection", "*"}


def test_the_pod_is_locked_down_as_the_restricted_standard_asks(built):
    pod = built["Deployment", "rollout-operator"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    assert {container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")} == {"/healthz", "/readyz"}
    assert built["Namespace", "mlops-obs"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_everything_selects_the_pods_of_the_deployment(built):
    deployment = built["Deployment", "rollout-operator"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]

    assert deployment["selector"]["matchLabels"] == labels
    assert built["Service", "rollout-operator"]["spec"]["selector"] == labels
    assert built["PodDisruptionBudget", "rollout-operator"]["spec"]["selector"]["matchLabels"] == labels
    assert built["NetworkPolicy", "rollout-operator"]["spec"]["podSelector"]["matchLabels"] == labels
    assert built["PodMonitor", "rollout-operator"]["spec"]["selector"]["matchLabels"] == labels
    assert deployment["template"]["spec"]["serviceAccountName"] in {name for kind, name in built if kind == "ServiceAccount"}
    assert deployment["replicas"] > built["PodDisruptionBudget", "rollout-operator"]["spec"]["minAvailable"]


def test_the_operators_options_are_ones_that_it_takes_and_every_address_is_set(built):
    from typer.testing import CliRunner

    from mlops_obs.cli.rollout import app

    (container,) = built["Deployment", "rollout-operator"]["spec"]["template"]["spec"]["containers"]
    usage = CliRunner().invoke(app, [*container["command"][2:], "--help"], terminal_width=200).output
    options = dict(one.partition("=")[::2] for one in container["args"])
    named = {name for value in options.values() for name in re.findall(r"\$\((\w+)\)", value)}

    assert [option for option in options if option not in usage] == []
    assert named == set(built["ConfigMap", "rollout-operator"]["data"])
    assert options["--health-port"] == str(container["ports"][0]["containerPort"])


def test_the_example_is_a_rollout_that_the_api_server_takes(kubectl, tmp_path):
    example = yaml.safe_load((MANIFESTS.parent / "rollout.yaml").read_text())
    assert parse_document(example).spec.canary == "v2"
    del example["metadata"]["namespace"]
    (tmp_path / "rollout.yaml").write_text(yaml.safe_dump(example))

    assert "created" in kubectl("apply", "--validate=strict", "-f", str(tmp_path / "rollout.yaml"))


def test_the_leader_election_role_names_the_lease_that_the_operator_takes(built):
    (named,) = [rule for rule in built["Role", "rollout-operator-leader"]["rules"] if "resourceNames" in rule]

    assert named["resourceNames"] == [LEASE]
