"""The rollout document as JSON Schema, and as the custom resources `Rollout` and `RolloutRecord`: both made from the models.

Kubernetes takes only *structural* schemas: no `$ref`, no types below `anyOf`, no `additionalProperties: false`. So gates of
several types become one object with an enum `type`, and rules in CEL say which keys belong to which type. Unknown keys are
refused by the server's strict field validation, which kubectl asks for.

Three traps. A default in the schema would be written into every stored object and stay there when ours changes, so there are
none. The server reads 1.0 and stores 1, so what is hashed is kept as text. And a path such as `kubeconfig` in a resource would
let whoever may write Rollouts choose the controller's credentials, so the resource has none.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mlops_obs.rollout.spec.document import API_VERSION, GROUP, KIND, VERSION
from mlops_obs.rollout.spec.fields import DURATION_PATTERN
from mlops_obs.rollout.spec.gates import GATES
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.rollout.spec.target import TARGETS

Schema = dict[str, Any]
RECORD_KIND = "RolloutRecord"
ANY: Schema = {"x-kubernetes-preserve-unknown-fields": True}
_NOT_IN_A_CLUSTER = ("kubeconfig",)
_KEEP = ("description", "type", "enum", "pattern", "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum", "nullable")
_COMMON = frozenset({"name", "type", "dry_run"})


def json_schema() -> Schema:
    """Return the JSON Schema (2020-12) of a document, bare or wrapped as the resource."""
    bare = Rollout.model_json_schema(by_alias=True)
    definitions = bare.pop("$defs")
    definitions["Spec"] = bare
    wrapped = {
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": KIND},
            "metadata": {"type": "object", "required": ["name"]},
            "spec": {"allOf": [{"$ref": "#/$defs/Spec"}], "required": ["target"]},
            "status": {"type": "object"},
        },
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Rollout",
        "description": "A rollout of one model revision: a bare document, or the Kubernetes resource.",
        "type": "object",
        "if": {"anyOf": [{"required": ["apiVersion"]}, {"required": ["kind"]}]},
        "then": wrapped,
        "else": {"$ref": "#/$defs/Spec"},
        "$defs": definitions,
    }


def crd_rollout() -> Schema:
    """Return the definition of `Rollout`: its spec from the models, its status as the controller writes it."""
    columns = [
        _column("Phase", ".status.phase", "string", "where the rollout stands"),
        _column("Weight", ".status.weight", "integer", "percent of traffic that the canary should get"),
        _column("Canary", ".spec.canary", "string", "revision that is shipped"),
        _column("Stable", ".status.stable", "string", "revision that it is compared with"),
        _column("Verdict", ".status.verdict", "string", "what the evidence says now"),
        _column("Message", ".status.message", "string", "why"),
        _column("Age", ".metadata.creationTimestamp", "date", "since when it is there"),
    ]
    schema = _resource("Ships one revision of a model service step by step; rolls it back on evidence.", _spec_schema(), _status_schema())
    schema["x-kubernetes-validations"] = [
        {"rule": "size(self.metadata.name) <= 63", "message": "the name is a label value, so it has at most 63 characters"},
    ]
    return _crd(KIND, "rollouts", ["ro"], schema, columns, status=True)


def crd_record() -> Schema:
    """Return the definition of `RolloutRecord`: a part of a rollout's evidence log. It is written once and never changed."""
    text, number = {"type": "string"}, {"type": "integer", "format": "int64", "minimum": 0}
    spec = {
        "type": "object",
        "required": ["rollout", "first", "last", "records"],
        "properties": {
            "rollout": text | {"maxLength": 253, "description": "id of the rollout"},
            "first": number | {"description": "number of the first record"},
            "last": number | {"description": "number of the last record"},
            "head": text | {"maxLength": 128, "description": "hash of the last record"},
            "part": number | {"description": "which piece this is, if one record is larger than an object may be"},
            "of": number | {"description": "of how many pieces"},
            "records": {
                "type": "array",
                "maxItems": 4096,
                "items": {"type": "string", "maxLength": 1048576},
                "description": "records as canonical JSON text, a hash chain",
                "x-kubernetes-list-type": "atomic",
            },
        },
        "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "a record is never changed"}],
    }
    columns = [
        _column("Rollout", ".spec.rollout", "string", "id of the rollout"),
        _column("First", ".spec.first", "integer", "number of the first record"),
        _column("Last", ".spec.last", "integer", "number of the last record"),
        _column("Age", ".metadata.creationTimestamp", "date", "since when it is there"),
    ]
    schema = _resource("A part of the evidence log of a rollout: append-only, hash-chained.", spec, None)
    return _crd(RECORD_KIND, "rolloutrecords", ["ror"], schema, columns, status=False)


