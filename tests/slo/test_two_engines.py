"""The Python replay and Prometheus fire and resolve in the same minutes, on random histories of every kind of SLO.

A scenario is one history of one group: gaps, resets, idle stretches, births and ends. Many are told to one promtool, as groups of one
SLO or as services side by side, and every evaluation of every one of them is compared.
"""

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from random_histories import History, promtool_cases, random_cohorts, random_counts, random_gauge, samples, write

from mlops_obs.slo import recordings
from mlops_obs.slo import replay as replay_module
from mlops_obs.slo.indicators import Cohorts, Counters, Parts, Samples, source
from mlops_obs.slo.raw_samples import Flavour
from mlops_obs.slo.replay import replay
from mlops_obs.slo.rules.prometheus_rules import render_rules
from mlops_obs.slo.spec import SLO

SCENARIOS = int(os.environ.get("MLOPS_OBS_SCENARIOS", "200"))
AVAILABILITY = {"type": "availability"}
LATENCY = {"type": "latency", "threshold": "250ms"}
CUSTOM = {"type": "availability", "total": "app_calls_total", "good": 'app_calls_total{code!~"5.."}'}
PROBE = {"type": "boolean", "metric": 'probe_success{job="blackbox"}'}
DRIFT = {"type": "drift"}
QUALITY = {"type": "quality", "cohort": "10m", "maturity": "20m"}
POLICY = [{"below": "0.6", "action": "warn"}, {"below": "0.1", "action": "freeze"}]


HELD = [
    {"name": "fast", "severity": "page", "factor": "2", "long": "7m", "short": "5m", "hold": "3m"},
    {"name": "slow", "severity": "ticket", "factor": "1.2", "long": "26h", "short": "65m", "hold": "20m"},
]


@dataclass(frozen=True)
class Batch:
    """`slos` told with `scenarios` histories over `minutes`, evaluated every `step` minutes.

    One promtool is told up to `services` with up to `groups` groups each, since it loads few samples at once.
    """

    name: str
    slos: Sequence[dict]
    scenarios: int
    minutes: int = 150
    step: int = 1
    groups: int = 60
    services: int = 1


def slo(name: str, indicator: dict, **more) -> dict:
    return {"service": "shop", "team": "web", "name": name, "indicator": indicator, "objective": "0.99", "replan": True, **more}


BY_REVISION = {"group_by": ["revision"]}
BATCHES = [
    Batch("requests by revision, a week", [slo("a", AVAILABILITY, period="7d", budget_policy=POLICY, **BY_REVISION)], 140),
    Batch(
        "a low objective, slow for a month",
        [slo("l", LATENCY, objective="0.7", statistical_bound="off", min_bad_events=1, **BY_REVISION)],
        140,
    ),
    Batch("counters of one's own, held", [slo("c", CUSTOM, objective="0.95", period="3d", group_by=["revision"], tiers=HELD)], 140),
    Batch(
        "slices",
        [slo("t", AVAILABILITY, period="1d", budgeting="timeslices", slice_objective="0.95", budget_policy=POLICY, **BY_REVISION)],
        120,
    ),
    Batch("mean of slices", [slo("m", LATENCY, period="26h", budgeting="ratio_timeslices", budget_policy=POLICY, **BY_REVISION)], 120),
    Batch("this month", [slo("q", AVAILABILITY, period="month", budget_policy=POLICY, **BY_REVISION)], 120),
    Batch("probes", [slo("p", PROBE, objective="0.9", period="1d", budget_policy=POLICY, group_by=["instance"])], 65),
    Batch(
        "a chain",
        [
            slo("a", AVAILABILITY, objective="0.95", period="1d"),
            slo("d", DRIFT, objective="0.9", period="1d"),
            slo("whole", {"type": "composite", "of": ["d", "a"]}, objective="0.9", period="1d", budget_policy=POLICY),
        ],
        20,
        groups=1,
        services=5,
    ),
    Batch("late labels", [slo("q", QUALITY, objective="0.9", period="1d", budget_policy=POLICY, **BY_REVISION)], 60, groups=20),
    Batch("over the day, on the hour grid", [slo("h", AVAILABILITY, period="25h", budget_policy=POLICY, **BY_REVISION)], 70, 1_800, 5, 20),
    Batch(
        "weeks in Kolkata",
        [slo("w", AVAILABILITY, period="week", time_zone="Asia/Kolkata", budget_policy=POLICY, **BY_REVISION)],
        5,
        5_700,
        5,
        3,
    ),
]


