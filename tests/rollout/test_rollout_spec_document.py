"""A document is read whole: every mistake at once, each with its line and its remedy; bare, wrapped, and as it is written back."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import product
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.adapters.yaml_documents import parse_documents
from mlops_obs.cli import rollout_schema
from mlops_obs.errors import SpecError
from mlops_obs.rollout.spec.document import parse_document, plain, wrap
from mlops_obs.rollout.spec.gates import GATES, counts
from mlops_obs.rollout.spec.lint import lint
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.rollout.spec.schema import json_schema
from mlops_obs.slo.spec_errors import SpecErrors

ROOT = Path(__file__).parents[2]
GOOD = {"service": "credit-risk", "canary": "v2", "package": "/packages/v2"}
VALID = jsonschema.Draft202012Validator(json_schema())


def errors(text: str) -> list[str]:
    (read,) = parse_documents(text, "rollout.yaml")
    with pytest.raises(SpecErrors) as caught:
        parse_document(read.value, read.locate)
    return str(caught.value).splitlines()


def refused(**changes: object) -> str:
    with pytest.raises(SpecError) as caught:
        parse_document({**GOOD, **changes})
    return str(caught.value)


def test_every_mistake_of_a_document_is_told_at_once_with_its_line_and_its_remedy():
    text = """\
service: credit-risk
canry: v2
package: models/v2
alpha: 2
steps: [50, 20]
gates:
  - {name: Inputs, type: drift, max_pis: 0.2}
  - name: queue
    type: promqll
  - {name: depth, type: promql, query: depth, max: 3}
