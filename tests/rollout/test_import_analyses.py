"""Analyses of Argo Rollouts and Flagger come over as gates, and nothing that differs is passed over in silence."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner

from mlops_obs.cli import rollout_import
from mlops_obs.errors import UsageError
from mlops_obs.rollout.foreign.carry import carry
from mlops_obs.rollout.foreign.conditions import Bounds, failure_bounds, success_bounds
from mlops_obs.rollout.foreign.drafts import Options
from mlops_obs.rollout.spec.document import parse_document
from mlops_obs.slo.spec_errors import SpecErrors
from tests.rollout.foreign_analyses import ARGO, ARGO_ROLLOUT, ARGO_TEMPLATE, ARGO_WHOLE_SERVICE, FLAGGER, FLAGGER_CANARY
from tests.slo.test_import_nothing_silent import STRAY, mappings, with_stray


def carried(tool, documents, **options):
    drafts, losses = carry(tool, [(one, lambda keys: ".".join(map(str, keys))) for one in documents], Options(**options))
    specs = [parse_document({**one.body(), "canary": "v2", "package": "p"}).spec for one in drafts]
    return specs, losses


def said(losses, words):
    return [loss for loss in losses if words in str(loss)]


SUCCESS = {
    "result[0] >= 0.95": (0.95, None, False, None),
    "result > 0.95": (0.95, None, True, None),
    "0.5 >= result[0]": (None, 0.5, False, None),
    "result[0] >= 90 && result[0] <= 100": (90, 100, False, None),
    "(result[0] == 0)": (0, 0, False, None),
    "len(result) == 0 || result[0] >= 0.95": (0.95, None, False, True),
    "len(result) == 0 || isNaN(result[0]) || (result[0] < 0.02)": (None, 0.02, True, True),
    "len(result) > 0 && !isNaN(result[0]) && result[0] <= 3e-2": (None, 0.03, False, False),
    "default(result, 0) < 0.05": (None, 0.05, True, True),
    "asFloat(result[0]) < -1.5": (None, -1.5, True, None),
}
FAILURE = {
    "result[0] < 0.9": (0.9, None, False, None),
    "result >= 10": (None, 10, True, None),
    "result[0] > 5 || result[0] < 1": (1, 5, False, None),
    "len(result) > 0 && !isNaN(result[0]) && result[0] < 0.95": (0.95, None, False, True),
    "isNaN(result) || result > 5": (None, 5, False, False),
}


def test_the_conditions_that_people_write_are_read_as_bounds():
    for table, read in ((SUCCESS, success_bounds), (FAILURE, failure_bounds)):
        for text, (low, high, open_, no_data) in table.items():
            found = read(text)
            assert isinstance(found, Bounds), text
            numbers = tuple(None if one is None else float(one) for one in (found.low, found.high))
            assert (*numbers, found.open_, found.no_data) == (low, high, open_, no_data), text


@pytest.mark.parametrize(
    "text",
    [
        "result == 'true'", "result[0] > 95 && result[1] < 500", "all(result, {# > 1})", "result[0] / result[1] < 2", "true",
        "isNaN(result)",
        "result[0] > 1 || result[0] < -1", "result[0] > 5 && result[0] < 1", "result.ok >= 1", "result[0] >= 0.95 or true", "", "||", "&&",
        "result[0] >= {{args.limit}}", "!(result[0] < 1)", "result[0] >= 0.9; result[0]", "len(result) > 3",
    ],
)  # fmt: skip
def test_a_condition_that_is_not_understood_is_refused_rather_than_read_as_something_else(text):
    assert isinstance(success_bounds(text), str)


def test_an_argo_rollout_comes_with_its_steps_its_manual_pauses_and_the_gates_of_its_templates():
    (spec,), losses = carried("argo", ARGO)

    assert (spec.service, spec.steps, spec.manual_gates, spec.step_duration_min) == ("guestbook", (5, 20, 50, 100), (50, 100), 3600)
    good, failed, latency = spec.gates
    assert (good.name, good.min, good.max, good.for_, good.on_fail) == ("success-rate", 0.95, None, 1200, "hold")
    assert (failed.name, failed.min, failed.on_fail) == ("success-rate-failed", 0.9, "hold")
    assert 'destination_service=~"guestbook.default.svc",revision="{{revision}}"' in good.query
    assert (latency.name, latency.max, latency.dry_run) == ("p99-latency", 0.5, True)
    expected = ("provider web is not read", "no data passes there", "does not ask for the canary", "40 does not rise")
    for words in (*expected, "setCanaryScale", "trafficRouting"):
        assert said(losses, words), words


def test_metrics_that_are_only_measured_are_found_as_argo_finds_them_and_a_pattern_that_is_not_read_is_said():
    dry = {
        "^success": {"success-rate", "success-rate-failed"},
        ".*": {"success-rate", "success-rate-failed", "p99-latency"},
        "(a+)+$": set(),
    }

    for pattern, expected in dry.items():
        template = {**ARGO_TEMPLATE, "spec": {**ARGO_TEMPLATE["spec"], "dryRun": [{"metricName": pattern}]}}
        (spec,), losses = carried("argo", [ARGO_ROLLOUT, template])
        assert {gate.name for gate in spec.gates if gate.dry_run} == expected
        assert bool(said(losses, "is not read; write dry_run")) == (not expected)


def test_a_failed_analysis_holds_unless_it_is_told_to_roll_back():
    (spec,), _ = carried("argo", ARGO, on_fail="rollback")

    assert [(one.name, one.on_fail) for one in spec.gates] == [
        ("success-rate", "hold"),  # neither good nor bad is inconclusive there, which pauses
        ("success-rate-failed", "rollback"),
        ("p99-latency", "rollback"),
    ]


def test_templates_alone_become_one_document_and_values_fill_their_marks():
    (spec,), losses = carried("argo", [ARGO_WHOLE_SERVICE], service="shop", values={"service-name": "guestbook-{{revision}}"})

    assert spec.service == "shop"
    assert spec.gates[0].query == 'sum(rate(errors_total{service="guestbook-{{revision}}"}[1m]))'
    assert (spec.gates[0].max, spec.gates[0].for_) == (0.05, 30)
    assert not [one for one in losses if one.kind == "left out"]


def test_an_argument_that_nobody_gives_leaves_its_metric_out_with_the_flag_that_gives_it():
    (spec,), losses = carried("argo", [ARGO_TEMPLATE])

    assert spec.gates == ()
    assert said(losses, "nobody says what service-name, latest-hash is; pass --set service-name=VALUE")


def test_a_template_of_the_cluster_is_another_than_that_of_the_namespace():
    mine = {**ARGO_WHOLE_SERVICE, "kind": "AnalysisTemplate"}
    uses = [{"templateName": "error-rate", "clusterScope": one} for one in (True, False)]
    canary = {"steps": [{"setWeight": 5}, *({"analysis": {"templates": [use]}} for use in uses)]}
    rollout = {**ARGO_ROLLOUT, "spec": {"strategy": {"canary": canary}}}

    (both,), losses = carried("argo", [rollout, mine, ARGO_WHOLE_SERVICE], values={"service-name": "x-{{revision}}"})
    _, alone = carried("argo", [rollout, mine], values={"service-name": "x-{{revision}}"})

    assert [gate.name for gate in both.gates] == ["error-rate"]  # they ask the same, so it is asked once
    assert not said(losses, "is not among the files")
    assert said(alone, "'error-rate' is not among the files")


def test_a_template_that_is_not_there_or_that_nobody_uses_is_said():
    _, losses = carried("argo", [ARGO_ROLLOUT, {**ARGO_WHOLE_SERVICE, "metadata": {"name": "other"}}])

    assert said(losses, "'success-rate' is not among the files")
    assert said(losses, "no Rollout here uses this template")


def test_a_flagger_canary_comes_with_its_steps_its_built_in_checks_as_our_tests_and_its_templates_as_gates():
    (spec,), losses = carried("flagger", FLAGGER)

    assert (spec.service, spec.steps, spec.step_duration_min, spec.manual_gates) == ("podinfo", (20, 40, 100), 60, (100,))
    assert (spec.non_inferiority_margin, spec.latency_threshold, spec.slow_margin) == (0.01, 0.5, 0.01)
    not_found, old = spec.gates
    assert (not_found.name, not_found.max, not_found.for_) == ("404s-percentage", 5, 300)
    assert 'ns="test",w="{{revision}}",d="inbound",code="404"}[1m]' in not_found.query
    assert old.query == 'max(x{app="{{revision}}"})'
    for words in ("provider datadog is not read", "a webhook of type rollout", "sticky sessions", "nearest bound", "write notify:"):
        assert said(losses, words), words


def test_flagger_steps_that_are_listed_come_as_they_are():
    listed = {**FLAGGER_CANARY["spec"]["analysis"], "stepWeights": [1, 5, 50], "webhooks": []}
    canary = {**FLAGGER_CANARY, "spec": {**FLAGGER_CANARY["spec"], "analysis": listed}}

    (spec,), _ = carried("flagger", [canary])

    assert spec.steps == (1, 5, 50, 100)


CASES = [
    (tool, index, path)
    for tool, documents in (("argo", ARGO), ("flagger", FLAGGER))
    for index, document in enumerate(documents)
    for path in mappings(document)
    # What is about pods and routes is dropped whole, and its own key is listed; labels are not about the analysis.
    if not set(path) & {"metadata", "templateVariables"}
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{'.'.join(map(str, case[2]))}")
def test_a_key_that_nobody_knows_is_listed_wherever_it_stands(case):
    tool, index, path = case
    documents = ARGO if tool == "argo" else FLAGGER
    strayed = [with_stray(one, path) if at == index else one for at, one in enumerate(documents)]

    _, losses = carried(tool, strayed)

    place = ".".join(str(key) for key in (*path, STRAY) if not isinstance(key, int))
    listed = {loss.field for loss in losses if loss.kind in ("dropped", "left out")}
    assert any(place == field or place.startswith(f"{field}.") for field in listed if field), f"{place} is dropped in silence"


PROMETHEUS = {"name": "x", "successCondition": "result[0] < {{args.most}}", "provider": {"prometheus": {"query": "x{r='{{args.hash}}'}"}}}


def test_marks_are_filled_wherever_they_stand_also_in_intervals_and_conditions():
    metric = {**PROMETHEUS, "interval": "{{args.every}}", "failureLimit": "{{ args.limit }}", "count": "{{args.count}}"}
    args = [{"name": "every", "value": "30s"}, {"name": "limit", "value": "2"}, {"name": "most", "value": "0.5"}]
    template = {**ARGO_TEMPLATE, "spec": {"metrics": [metric], "args": args}}

    (spec,), _ = carried("argo", [template], values={"hash": "{{revision}}"})
    (without,), losses = carried("argo", [template])

    assert (spec.gates[0].max, spec.gates[0].for_, spec.gates[0].query) == (0.5, 90, "x{r='{{revision}}'}")
    assert without.gates == ()
    assert said(losses, "nobody says what hash is; pass --set hash=VALUE")


def test_steps_that_are_not_there_are_assumed_and_said():
    canary = {**FLAGGER_CANARY, "spec": {**FLAGGER_CANARY["spec"], "analysis": {"interval": "15s", "threshold": 10, "iterations": 10}}}

    (spec,), losses = carried("flagger", [canary])

    assert spec.steps == (20, 50, 100)
    assert said(losses, "there are no weights, so the steps are 20, 50 and 100")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([1], "is not a mapping"),
        ({**ARGO_TEMPLATE, "spec": {"metrics": [{**PROMETHEUS, "interval": "soon"}]}}, "is not a duration"),
        ({**ARGO_TEMPLATE, "spec": {"metrics": [{**PROMETHEUS, "failureLimit": "many"}]}}, "is not a whole number"),
        ({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "spec": {"strategy": {"canary": {"steps": 3}}}}, "is not a list"),
    ],
)
def test_what_is_wrong_in_a_document_is_an_error_with_its_place(document, words):
    with pytest.raises(SpecErrors, match=words):
        carried("argo", [document])


def test_the_command_prints_a_document_that_can_be_started_and_lists_the_losses_on_stderr(tmp_path):
    import typer

    app = typer.Typer()
    rollout_import.register(app)
    app.command("other")(lambda: None)
    path = tmp_path / "argo.yaml"
    path.write_text(yaml.safe_dump_all(ARGO))

    done = CliRunner().invoke(app, ["import", "argo", str(path)])
    as_json = CliRunner().invoke(app, ["import", "argo", str(path), "-o", "json", "--losses", "json", "--out", str(tmp_path / "r.json")])

    assert done.exit_code == 3
    assert parse_document({**yaml.safe_load(done.stdout), "canary": "v2", "package": "p"}).spec.steps == (5, 20, 50, 100)
    assert f"{path}:" in done.stderr
    assert as_json.exit_code == 3
    assert json.loads((tmp_path / "r.json").read_text())["steps"] == [5, 20, 50, 100]
    assert {one["kind"] for one in json.loads(as_json.stderr)} >= {"left out", "dropped", "changed"}
    for wrong in (["spinnaker"], ["argo", "--on-fail", "pray"], ["argo", "--set", "x"], ["argo", "-o", "xml"]):
        refused = CliRunner().invoke(app, ["import", wrong[0], str(path), *wrong[1:]])
        assert isinstance(refused.exception, UsageError)


def test_a_query_that_is_no_promql_is_left_out_with_what_is_wrong():
    documents = [
        {**ARGO_WHOLE_SERVICE, "spec": {**ARGO_WHOLE_SERVICE["spec"], "args": [{"name": "service-name", "value": '{{revision}}"'}]}}
    ]

    (spec,), losses = carried("argo", documents, promql=rollout_import._promql_problem)

    assert spec.gates == ()
    assert said(losses, "is no PromQL")