def told(one: SLO, rng: random.Random, batch: Batch, groups: int) -> Iterator[History]:
    """Yield the series of `one`: a history for each of its groups, or one if it has none."""
    kind, length = source(one), batch.minutes // batch.step + 1
    if isinstance(kind, Parts):
        return
    for number in range(groups if one.group_by else 1):
        group = dict.fromkeys(one.group_by, f"v{number}")
        if isinstance(kind, Samples):
            yield History(kind.selector.metric, {**kind.selector.equal, **group}, random_gauge(rng, length))
            continue
        if isinstance(kind, Cohorts):
            for start, events, bad in random_cohorts(rng, length, kind.cohort // 60):
                labels = {**kind.events.equal, **group, "cohort": str(start)}
                begun = [None if value is None else float(start) for value in events]
                for selector, values in ((kind.events, events), (kind.bad, bad), (kind.start, begun)):
                    yield History(selector.metric, labels, values)
            continue
        assert isinstance(kind, Counters)
        bad, good = random_counts(rng, length, 5_000, [float(one.budget), 4 * float(one.budget), 0.3, 1])
        base = {**kind.total.equal, **group}
        if one.indicator.type == "latency":
            every = [None if b is None and g is None else (b or 0) + (g or 0) for b, g in zip(bad, good, strict=True)]
            yield History(kind.total.metric, base, every)
            yield History(kind.good.metric, {**kind.good.equal, **group}, good)
            continue
        passed, failed = {
            "availability": ({"outcome": "ok"}, {"outcome": "error"}),
            "drift": ({"verdict": "stable"}, {"verdict": "drifted"}),
        }[one.indicator.type]
        if one.indicator.custom:
            passed, failed = {"code": "200"}, {"code": "503"}
        yield History(kind.total.metric, {**base, **passed}, good)
        yield History(kind.total.metric, {**base, **failed}, bad)


def portions() -> Iterator[tuple[Batch, int, int]]:
    """Yield (batch, number, scenarios): what one promtool is told."""
    for batch in BATCHES:
        left = max(1, round(batch.scenarios * SCENARIOS / 1_000))
        for number, first in enumerate(range(0, left, batch.groups * batch.services)):
            yield batch, number, min(left - first, batch.groups * batch.services)


def judge(promtool, folder: Path, batch: Batch, number: int, scenarios: int, flavour: Flavour = "prometheus-2") -> tuple[int, str, list]:
    """Return promtool's exit code and words on what the replay says, and that."""
    rng = random.Random(f"{batch.name} {number}")
    files, history, slos = [], [], []
    while scenarios > 0:
        service, groups = f"shop{len(files)}", min(scenarios, batch.groups)
        mine = [SLO(**{**one, "service": service}) for one in batch.slos]
        slos += mine
        history += [one for slo in mine for one in told(slo, rng, batch, groups)]
        write(folder, **{service: render_rules(mine, sloth_names=False)})
        files.append(f"{service}.yaml")
        scenarios -= groups
    at = np.arange(0, batch.minutes * 60 + 1, batch.step * 60)
    series = samples(history, batch.step * 60)

    def read(one):
        return [raw for raw in series if raw.labels["__name__"] == one.metric and one.accepts(raw.labels)]

    fired = replay(slos, read, at, flavour)
    expected = {frozenset({**one.labels, "alertname": one.name}.items()): one.firing for one in fired}
    write(folder, cases=promtool_cases(files, history, expected, at, scrape=f"{batch.step}m"))
    return *promtool("test", "rules", folder / "cases.yaml"), fired


@pytest.mark.parametrize(("batch", "number", "scenarios"), [pytest.param(*one, id=f"{one[0].name} {one[1]}") for one in portions()])
def test_both_engines_fire_and_resolve_in_the_same_minutes(promtool, tmp_path, batch, number, scenarios):
    code, output, fired = judge(promtool, tmp_path, batch, number, scenarios)

    assert code == 0, output[:5_000]
    assert fired, "and not all of them are silent"
    assert not all(one.firing.all() for one in fired)


@pytest.mark.parametrize("wrong", ["ranges as Prometheus 3 reads them", "windows without their last hour", "alerts without their for"])
def test_a_replay_that_is_a_little_wrong_is_told_apart(promtool, tmp_path, monkeypatch, wrong):
    batch = next(one for one in BATCHES if "held" in one.name)
    if "hour" in wrong:
        monkeypatch.setattr(recordings.np, "fmax", lambda grid, hour: grid)
    if "for" in wrong:
        monkeypatch.setattr(replay_module, "held", lambda condition, at, seconds: condition)

    code, output, _ = judge(promtool, tmp_path, batch, 0, 10, "prometheus-3" if "3" in wrong else "prometheus-2")

    assert code != 0
    assert "AvailabilityBudgetBurn" in output