def _crd(kind: str, plural: str, short: list[str], schema: Schema, columns: list[Schema], *, status: bool) -> Schema:
    version: Schema = {"name": VERSION, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    if status:
        version["subresources"] = {"status": {}}
    version["additionalPrinterColumns"] = columns
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower(),
                "shortNames": short, "categories": ["mlops-obs"],
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }  # fmt: skip


def _column(name: str, path: str, kind: str, words: str) -> Schema:
    return {"name": name, "type": kind, "jsonPath": path, "description": words}


def _resource(words: str, spec: Schema, status: Schema | None) -> Schema:
    properties: Schema = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}, "spec": spec}
    if status:
        properties["status"] = status
    return {"description": words, "type": "object", "required": ["spec"], "properties": properties}


def _spec_schema() -> Schema:
    full = Rollout.model_json_schema(by_alias=True)
    schema = _structural(full, full["$defs"])
    schema["required"] = [*schema["required"], "target"]
    properties = schema["properties"]
    del properties["target"]["nullable"]
    properties["steps"] |= {
        "minItems": 1,
        "x-kubernetes-validations": [
            {"rule": "self.isSorted() && self.all(x, self.exists_one(y, y == x)) && self[size(self) - 1] == 100 && self[0] >= 1",
             "message": "steps must rise and end at 100, for example [20, 50, 100]"},
        ],
    }  # fmt: skip
    properties["manual_gates"]["items"] |= {"minimum": 1, "maximum": 100}
    properties["manual_gates"]["x-kubernetes-list-type"] = "set"
    properties["gates"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    properties["target"]["x-kubernetes-validations"] = [
        {"rule": f"[{', '.join(f'has(self.{kind})' for kind in TARGETS)}].exists_one(given, given)",
         "message": f"target needs exactly one of {', '.join(TARGETS)}"},
    ]  # fmt: skip
    schema["x-kubernetes-validations"] = [
        {"rule": "self.service == oldSelf.service", "message": "service cannot be changed; write another Rollout"},
        {"rule": "!has(self.tolerated_ratio) || self.tolerated_ratio <= "
                 "(has(self.least_detectable_ratio) ? self.least_detectable_ratio : 2.0)",
         "message": "tolerated_ratio tolerates what least_detectable_ratio wants found"},
        {"rule": "!has(self.manual_gates) || (has(self.pace) && self.pace == 'auto') || "
                 "self.manual_gates.all(x, x in (has(self.steps) ? self.steps : [20, 50, 100]))",
         "message": "a weight in manual_gates is no step"},
        {"rule": "!has(self.watch_weight) || self.watch_weight == 0 || has(self.watch)",
         "message": "watch_weight means nothing without a watch"},
    ]  # fmt: skip
    return schema


def _status_schema() -> Schema:
    def said(kind: str, words: str) -> Schema:
        return {"type": kind, "description": words}

    condition = {
        "type": "object",
        "required": ["type", "status", "lastTransitionTime", "reason", "message"],
        "properties": {
            "type": {"type": "string", "maxLength": 316},
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "reason": {"type": "string", "maxLength": 1024},
            "message": {"type": "string", "maxLength": 32768},
        },
    }
    return {
        "type": "object",
        "description": "Written by the controller; `state` is the point at which a decision is committed.",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {
            "phase": said("string", "where the rollout stands"),
            "weight": said("integer", "percent of traffic that the canary should get"),
            "observedWeight": said("number", "percent of the requests that it got"),
            "step": said("string", "which step of how many, such as 2/3"),
            "rollout": said("string", "id of the rollout that this spec has now"),
            "number": said("integer", "how many rollouts this resource has had"),
            "reason": said("string", "the phase's reason in one word"),
            "problem": said("string", "what keeps the controller from acting"),
            "stable": said("string", "revision that the canary is compared with"),
            "verdict": said("string", "what the evidence says now"),
            "attribution": said("string", "whose fault it is: none, canary, shared or telemetry"),
            "message": said("string", "why the rollout stands where it does"),
            "observedGeneration": {"type": "integer", "format": "int64", "description": "generation of the spec that was last acted upon"},
            "answered": {"type": "integer", "format": "int64", "description": "number of the last request of a person that was answered"},
            "token": {"type": "integer", "format": "int64", "description": "fencing token of the controller that wrote this"},
            "startedAt": {"type": "string", "format": "date-time"},
            "endedAt": {"type": "string", "format": "date-time"},
            "conditions": {
                "type": "array", "items": condition, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
            },
            "evidence": ANY | {"description": "the newest statistics against their bounds"},
            "recordsHead": ANY | {"description": "number and hash of the newest record"},
            "state": ANY | {"description": "the controller's memory, as canonical JSON text"},
            "pending": ANY | {"description": "records that are decided and not yet written as RolloutRecords"},
            "sealed": {"type": "integer", "format": "int64", "description": "number of the last record that stands in a RolloutRecord"},
            "segments": ANY | {"description": "first numbers of the RolloutRecords"},
            "summary": ANY | {"description": "how many decisions of each kind there were"},
            "knownBad": ANY | {"description": "digests that were rolled back"},
            "past": ANY | {"description": "ids of earlier rollouts"},
        },
    }  # fmt: skip


def _structural(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """Turn what pydantic says into what Kubernetes takes."""
    if "$ref" in schema:
        target = definitions[schema["$ref"].rpartition("/")[2]]
        return _structural({**target, **({"description": schema["description"]} if "description" in schema else {})}, definitions)
    if "anyOf" in schema:
        return _of_several(schema, definitions)
    if "oneOf" in schema and "discriminator" in schema:
        return _gate_schema(schema, definitions)
    out = {key: copy.deepcopy(value) for key, value in schema.items() if key in _KEEP}
    for bound, edge in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if bound in schema:
            out |= {edge: schema[bound], bound: True}
    if "const" in schema:
        out["enum"] = [schema["const"]]
    if schema.get("type") == "array":
        out |= {"items": _structural(schema["items"], definitions), "x-kubernetes-list-type": "atomic"}
        out.setdefault("maxItems", 100)
    if schema.get("type") == "string" and "enum" not in out:
        out.setdefault("maxLength", 1024)
    if schema.get("type") == "object":
        inner = {key: one for key, one in schema["properties"].items() if key not in _NOT_IN_A_CLUSTER}
        out["properties"] = {key: _structural(one, definitions) for key, one in inner.items()}
        if schema.get("required"):
            out["required"] = list(schema["required"])
    return out


def _of_several(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """A duration (text or number), or something that may also be null."""
    kinds = [one for one in schema["anyOf"] if one.get("type") != "null"]
    words = {"description": schema["description"]} if "description" in schema else {}
    nullable = {"nullable": True} if len(kinds) < len(schema["anyOf"]) else {}
    if len(kinds) == 1:
        return _structural({**kinds[0], **words}, definitions) | nullable
    if any(one.get("pattern") == DURATION_PATTERN for one in kinds):
        either = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
        return words | either | {"pattern": DURATION_PATTERN, "minLength": 1, "maxLength": 32, "minimum": 0} | nullable
    raise ValueError(f"no structural schema for {kinds}")


def _gate_schema(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """Merge the types of gates into one object; CEL says which keys belong to which type."""
    kinds: dict[str, Schema] = {
        tag: _structural(definitions[reference.rpartition("/")[2]], definitions)
        for tag, reference in schema["discriminator"]["mapping"].items()
    }
    properties: Schema = {}
    owners: dict[str, list[str]] = {}
    needs: dict[str, list[str]] = {}
    for tag in GATES:
        for key, one in kinds[tag]["properties"].items():
            if key not in _COMMON:
                owners.setdefault(key, []).append(tag)
            properties.setdefault(key, one)
        for key in kinds[tag].get("required", ()):
            if key not in _COMMON:
                needs.setdefault(key, []).append(tag)
    properties["type"] = {"type": "string", "enum": list(GATES), "description": "what is asked"}
    rules = [
        {"rule": f"self.type in {_list(tags)} || !has(self.{_cel(key)})", "message": f"{key} belongs to gates of type {', '.join(tags)}"}
        for key, tags in owners.items()
    ]
    rules += [
        {"rule": f"!(self.type in {_list(tags)}) || has(self.{_cel(key)})", "message": f"a gate of type {', '.join(tags)} needs {key}"}
        for key, tags in needs.items()
    ]
    rules.append({"rule": "self.type != 'promql' || has(self.min) || has(self.max)", "message": "a promql gate needs min or max"})
    rules.append({"rule": "!has(self.query) || self.query.contains('{{')", "message": "write {{revision}} in the query"})
    return {
        "type": "object",
        "description": "a question beside errors and slow requests",
        "required": ["name", "type"],
        "properties": properties,
        "x-kubernetes-validations": rules,
    }


def _list(words: list[str]) -> str:
    return "[" + ", ".join(f"'{word}'" for word in words) + "]"


def _cel(key: str) -> str:
    """CEL has reserved words, which Kubernetes escapes so."""
    return f"__{key}__" if key in ("for", "if", "in", "let", "var", "void", "while", "loop", "import", "package", "namespace") else key
