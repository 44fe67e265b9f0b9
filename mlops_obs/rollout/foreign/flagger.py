"""Flagger: the analysis of a Canary and its MetricTemplates become steps and gates.

Its two built-in checks are asked here in any case, and better: request-success-rate is the test of errors, request-duration that
of slow requests, both of canary against stable and not against a fixed number. What is different and always said: there every
failed look counts for ever and an outage of Prometheus is a failed look; here a gate must fail without a break, and no data holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from mlops_obs.durations import format_duration
from mlops_obs.metric_names import LATENCY_BUCKETS
from mlops_obs.rollout.foreign.conditions import Bounds
from mlops_obs.rollout.foreign.drafts import Draft, Options, assume_steps, filled, go_duration, promql_gate
from mlops_obs.rollout.spec.fields import as_duration
from mlops_obs.rollout.spec.gates import REVISION_MARK
from mlops_obs.slo.foreign.fields import Fields, Report

API = "flagger.app/v1beta1"
_APIS = (API, "flagger.app/v1alpha3", "")
_MINUTE = Decimal(60)
_OLD = "canaryAnalysis"  # what v1alpha3 calls it
_DROPPED = {
    "alerts": "write notify: in obs.yaml",
    "mirror": "traffic is not mirrored here",
    "mirrorWeight": "traffic is not mirrored here",
    "iterations": "without weights there is nothing to judge; write steps: [100] and a watch",
    "match": "requests are split by weight here, not by header",
    "sessionAffinity": "sticky sessions change the split; the traffic check here would find that",
    "stepWeightPromotion": "promotion is one step here",
    "primaryReadyThreshold": "readiness is the platform's; the way back is checked at every look",
    "canaryReadyThreshold": "readiness is the platform's",
}


@dataclass(slots=True)
class _Template:
    at: Fields
    query: str
    kind: str
    namespace: str
    used: bool = field(default=False)


def read_flagger(documents: Sequence[tuple[object, Report]], options: Options) -> list[Draft]:
    """Return a draft for each Canary."""
    templates: dict[tuple[str, str], _Template] = {}
    canaries: list[tuple[Fields, str]] = []
    for document, report in documents:
        at = Fields(document, (), report)
        kind, (name, namespace) = at.text("kind", required=True), _name(at)
        at.slo = name
        if at.text("apiVersion", required=True) not in _APIS or kind not in ("Canary", "MetricTemplate"):
            at.accept()
            at.loss("left out", f"a {kind or 'document'} is not read; only Canary and MetricTemplate of {API} are")
        elif kind == "Canary":
            canaries.append((at, namespace))
        else:
            templates[namespace, name] = _template(at, namespace)
        at.take("status")
    drafts = [_canary(at, namespace, templates, options) for at, namespace in canaries]
    for (_, name), one in templates.items():
        if not one.used:
            one.at.loss("left out", f"no Canary here uses the template {name!r}")
    return drafts


def _name(at: Fields) -> tuple[str, str]:
    metadata = at.fields("metadata")
    name, namespace = metadata.text("name", required=True), metadata.text("namespace")
    metadata.accept()  # labels and annotations are not about the analysis
    return name, namespace


def _template(at: Fields, namespace: str) -> _Template:
    spec = at.fields("spec")
    spec.slo = at.slo
    provider = spec.fields("provider")
    kind = provider.text("type", required=True)
    for key in ("address", "secretRef", "region", "insecureSkipVerify", "headers"):
        if provider.take(key) is not None:
            provider.loss("dropped", "a gate asks the Prometheus of obs.yaml", key)
    return _Template(at, spec.text("query", required=True), kind, namespace)


def _canary(at: Fields, namespace: str, templates: Mapping[tuple[str, str], _Template], options: Options) -> Draft:
    spec = at.fields("spec")
    spec.slo = at.slo
    target = spec.fields("targetRef")
    target.accept()
    name = str(target.everything().get("name") or at.slo)
    target.loss("dropped", "the target is in obs.yaml, or under target: of the Rollout")
    draft = Draft(at.slo, options.service or name, at.at())
    if not options.service:
        target.loss("assumed", f"the label `service` of its metrics is {name}; else pass --service")
    service = spec.fields("service")
    service.accept()
    if service.there:
        service.loss("dropped", "the route is the platform's")
    if spec.truth("skipAnalysis"):
        spec.loss("changed", "every rollout is judged here", "skipAnalysis")
    for key in list(spec.everything()):
        if key not in ("targetRef", "service", "skipAnalysis", "analysis", _OLD) and spec.take(key) is not None:
            spec.loss("dropped", "it is about the workload or the mesh, which are the platform's", key)
    analysis = spec.fields("analysis", _OLD)
    analysis.slo = at.slo
    interval = go_duration(analysis, "interval") or _MINUTE
    threshold = analysis.number("threshold")
    _steps(analysis, interval, draft)
    for key, why in _DROPPED.items():
        if analysis.take(key) is not None:
            analysis.loss("dropped", why, key)
    hold = interval * max(1, int(threshold or 1))
    if threshold is not None:
        what = f"a gate must fail for {format_duration(hold)} without a break; there every failed look counted, an outage included"
        analysis.loss("changed", what, "threshold")
    marks = {"name": at.slo, "namespace": namespace, "service": str(service.everything().get("name") or name)}
    for metric in analysis.list("metrics"):
        _metric(metric, hold, marks, draft, options, templates)
    _hooks(analysis.list("webhooks"), draft)
    return draft


def _steps(analysis: Fields, interval: Decimal, draft: Draft) -> None:
    listed = analysis.take("stepWeights")
    most, step = analysis.number("maxWeight"), analysis.number("stepWeight")
    if isinstance(listed, list):
        weights = [int(one) for one in listed if isinstance(one, int) and not isinstance(one, bool)]
        if weights != listed:
            analysis.wrong("stepWeights", "is not a list of whole numbers", "write for example [5, 10, 50]")
        if most is not None:
            analysis.loss("dropped", "stepWeights says it all", "maxWeight")
    elif step is not None and step >= 1:
        weights = list(range(int(step), int(most if most is not None else 100) + 1, int(step)))
    else:
        weights = []
    rising = sorted({one for one in weights if 0 < one <= 100})
    if rising != weights:
        analysis.loss("changed", f"steps rise to 100 here: {', '.join(map(str, rising))}", "stepWeights")
    draft.steps = [*rising, *([100] if rising and rising[-1] != 100 else [])]
    assume_steps(analysis, draft)
    draft.more["step_duration_min"] = format_duration(interval)


def _metric(
    at: Fields,
    hold: Decimal,
    marks: Mapping[str, str],
    draft: Draft,
    options: Options,
    templates: Mapping[tuple[str, str], _Template],
) -> None:
    name = at.text("name", required=True)
    at.slo = name
    window = at.text("interval") or "1m"
    limits, old = at.fields("thresholdRange"), at.number("threshold")
    low, high = limits.number("min"), limits.number("max")
    if low is None and high is None and old is not None:
        # Before ranges there was one number, a minimum of the success rate and a maximum of all else.
        low, high = (old, None) if name == "request-success-rate" else (None, old)
    own, reference = at.text("query"), at.fields("templateRef")
    if not own and not reference.there:
        _built_in(at, name, low, high, draft)
        return
    query = own
    given = dict(marks) | {"interval": window} | {f"variables.{key}": value for key, value in at.labels("templateVariables").items()}
    if reference.there:
        wanted, space = reference.text("name", required=True), reference.text("namespace") or marks["namespace"]
        template = templates.get((space, wanted)) or next((one for (_, key), one in templates.items() if key == wanted), None)
        if template is None:
            at.loss("left out", f"the template {wanted!r} is not among the files", "templateRef")
            return
        template.used = True
        if template.kind != "prometheus":
            at.loss("left out", f"the provider {template.kind} is not read; a gate asks the Prometheus of obs.yaml", "templateRef")
            return
        query = template.query
    if low is None and high is None:
        at.loss("left out", "it has no threshold, so it would always pass")
        return
    # There the canary is the workload that the Canary names; here it is a revision.
    given.setdefault("target", REVISION_MARK)
    query, missing = filled(query, given | dict(options.values))
    if missing:
        at.loss("left out", f"nobody says what {', '.join(missing)} is; pass --set {missing[0]}=VALUE", "templateRef")
        return
    if REVISION_MARK not in query:
        at.loss("left out", "its query does not ask for the canary: what all revisions do is no fault of one", "templateRef")
        return
    if "target" not in options.values:
        at.loss("changed", "{{ target }} becomes the canary's revision; the label must hold that (else pass --set target=VALUE)")
    if options.on_fail == "hold":
        at.loss("changed", "a failed check turns the canary back there; here the gate holds the step (import with --on-fail rollback)")
    at.loss("changed", "no data fails there; here it holds")
    draft.add(at, promql_gate(name, query, Bounds(low, high), hold, on_fail=options.on_fail), options)


def _built_in(at: Fields, name: str, low: Decimal | None, high: Decimal | None, draft: Draft) -> None:
    at.take("interval")
    if name == "request-success-rate" and low is not None and 0 < low < 100:
        margin = (100 - low) / 100
        draft.more["non_inferiority_margin"] = margin
        at.loss("changed", f"it is the test `errors`: canary against stable, at most {margin * 100:.4g} points worse, not {low} % in all")
    elif name == "request-duration" and high is not None and high > 0:
        seconds = float(high) / 1000
        near = min(LATENCY_BUCKETS, key=lambda bound: abs(bound - seconds))
        draft.more |= {"latency_threshold": as_duration(near), "slow_margin": Decimal("0.01")}
        rounded = f"; {near:g} s is the histogram's nearest bound" if near != seconds else ""
        at.loss("changed", f"it is the test `slow`: canary against stable, at most 1 % more over the threshold, not the P99{rounded}")
    else:
        at.loss("left out", "it is neither a built-in check with its threshold, nor has it a query")


def _hooks(hooks: Sequence[Fields], draft: Draft) -> None:
    asked: list[int] = list(draft.more.get("manual_gates", ()))
    for hook in hooks:
        kind, name = hook.text("type"), hook.text("name")
        hook.slo = name
        hook.accept()
        if kind in ("confirm-rollout", "confirm-promotion", "confirm-traffic-increase") and draft.steps:
            weights = {"confirm-rollout": draft.steps[:1], "confirm-promotion": [100]}.get(kind, draft.steps)
            asked += [one for one in weights if one not in asked]
            hook.loss("changed", "a person's `obs rollout promote` takes its place; nobody calls the address")
        else:
            hook.loss("dropped", f"a webhook of type {kind or 'rollout'} is not called")
    if asked:
        draft.more["manual_gates"] = sorted(asked)
