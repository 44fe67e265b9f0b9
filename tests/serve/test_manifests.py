"""The Kubernetes manifests are what the API servers' own schemas accept, and name only code that exists."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "platform" / "manifests"
CRDS = ROOT.parent / "shared" / "k8s" / "crds"
DOCUMENTS = [(path.name, one) for path in sorted(MANIFESTS.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text())]
SCHEMAS = {"InferenceService": "serving.kserve.io_inferenceservices.yaml", "RayService": "ray.io_rayservices.yaml"}


def by_kind(kind):
    return next(one for _, one in DOCUMENTS if one["kind"] == kind)


def unknown_fields(value, schema, path=""):
    """What an API server prunes without a word: fields that the schema does not have."""
    if schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema:
        return []
    if isinstance(value, list):
        return [found for index, one in enumerate(value) for found in unknown_fields(one, schema.get("items", {}), f"{path}[{index}]")]
    if not isinstance(value, dict) or "properties" not in schema:
        return []
    known = schema["properties"]
    wrong = [f"{path}.{key}" for key in value if key not in known]
    return wrong + [found for key in value if key in known for found in unknown_fields(value[key], known[key], f"{path}.{key}")]


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_custom_resource_fits_the_schema_of_its_definition(kind):
    definition = CRDS / SCHEMAS[kind]
    if not definition.exists():
        pytest.skip(f"no CRD to check {kind} against: {SCHEMAS[kind]} is missing")
    document = by_kind(kind)
    version = document["apiVersion"].rpartition("/")[2]
    versions = yaml.load(definition.read_text(), yaml.CSafeLoader)["spec"]["versions"]
    schema = next(one for one in versions if one["name"] == version)["schema"]["openAPIV3Schema"]

    jsonschema.validate(document, schema)

    assert unknown_fields(document["spec"], schema["properties"]["spec"], "spec") == []


def test_the_schema_check_finds_a_misspelt_field():
    schema = {"properties": {"predictor": {"properties": {"minReplicas": {}}}}}

    assert unknown_fields({"predictor": {"minReplica": 1}}, schema, "spec") == ["spec.predictor.minReplica"]


def test_the_serve_config_is_one_that_ray_accepts_and_its_builders_build():
    from feature_train_serve.serve import ray_app
    from ray.serve.schema import ServeDeploySchema

    config = ServeDeploySchema.parse_obj(yaml.safe_load(by_kind("RayService")["spec"]["serveConfigV2"]))

    built = {}
    for app in config.applications:
        module, _, function = app.import_path.partition(":")
        assert ray_app.__name__ == module
        built[app.name] = getattr(ray_app, function)(app.args)
    assert {name: app._bound_deployment.name for name, app in built.items()} == {
        "credit-risk-v1": ray_app.PREDICTOR,
        "ingress": ray_app.INGRESS,
    }


def test_the_container_runs_a_module_that_exists():
    command = by_kind("ServingRuntime")["spec"]["containers"][0]["command"]

    assert importlib.util.find_spec(command[command.index("-m") + 1])


def test_the_rollout_ships_the_service_of_the_manifest():
    target = by_kind("Rollout")["spec"]["target"]["kserve"]
    service = by_kind("InferenceService")["metadata"]

    assert {"namespace": service["namespace"], "name": service["name"]} == {key: target[key] for key in ("namespace", "name")}
    assert by_kind("Rollout")["metadata"]["namespace"] == service["namespace"]
