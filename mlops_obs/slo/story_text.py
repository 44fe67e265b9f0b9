"""The stories of one SLO as promtool text: its input series, and what must fire and be recorded.

SLOs of one shape differ in nothing but their names, so the text is made once for a shape, with marks in the place of the names, and
the marks are replaced: a thousand SLOs cost what a few shapes cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from urllib.parse import quote

from mlops_obs import metric_names as names
from mlops_obs.durations import format_duration
from mlops_obs.slo import annotations as words
from mlops_obs.slo.annotations import Links
from mlops_obs.slo.expectations import Expected, expectations
from mlops_obs.slo.indicators import Cohorts, Selector, source
from mlops_obs.slo.rules.sloth_names import SHARED, sloth_ids
from mlops_obs.slo.rules.windows import HOURLY, RUNNING
from mlops_obs.slo.scenarios import Scenario
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.story_cohorts import spoken_cohorts
from mlops_obs.slo.story_counts import WHOLE
from mlops_obs.slo.story_figures import ROUNDED, Figure, recorded_windows
from mlops_obs.slo.story_pages import page_lines
from mlops_obs.slo.story_records import spoken_records
from mlops_obs.slo.story_series import ELSEWHERE, Voice, decoys, selectors_of, spoken, voices
from mlops_obs.slo.tiers import Tier
from mlops_obs.slo.yaml_text import quoted

# In the place of names. Nobody writes them, YAML, JSON and PromQL leave them as they are, and Latin-1 is replaced fastest.
_SERVICE, _SLO, _TEAM, _NEXT = "¤service¤", "¤slo¤", "¤team¤", "¤next¤"


@dataclass(frozen=True, slots=True)
class Block:
    """One story of one SLO: lines of `input_series`, of `promql_expr_test` and of `alert_rule_test`, each ending a line."""

    step: int
    name: str
    inputs: str
    expects: str
    pages: str


@dataclass(frozen=True)
class Subject:
    """One SLO under test: its series, its stories, and how its alerts and records are labelled.

    `watched`: TelemetryAbsent speaks of it. `sloth`: it is recorded under Sloth's names too. `links`: of its pages; None if their text is
    not compared. `stages`: of a chain.
    """

    slo: SLO
    tiers: tuple[Tier, ...]
    watched: bool
    sloth: bool
    links: Links | None = None
    stages: tuple[SLO, ...] = ()

    @cached_property
    def voices(self) -> tuple[Voice, ...]:
        """The series of its stories."""
        if isinstance(source(self.slo), Cohorts):
            return (Voice(names.QUALITY_EVENTS.name, {names.SERVICE: self.slo.service}, "cohorts"),)
        return tuple(voice for one in (self.stages or (self.slo,)) for voice in voices(one))

    @cached_property
    def selectors(self) -> list[Selector]:
        """What it reads."""
        if isinstance(kind := source(self.slo), Cohorts):
            return [kind.events]
        return [selector for one in (self.stages or (self.slo,)) for selector in selectors_of(one)]

    @cached_property
    def expected(self) -> tuple[Expected, ...]:
        """The stories with their expectations."""
        return expectations(self.slo, self.tiers, self.stages)

    @cached_property
    def of(self) -> str:
        """The matchers of all its series."""
        return f'service="{self.slo.service}", slo="{self.slo.name}"'

    @cached_property
    def alert_labels(self) -> dict[str, Mapping[str, str]]:
        """The labels of the alert of each tier, and of TelemetryAbsent, without the group's."""
        slo, alert = self.slo, words.alert_name(self.slo)
        found = {tier.name: {"alertname": alert, **words.alert_labels(slo, tier.severity, tier.name)} for tier in self.tiers}
        severity = "page" if "page" in slo.severities else "ticket"
        for step in slo.budget_policy:
            tier = words.policy_tier(step)
            found[tier] = {"alertname": words.BUDGET_LOW, **words.alert_labels(slo, "ticket", tier)}
        found[words.TIER_ABSENT] = {"alertname": words.TELEMETRY_ABSENT, **words.alert_labels(slo, severity, words.TIER_ABSENT)}
        return {tier: {"alertstate": "firing", **labels} for tier, labels in found.items()}

    @cached_property
    def own_labels(self) -> Mapping[str, str]:
        """The labels of its records."""
        return {names.SERVICE: self.slo.service, names.SLO: self.slo.name, names.TEAM: self.slo.team, **self.slo.labels}

    @cached_property
    def record_labels(self) -> Mapping[str, str]:
        """The labels of records that are Sloth's too."""
        return {**self.own_labels, **sloth_ids(self.slo)}

    def with_group(self, labels: Mapping[str, str], group: str) -> Mapping[str, str]:
        """Add the labels of a group; none for the service as a whole."""
        return {**labels, **dict.fromkeys(self.slo.group_by, group)} if group else labels

    @cached_property
    def blocks(self) -> list[Block]:
        """The stories as text."""
        slo = self.slo
        if self.stages:
            return list(_blocks(self))
        shape = Subject(
            slo.model_copy(update={"service": _SERVICE, "name": _SLO, "team": _TEAM, "description": "", "upstream": ()}),
            self.tiers,
            self.watched,
            self.sloth,
            self.links,
        )
        steps, text = _of_shape(shape)
        for mark, name in ((_SERVICE, slo.service), (quote(_SERVICE), slo.service), (_SLO, slo.name), (_TEAM, slo.team)):
            text = text.replace(mark, name)
        told = text.split(_NEXT)
        return [Block(step, name, *told[3 * at : 3 * at + 3]) for at, (step, name) in enumerate(steps)]