target: {kserve: {namespace: a, nmae: b}}
"""

    asked = 'write {{revision}} in it, for example revision="{{revision}}"'
    assert errors(text) == [
        "rollout.yaml:2: unknown key canry; did you mean canary? [OBS-ROLL-002]",
        "rollout.yaml:4: alpha: 2 is too large; write less than 0.5 [OBS-ROLL-003]",
        "rollout.yaml:5: steps must rise and end at 100; write for example [20, 50, 100] [OBS-ROLL-003]",
        "rollout.yaml:7: gates[0].name: 'Inputs' is not a plain name; use at most 63 of a-z, 0-9 and -, ends without - [OBS-ROLL-003]",
        "rollout.yaml:7: unknown key gates[0].max_pis; did you mean max_psi? [OBS-ROLL-002]",
        "rollout.yaml:9: gates[1]: type 'promqll' is not known; did you mean promql? [OBS-ROLL-003]",
        f"rollout.yaml:10: gates[2].query: the query does not say whose value it is; {asked} [OBS-ROLL-003]",
        "rollout.yaml:11: unknown key target.kserve.nmae; did you mean name? [OBS-ROLL-002]",
    ]


def test_a_key_of_an_older_release_is_named_with_the_one_that_replaced_it():
    assert "did you mean least_detectable_ratio?" in refused(least_detectable_odds=2)


CASES = {
    "a target without a platform": ({"target": {}}, "exactly one of ray_serve, kserve, kserve_llm, kuberay"),
    "two platforms": (
        {"target": {"kserve": {"namespace": "a", "name": "b"}, "kuberay": {"namespace": "a", "name": "b"}}},
        "target needs exactly one",
    ),
    "the same service twice": (
        {"target": {"kserve_llm": {"namespace": "a", "stable": "b", "canary": "b", "group": "g"}}},
        "target.kserve_llm.canary: stable and canary are the same",
    ),
    "a mode that is none": ({"target": {"kserve": {"namespace": "a", "name": "b", "mode": "Serverless"}}}, "write 'Knative' or 'Standard'"),
    "a manual gate beside the steps": ({"steps": [10, 100], "manual_gates": [50]}, "50 is no step, so nobody would be asked"),
    "a manual gate beyond 100": ({"pace": "auto", "manual_gates": [150]}, "a percentage from 1 to 100"),
    "a block within a slice": ({"slice": "2m", "block": "1m"}, "a block of 60 s is shorter than a slice; write 120s or more"),
    "tolerating what is looked for": ({"tolerated_ratio": 3}, "tolerates what least_detectable_ratio 2 wants found; write at most 2"),
    "a watch weight without a watch": ({"watch_weight": 5}, "means nothing without a watch"),
    "traffic without a unit": ({"expected_requests": "20"}, "write for example 20/s, 600/m or 5000/h"),
    "a duration that is a list": ({"deadline": ["1m"]}, "write a duration such as 10s"),
    "a negative duration": ({"deadline": -3}, "a duration is positive and finite"),
    "a gate that is a word": ({"gates": ["drift"]}, "gates[0]: 'drift' is not a mapping"),
    "a gate without a type": ({"gates": [{"name": "a"}]}, "gates[0]: type is missing; write type: latency, slo"),
    "two gates of one name": ({"gates": [{"name": "a", "type": "latency"}] * 2}, "gates[1].name: two gates are called 'a'"),
    "a gate called as a test": ({"gates": [{"name": "errors", "type": "latency"}]}, "the name of a test that every rollout has"),
    "a query with a mark that nobody knows": (
        {"gates": [{"name": "a", "type": "promql", "query": "x{a='{{canary}}'}", "max": 1}]},
        "{{canary}} is not known in a query",
    ),
    "bounds that are the wrong way round": (
        {"gates": [{"name": "a", "type": "promql", "query": "{{revision}}", "min": 2, "max": 1}]},
        "gates[0].min: min 2 is above max 1",
    ),
    "steps that are no numbers": ({"steps": ["a", 100]}, "steps[0]: 'a' is not a whole number"),
    "a truth among numbers": ({"steps": [True, 100]}, "steps[0]: true is not a whole number"),
    "a truth for a number": ({"watch": "1h", "watch_weight": True}, "watch_weight: true is neither text nor a number"),
    "a truth for a bound": ({"gates": [{"name": "a", "type": "drift", "max_psi": True}]}, "gates[0].max_psi: true is neither"),
    "a truth for text": ({"canary": False}, "canary: false is neither text nor a number; write the value, in quotes if it is text"),
    "an empty service": ({"service": ""}, "service: '' is empty"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_refused_in_words(case):
    changes, words = CASES[case]

    assert words in refused(**changes)


def test_a_wrapped_document_is_the_resource_of_a_cluster_and_its_status_is_left_alone():
    text = yaml.safe_dump({**wrap(parse_document(GOOD).spec, "cr", "models", {"team": "risk"}), "status": {"phase": "Promoted"}})
    (read,) = parse_documents(text, "ro.yaml")

    document = parse_document(read.value, read.locate)

    assert (document.wrapped, document.name, document.namespace, document.labels) == (True, "cr", "models", {"team": "risk"})
    assert document.spec == parse_document(GOOD).spec
    assert not parse_document(GOOD).wrapped


def test_mistakes_around_the_spec_of_a_wrapped_document_are_told_with_those_in_it():
    head = "apiVersion: mlops-obs.dev/v1\nkind: Rollout\nmetadata: {}\ncanary: v2\n"
    text = head + "spec:\n  service: a\n  canary: b\n  package: c\n  alhpa: 1\n"

    assert errors(text) == [
        "rollout.yaml:1: apiVersion is 'mlops-obs.dev/v1'; write apiVersion: mlops-obs.dev/v1alpha1 [OBS-ROLL-003]",
        "rollout.yaml:3: metadata.name is missing; write metadata: {name: ...} [OBS-ROLL-003]",
        "rollout.yaml:4: unknown key canary (it belongs below spec); known keys: apiVersion, kind, metadata, spec, status [OBS-ROLL-002]",
        "rollout.yaml:9: unknown key alhpa; did you mean alpha? [OBS-ROLL-002]",
    ]


def test_a_resource_without_a_spec_is_refused():
    assert "spec is missing" in errors("apiVersion: mlops-obs.dev/v1alpha1\nkind: Rollout\nmetadata: {name: a}\n")[0]


def test_two_targets_are_the_same_if_they_move_the_same_traffic_however_they_are_reached():
    one, same, other, kind = (
        parse_document({**GOOD, "target": target}).spec.target
        for target in (
            {"kserve": {"namespace": "a", "name": "b"}},
            {"kserve": {"namespace": "a", "name": "b", "kubeconfig": "/k", "mode": "Standard"}},
            {"kserve": {"namespace": "a", "name": "c"}},
            {"kuberay": {"namespace": "a", "name": "b"}},
        )
    )

    assert one is not None
    assert [one.is_same_as(that) for that in (one, same, other, kind) if that] == [True, True, False, False]


def test_no_warm_up_can_be_written_and_none_at_all_means_two_minutes():
    assert [parse_document({**GOOD, "warm_up": one}).spec.warm_up_seconds for one in (None, "0s", 0, "1m30s")] == [120, 0, 0, 90]


def test_a_block_is_a_minute_or_a_slice_if_that_is_longer():
    assert [parse_document({**GOOD, "slice": one}).spec.block for one in ("2s", "1m", "2m")] == [60, 60, 120]
    assert "block" not in plain(parse_document({**GOOD, "slice": "2m"}).spec)


def test_what_is_tolerated_is_the_root_of_what_is_looked_for_unless_it_is_written():
    assert parse_document({**GOOD, "least_detectable_ratio": 4}).spec.tolerated == 2
    assert parse_document({**GOOD, "least_detectable_ratio": 4, "tolerated_ratio": 1.5}).spec.tolerated == 1.5


def test_traffic_is_read_in_any_unit():
    rates = [parse_document({**GOOD, "expected_requests": one}).spec.requests_per_second for one in ("20/s", "600/m", "0.5 / s", None)]

    assert rates == [20, 10, 0.5, None]


def test_gates_that_count_are_told_from_those_that_compare_with_a_threshold():
    more = {"slo": {"slo": "x"}, "promql": {"query": "{{ revision }}", "max": 1}, "counters": {"bad": "b", "total": "t"}}
    spec = parse_document({**GOOD, "gates": [{"name": f"g{i}", "type": kind, **more.get(kind, {})} for i, kind in enumerate(GATES)]}).spec

    assert [gate.type for gate in spec.gates if counts(gate)] == ["latency", "slo", "quality", "counters"]
    assert Rollout.model_validate_json(spec.model_dump_json()) == spec


seconds = st.sampled_from(["250ms", "2.5ms", "1m30s", "10s", "2h", 3, 7.5])
gates = st.lists(
    st.one_of(
        st.fixed_dictionaries({"type": st.just("latency"), "dry_run": st.booleans()}),
        st.fixed_dictionaries({"type": st.just("drift"), "max_psi": st.floats(0.01, 5), "for": seconds}),
        st.fixed_dictionaries({"type": st.just("quality"), "cohort": seconds, "maturity": st.sampled_from(["0s", "1d"])}),
        st.fixed_dictionaries({"type": st.just("promql"), "query": st.just("x{r='{{ revision }}'}"), "min": st.floats(-5, 5)}),
    ),
    max_size=4,
)
documents = st.fixed_dictionaries(
    {
        "steps": st.lists(st.integers(1, 99), unique=True, max_size=5).map(lambda steps: [*sorted(steps), 100]),
        "alpha": st.floats(0.0001, 0.49),
        "deadline": seconds,
        "watch": st.none() | seconds,
        "warm_up": st.none() | st.just("0s") | seconds,
        "latency_threshold": st.sampled_from(["2.5ms", "250ms", 0.1]),
        "expected_requests": st.none() | st.just("20/s"),
        "gates": gates,
        "target": st.none() | st.just({"kuberay": {"namespace": "a", "name": "b"}}),
    }
)


@given(documents)
def test_what_is_written_back_is_the_same_rollout_and_the_published_schema_takes_it(document):
    document["gates"] = [{"name": f"g{index}", **gate} for index, gate in enumerate(document["gates"])]
    spec = parse_document({**GOOD, **document}).spec

    written = plain(spec)

    assert parse_document(written).spec == spec
    assert parse_document(yaml.safe_load(yaml.safe_dump(written))).spec == spec
    assert Rollout.model_validate_json(spec.model_dump_json()) == spec
    VALID.validate(written)
    VALID.validate({**GOOD, **document})


@pytest.mark.parametrize(
    "change",
    [{"warmup": "2m"}, {"alpha": 2}, {"gates": [{"name": "a", "type": "drfit"}]}, {"steps": ["x"]}, {"target": {"kserve": {"name": "b"}}}],
    ids=str,
)
def test_the_published_schema_refuses_what_the_parser_refuses(change):
    assert refused(**change)
    assert not VALID.is_valid({**GOOD, **change})


def test_the_published_schema_wants_a_target_in_a_resource():
    resource = wrap(parse_document(GOOD).spec, "cr")

    assert not VALID.is_valid(resource)
    resource["spec"]["target"] = {"kuberay": {"namespace": "a", "name": "b"}}
    VALID.validate(resource)


def test_the_generated_files_are_committed_as_the_models_are(tmp_path, capsys):
    for name, text in rollout_schema.generated().items():
        assert (ROOT / rollout_schema.FOLDER / name).read_text() == text, "run obs rollout schema --write"

    with pytest.raises(SpecError, match="OBS-ROLL-030"):
        rollout_schema.schema(check=True, folder=tmp_path)
    rollout_schema.schema(write=True, folder=tmp_path)
    rollout_schema.schema(check=True, folder=tmp_path)
    rollout_schema.schema(folder=tmp_path)
    printed = capsys.readouterr().out
    assert json.loads(printed[printed.index("{") :])["title"] == "Rollout"


WHOLE = {
    **GOOD,
    "steps": [10, 100],
    "target": {"kserve": {"namespace": "a", "name": "b"}},
    "gates": [{"name": "a", "type": "promql", "query": "{{revision}}", "max": 1, "for": "5m"}, {"name": "b", "type": "drift"}],
}
NUMBERS = (True, 0, -1, 1e300, 1e-300, 10**400, float("nan"), float("inf"), Decimal("NaN"))
JUNK = (*NUMBERS, None, "", "x", "\n", "10s", [], {}, [[]], [None], {"a": None}, {1: 2}, b"x", object())


def places(node: object, path: tuple = ()):
    yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def put(node, path, value):
    if not path:
        return value
    if isinstance(node, list):
        return [put(one, path[1:], value) if index == path[0] else one for index, one in enumerate(node)]
    return {**node, path[0]: put(node[path[0]], path[1:], value)}


def in_words(error: SpecErrors) -> bool:
    return all(one.what and one.todo and "\n" not in one.what for one in error.errors)


def test_whatever_stands_anywhere_in_a_document_it_is_taken_or_refused_in_words():
    for whole in (WHOLE, wrap(parse_document(WHOLE).spec, "one", "two", {"a": "b"})):
        for path, junk in product(places(whole), JUNK):
            taken = None
            try:
                taken = parse_document(put(whole, path, junk))
            except SpecErrors as error:
                assert in_words(error), (path, junk)  # noqa: PT017 - most are refused, a few are taken
            assert taken is None or parse_document(plain(taken.spec)).spec == taken.spec, (path, junk)


@pytest.mark.parametrize("path", ["platform/local/rollout.yaml", "platform/manifests/rollouts/sample-rollout.yaml"])
def test_an_example_in_the_repository_is_a_rollout_without_findings_of_weight(path):
    read = yaml.safe_load((ROOT / path).read_text())
    document = parse_document(read if "spec" in read else {"canary": "v2", "package": "models/v2", **read})

    assert [str(one) for one in lint(document.spec) if one.level != "note"] == []
