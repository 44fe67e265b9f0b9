"""Argo Rollouts: AnalysisTemplates become gates, the canary steps of a Rollout become ours.

What is different, and always said: there a failed analysis aborts after `failureLimit` failures however long ago they were, here
a gate must fail for as long as that many measurements take, and then it holds unless told to roll back. There the steps end the
rollout, here evidence does. Errors and slow requests are asked here in any case, by a test whose error rate is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from mlops_obs.durations import format_duration
from mlops_obs.rollout.foreign.conditions import Bounds, failure_bounds, success_bounds
from mlops_obs.rollout.foreign.drafts import Draft, Options, assume_steps, filled, go_duration, promql_gate, said_of
from mlops_obs.rollout.spec.gates import REVISION_MARK
from mlops_obs.slo.foreign.fields import Fields, Report

API = "argoproj.io/v1alpha1"
_TEMPLATES = ("AnalysisTemplate", "ClusterAnalysisTemplate")
_ADVICE = "a gate asks the Prometheus of obs.yaml"
_LIMITS = {
    "count": "a gate is asked for as long as the rollout lasts",
    "initialDelay": "see warm_up: in the first two minutes only gross harm counts",
    "inconclusiveLimit": "what is undecided holds until the deadline",
    "consecutiveErrorLimit": "what cannot be read holds, and pages after a while",
    "consecutiveSuccessLimit": "a step is passed on evidence, not on a number of good looks",
}
_PATTERN = re.compile(r"(?!\*)(?:[\w ^$|-]|\.\*?)+")
_SINGLE = Decimal(60)  # seconds that a bad value must last, where there is one measurement or no interval


@dataclass(frozen=True, slots=True)
class _Metric:
    """A metric whose marks are filled and whose conditions could be read: values that are good, and values that are not bad."""

    at: Fields
    name: str
    query: str
    good: Bounds | None
    bad: Bounds | None
    hold: Decimal


@dataclass(slots=True)
class _Template:
    at: Fields
    metrics: list[Fields]
    values: dict[str, str]
    dry: list[str] = field(default_factory=list)
    others: list[tuple[bool, str]] = field(default_factory=list)
    used: bool = False


Templates = dict[tuple[bool, str], _Template]  # by whether it is of the whole cluster, and its name


def read_argo(documents: Sequence[tuple[object, Report]], options: Options) -> list[Draft]:
    """Return a draft for each Rollout; one for all templates if there is none."""
    templates: Templates = {}
    rollouts: list[Fields] = []
    for document, report in documents:
        at = Fields(document, (), report)
        kind, name = at.text("kind", required=True), _name(at)
        at.slo = name
        if at.text("apiVersion", required=True) not in (API, "") or kind not in (*_TEMPLATES, "Rollout"):
            at.accept()
            at.loss("left out", f"a {kind or 'document'} is not read; only {', '.join((*_TEMPLATES, 'Rollout'))} of {API} are")
        elif kind == "Rollout":
            rollouts.append(at)
        elif (kind == _TEMPLATES[1], name) in templates:
            at.wrong("metadata", f"a template called {name!r} is there twice", "rename one, or import them apart")
        else:
            templates[kind == _TEMPLATES[1], name] = _template(at, name)
        at.take("status")
    drafts = [_rollout(at, templates, options) for at in rollouts]
    if not rollouts and templates:
        (_, first), *_ = templates
        draft = Draft(first, options.service or first, next(iter(templates.values())).at.at())
        for one in templates.values():
            _instantiate(one, {}, (), draft, options, templates)
        drafts.append(draft)
    for one in templates.values():
        if not one.used:
            one.at.loss("left out", "no Rollout here uses this template")
    return drafts


def _name(at: Fields) -> str:
    metadata = at.fields("metadata")
    name = metadata.text("name", required=True)
    metadata.accept()  # labels and annotations are not about the analysis
    return name


def _template(at: Fields, name: str) -> _Template:
    spec = at.fields("spec")
    spec.slo = name
    values = _arguments(spec.list("args"))
    others = [_reference(one) for one in spec.list("templates")]
    dry = _dry_runs(spec)
    for one in spec.list("measurementRetention"):
        one.accept()
        one.loss("dropped", "the evidence log keeps everything")
    return _Template(at, spec.list("metrics"), values, dry, others)


def _reference(at: Fields) -> tuple[bool, str]:
    return bool(at.truth("clusterScope")), at.text("templateName", required=True)


def _arguments(given: Sequence[Fields]) -> dict[str, str]:
    """Return the arguments that have a value here; that of the newest pods stands for the canary."""
    values = {}
    for one in given:
        name, value, source = one.text("name", required=True), one.text("value"), one.fields("valueFrom")
        if value:
            values[name] = value
        pods = source.text("podTemplateHashValue")
        if pods == "Latest":
            values[name] = REVISION_MARK
            one.loss("changed", "the hash of the newest pods becomes the canary's revision; the label must hold that", "valueFrom")
        elif pods:
            source.loss("dropped", "the hash of the stable pods is not known here", "podTemplateHashValue")
    return values


def _metric(at: Fields, values: Mapping[str, str]) -> _Metric | None:
    """Read a metric with `values` for its marks, which may stand in any text; None if it has no counterpart."""
    name = at.text("name", required=True)
    at.slo = name
    for key, why in _LIMITS.items():
        if at.take(key) is not None:
            at.loss("dropped", why, key)
    texts = {key: _put(at, key, values) for key in ("interval", "failureLimit", "successCondition", "failureCondition")}
    interval, limit = go_duration(at, "interval", texts["interval"] or ""), _limit(at, texts["failureLimit"] or "0")
    provider = at.fields("provider")
    if "prometheus" not in provider:
        others = ", ".join(provider.everything())
        provider.accept()
        at.loss("left out", f"the provider {others or 'that is missing'} is not read; {_ADVICE}", "provider")
        return None
    prometheus = provider.fields("prometheus")
    query = _put(prometheus, "query", values, required=True)
    for key in ("address", "authentication", "headers", "insecure", "timeout"):
        if prometheus.take(key) is not None:
            prometheus.loss("dropped", _ADVICE, key)
    if prometheus.take("rangeQuery") is not None:
        prometheus.loss("left out", "a range of values is no single number", "rangeQuery")
        return None
    if query is None or any(text is None for text in texts.values()):
        return None
    good = _bounds(at, "successCondition", texts["successCondition"] or "", success_bounds)
    bad = _bounds(at, "failureCondition", texts["failureCondition"] or "", failure_bounds)
    if isinstance(good, str) or isinstance(bad, str):
        return None
    if good is None and bad is None:
        at.loss("left out", "it has no condition, so it would always pass")
        return None
    hold = (interval or _SINGLE) * (limit + 1)
    what = f"it must fail for {format_duration(hold)} without a break; there every failure counted, however long ago"
    at.loss("changed", what, "failureLimit" if texts["failureLimit"] else "interval")
    return _Metric(at, name, query, good, bad, hold)


def _put(at: Fields, key: str, values: Mapping[str, str], *, required: bool = False) -> str | None:
    """Return the text under `key` with its marks filled, empty if there is none; None if nobody says what one of them is."""
    text, missing = filled(at.text(key, required=required), {f"args.{name}": value for name, value in values.items()})
    if not missing:
        return text
    names = [name.removeprefix("args.") for name in missing]
    at.loss("left out", f"nobody says what {', '.join(names)} is; pass --set {names[0]}=VALUE", key)
    return None


def _limit(at: Fields, text: str) -> int:
    try:
        limit = int(text)
    except ValueError:
        at.wrong("failureLimit", f"{text[:40]!r} is not a whole number", "write for example 3")
        return 0
    if limit < 0:
        at.loss("changed", "a failureLimit below 0 lets it fail without end there; here the gate holds", "failureLimit")
    return min(max(limit, 0), 1_000_000)


def _bounds(at: Fields, key: str, text: str, read: Callable[[str], Bounds | str]) -> Bounds | str | None:
    if not text:
        return None
    found = read(text)
    if isinstance(found, str):
        at.loss("left out", f"{text[:80]!r} cannot be carried: {found}", key)
    else:
        said_of(at, found, key)
    return found


def _instantiate(
    one: _Template, given: Mapping[str, str], dry: Sequence[str], draft: Draft, options: Options, templates: Templates
) -> None:
    """Add the gates of a template with its arguments, those of templates that it refers to included."""
    one.used = True
    values = {**one.values, **given, **options.values}
    for at in one.metrics:
        metric = _metric(at, values)
        if metric is not None:
            _add(metric, [*one.dry, *dry], draft, options)
    for reference in one.others:
        other = templates.get(reference)
        if other is None:
            one.at.loss("left out", f"the template {reference[1]!r} is not among the files", "spec")
        elif not other.used:
            _instantiate(other, values, dry, draft, options, templates)


def _add(metric: _Metric, dry: Sequence[str], draft: Draft, options: Options) -> None:
    if REVISION_MARK not in metric.query:
        hint = "pass --set NAME=VALUE with {{revision}} in the value"
        metric.at.loss("left out", f"its query does not ask for the canary: what all revisions do is no fault of one; {hint}", "provider")
        return
    waived = any(re.search(pattern, metric.name) for pattern in dry)
    ranges: list[tuple[str, Bounds, Literal["hold", "rollback"]]] = []
    if metric.good is not None:
        both = metric.bad is not None and (metric.bad.low, metric.bad.high) != (metric.good.low, metric.good.high)
        ranges.append((metric.name, metric.good, "hold" if both else options.on_fail))
        if both and metric.bad is not None:
            ranges.append((f"{metric.name}-failed", metric.bad, options.on_fail))
    elif metric.bad is not None:
        ranges.append((metric.name, metric.bad, options.on_fail))
    if options.on_fail == "hold":
        metric.at.loss("changed", "a failed analysis aborts there; here the gate holds the step (import with --on-fail rollback)")
    for name, bounds, on_fail in ranges:
        gate = promql_gate(name, metric.query, bounds, metric.hold, dry_run=waived, on_fail=on_fail)
        if gate not in draft.gates:  # a template that is used at several steps is asked all along
            draft.add(metric.at, gate, options)


def _dry_runs(at: Fields) -> list[str]:
    """Return the patterns of the metrics that are only measured; Argo searches the names for them."""
    found = []
    for one in at.list("dryRun"):
        pattern = one.text("metricName", required=True)
        if _PATTERN.fullmatch(pattern):
            found.append(pattern)
        else:  # brackets can make a search endless, and this one runs on anybody's file
            one.loss("left out", f"the pattern {pattern[:40]!r} is not read; write dry_run: true at the gates that are meant", "metricName")
    return found


def _rollout(at: Fields, templates: Templates, options: Options) -> Draft:
    name = at.slo
    draft = Draft(name, options.service or name, at.at())
    if not options.service:
        at.loss("assumed", f"the label `service` of its metrics is {name}; else pass --service", "metadata")
    spec = at.fields("spec")
    spec.slo = at.slo = name
    strategy = spec.fields("strategy")
    for key in spec.everything():
        if key != "strategy" and spec.take(key) is not None:
            spec.loss("dropped", "it is about the pods, which are the platform's", key)
    if strategy.take("blueGreen") is not None:
        strategy.loss("left out", "blue-green has no steps to judge; write steps: [100] and a watch", "blueGreen")
    canary = strategy.fields("canary")
    background = canary.fields("analysis")
    if background.take("startingStep") is not None:
        background.loss("changed", "its gates are asked from the first step on", "startingStep")
    uses = [background]
    _steps(canary.list("steps"), draft, uses)
    assume_steps(strategy, draft)
    for use in uses:
        _use(use, draft, options, templates)
    return draft


def _steps(given: Sequence[Fields], draft: Draft, uses: list[Fields]) -> None:
    waits: list[Decimal] = []
    asked: list[int] = []
    pausing = False
    for step in given:
        weight = step.number("setWeight")
        if weight is not None:
            if not 0 < weight <= 100 or weight != int(weight) or (draft.steps and weight <= draft.steps[-1]):
                step.loss("dropped", f"{weight} does not rise above the step before it; here steps rise to 100", "setWeight")
                continue
            draft.steps.append(int(weight))
            asked += [int(weight)] if pausing else []
            pausing = False
        if "pause" in step or step.everything().get("pause", 0) is None:
            pause = step.fields("pause")
            length = _pause(pause)
            waits += [length] if length else []
            pausing = pausing or length is None
        if "analysis" in step:
            use = step.fields("analysis")
            use.loss("changed", "its gates are asked at all steps")
            uses.append(use)
        step.rest("has no counterpart among steps")
    if draft.steps and draft.steps[-1] != 100:
        draft.steps.append(100)
        asked += [100] if pausing else []
    if asked:
        draft.more["manual_gates"] = asked
    if waits:
        draft.more["step_duration_min"] = format_duration(max(waits))
        if len(set(waits)) > 1 and given:
            what = f"all steps last {format_duration(max(waits))} at least; theirs last {', '.join(map(format_duration, waits))}"
            given[0].loss("changed", what, "pause")


def _pause(at: Fields) -> Decimal | None:
    """Return how long a pause lasts; None: until somebody resumes it."""
    value = at.everything().get("duration")
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return at.number("duration")
    text = str(value or "")
    return at.number("duration") if text.isdigit() else go_duration(at, "duration")


def _use(at: Fields, draft: Draft, options: Options, templates: Templates) -> None:
    given = _arguments(at.list("args"))
    dry = _dry_runs(at)
    for one in at.list("measurementRetention"):
        one.accept()
        one.loss("dropped", "the evidence log keeps everything")
    for one in at.list("templates"):
        reference = _reference(one)
        template = templates.get(reference)
        if template is None:
            one.loss("left out", f"the template {reference[1]!r} is not among the files", "templateName")
        else:
            _instantiate(template, given, dry, draft, options, templates)