@lru_cache(maxsize=256)
def _of_shape(shape: Subject) -> tuple[list[tuple[int, str]], str]:
    """Return (step, name) of each story and all their text with marks between the parts."""
    blocks = list(_blocks(shape))
    return [(one.step, one.name) for one in blocks], _NEXT.join(part for one in blocks for part in (one.inputs, one.expects, one.pages))


def _blocks(subject: Subject) -> Iterator[Block]:
    for one in subject.expected:
        inputs = list(_input(_told(subject, one.scenario)))
        if one.scenario.beside:
            inputs += _input(spoken(decoys(subject.slo), subject.slo.group_by, one.scenario.decoys))
            inputs += _input(_recorded_elsewhere(subject, one))
        expects: list[str] = []
        for minute, firing in one.firing:
            expects += _alerts(subject, one, minute, firing)
        for minute, figures in one.figures:
            expects += _figures(subject, minute, figures, labels=one.scenario.labels)
        for minute, ratios in one.sloth if subject.sloth else ():
            expects += _sloth(subject, minute, ratios)
        said: Iterable[str] = ()
        if one.pages and subject.links is not None:
            said = page_lines(subject.slo, subject.tiers, subject.alert_labels, one.firing[-1][0], one.pages, subject.links)
        yield Block(one.scenario.step, one.scenario.name, _text(inputs), _text(expects), _text(list(said)))


def _recorded_elsewhere(subject: Subject, one: Expected) -> Iterator[tuple[str, Mapping[str, str], str]]:
    """Yield what the rules of another service, and of another SLO of this one, would have recorded: nobody may read it."""
    windows = [format_duration(window) for window in recorded_windows(subject.slo, subject.tiers)]
    if one.scenario.step > 1:  # the story in which hours are added up
        helpers = [stem.format(window=window) for stem in (names.SLO_BAD, names.SLO_TOTAL) for window in ("1h", HOURLY, RUNNING)]
        found = [*helpers, names.SLO_HOUR_START]
    elif one.absent_at is not None:
        found = [names.SLO_TOTAL.format(window=window) for window in ("5m", "1h")]
    elif one.figures and len(one.scenario.history) == 1:
        counts = [stem.format(window=window) for stem in (names.SLO_BAD, names.SLO_TOTAL, names.SLO_ERROR_RATIO) for window in windows]
        found = [*counts, names.SLO_COVERED, names.SLO_BUDGET_REMAINING]
    else:
        found = []
    for name in found:
        for label in (names.SERVICE, names.SLO):
            yield name, {**subject.own_labels, label: ELSEWHERE}, f"977+0x{one.scenario.length}"


def _text(lines: Sequence[str]) -> str:
    return "\n".join([*lines, ""]) if lines else ""


def _told(subject: Subject, scenario: Scenario) -> Iterator[tuple[str, Mapping[str, str], str]]:
    slo = subject.slo
    if scenario.given:
        return spoken_records(slo, scenario.given, scenario.length)
    if scenario.cohorts:
        return spoken_cohorts(slo, scenario.cohorts, scenario.length, scenario.gone_at)
    if scenario.stages:
        every = ((stage, scenario.stages[(stage.service, stage.name)]) for stage in subject.stages)
        return chain.from_iterable(spoken(voices(stage), stage.group_by, history) for stage, history in every)
    return spoken(subject.voices, slo.group_by, scenario.history, scenario.unborn)


def _input(told: Iterable[tuple[str, Mapping[str, str], str]]) -> Iterator[str]:
    for metric, labels, values in told:
        yield f"      - series: {quoted(metric + _labels(labels))}"
        yield f'        values: "{values}"'


def _alerts(subject: Subject, one: Expected, minute: int, firing: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield what fires at `minute`: with all labels where the story is about them, else how many alerts of each tier."""
    if subject.watched and one.absent_at is not None and minute >= one.absent_at:
        firing = [*firing, (words.TIER_ABSENT, WHOLE)]
    alerts = f'ALERTS{{alertstate="firing", {subject.of}}}'
    if one.scenario.labels:
        yield f"      - expr: {quoted(alerts)}"
    else:
        yield f"      - expr: {quoted(f'count by ({names.TIER}) ({alerts})')}"
    yield f"        eval_time: {minute}m"
    if not firing:
        yield "        exp_samples: []"
        return
    yield "        exp_samples:"
    if one.scenario.labels:
        for tier, group in sorted(firing):
            labels = subject.with_group(subject.alert_labels[tier], group)
            yield f"          - {{labels: {quoted('ALERTS' + _labels(labels))}, value: 1}}"
        return
    counted: dict[str, int] = {}
    for tier, _ in firing:
        counted[tier] = counted.get(tier, 0) + 1
    for tier in sorted(counted):
        yield f"          - {{labels: {quoted(_labels({names.TIER: tier}))}, value: {counted[tier]}}}"


def _figures(subject: Subject, minute: int, figures: Sequence[Figure], *, labels: bool) -> Iterator[str]:
    """Yield what is recorded at `minute`: with all labels where the story is about them, else by name and group."""
    records = "|".join(dict.fromkeys(record for record, _, _ in figures))
    by = () if labels else ("record", *subject.slo.group_by)
    yield from _recorded(f'__name__=~"{records}", {subject.of}', minute, by)
    for record, group, value in figures:
        own = {} if by else subject.record_labels if record in SHARED and subject.sloth else subject.own_labels
        yield f"          - {{labels: {quoted(_labels(subject.with_group({'record': record, **own}, group)))}, value: {_number(value)}}}"


def _sloth(subject: Subject, minute: int, figures: Sequence[tuple[str, str, float]]) -> Iterator[str]:
    slo = subject.slo
    records = "|".join(record for record, _, _ in figures)
    yield from _recorded(f'__name__=~"{records}", sloth_id="{slo.service}-{slo.name}"', minute)
    for record, window, value in figures:
        labels = {"record": record, **sloth_ids(slo), **slo.labels}
        if window:
            labels["sloth_window"] = window
        if record == "sloth_slo_info":
            labels |= {"sloth_mode": "cli-gen-prom", "sloth_spec": "mlops-obs", "sloth_version": "mlops-obs"}
            labels["sloth_objective"] = f"{(slo.objective * 100).normalize():f}"
        yield f"          - {{labels: {quoted(_labels(labels))}, value: {_number(value)}}}"


def _recorded(matchers: str, minute: int, by: Sequence[str] = ()) -> Iterator[str]:
    named = f'label_replace({{{matchers}}}, "record", "$1", "__name__", "(.+)")'
    named = f"sum by ({', '.join(by)}) ({named})" if by else named
    yield f"      - expr: {quoted(f'round({named}, {ROUNDED:f})')}"
    yield f"        eval_time: {minute}m"
    yield "        exp_samples:"


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{key}={quoted(labels[key])}" for key in sorted(labels)) + "}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
