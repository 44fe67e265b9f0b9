"""The same run as OpenMetrics text with every metric that a dashboard asks for: written into a real Prometheus by promtool."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from loop_scenario import ACTS, END, SERVICE, T0, evidence, scenario

from mlops_obs import metric_names as m

Samples = Sequence[tuple[float, float]]
GPU_LABELS = {"gpu": "0", "uuid": "GPU-1", "model_name": "H200"}


def openmetrics() -> str:
    """Return the text, ended by # EOF; series one after another, which promtool sorts."""
    lines = []
    for name, labels, samples in _series():
        written = ",".join(f'{key}="{value}"' for key, value in labels.items())
        lines += [f"{name}{{{written}}} {value} {at}" for at, value in samples]
    return "\n".join([*lines, "# EOF", ""])


def _series() -> Iterator[tuple[str, Mapping[str, str], Samples]]:
    times = [T0 + second for second in range(100, int(END) + 1)]
    data = scenario()
    for one in data.requests:
        yield m.REQUESTS.name, one.labels, one.samples
    for one in data.durations:
        yield f"{m.REQUEST_DURATION.name}_bucket", one.labels, one.samples
    for (revision, test), samples in evidence().items():
        yield m.ROLLOUT_EVIDENCE.name, {"service": SERVICE, "revision": revision, "test": test}, samples
    yield from _rollout(times)
    yield from _slo(times)
    service, v2 = {"service": SERVICE}, {"service": SERVICE, "revision": "v2"}

    def flat(value: float) -> Samples:
        return [(at, value) for at in times]

    def rising(rate: float) -> Samples:
        return [(at, rate * (at - times[0])) for at in times]

    def wavy(middle: float, swing: float) -> Samples:
        return [(at, round(middle + swing * math.sin((at - T0) / 9), 4)) for at in times]

    for number in range(4):
        yield "up", {"job": "mlops-obs", "instance": f"127.0.0.1:{9000 + number}"}, flat(1)
    yield "up", {"job": "somebody-else", "instance": "127.0.0.1:9900"}, flat(0)
    yield "ALERTS", {"alertname": "DriftBudgetBurn", "alertstate": "firing", "severity": "ticket", **service}, flat(1)
    yield m.REQUESTS_INFLIGHT.name, {**v2, "stage": "ingress"}, wavy(2, 1)
    yield m.OBSERVATIONS_DROPPED.name, {**v2, "reason": "ring_full"}, rising(0)
    for collector, reason, value in (("latency", "", 1), ("drift", "", 1), ("gpu", "no_driver", 0)):
        target = {"job": "mlops-obs", "instance": "127.0.0.1:9000"}
        yield m.COLLECTOR_UP.name, {**target, "collector": collector, "reason": reason}, flat(value)
    for feature, middle in (("income", 0.04), ("amount_30d", 0.31), ("bureau_score", 0.08), ("prediction", 0.12)):
        yield m.DRIFT_PSI.name, {**v2, "feature": feature}, wavy(middle, 0.02)
        yield m.MISSING_RATIO.name, {**v2, "feature": feature}, wavy(0.02, 0.01)
    for verdict, rate in (("stable", 0.05), ("drifted", 0.002), ("inconclusive", 0.01)):
        yield m.DRIFT_WINDOWS.name, {**v2, "verdict": verdict}, rising(rate)
    yield m.DRIFT_ROWS.name, v2, rising(29)
    yield m.DRIFT_ALARM.name, {**v2, "feature": "amount_30d", "kind": "unit"}, flat(1)
    yield m.DRIFT_EVIDENCE.name, v2, wavy(0.1, 0.05)
    yield m.DRIFT_BUDGET_USED.name, v2, flat(1)
    pair = {**v2, "feature": "amount_30d", "between": "online_input"}
    yield m.SKEW_NAMED.name, {**pair, "kind": "unit"}, flat(1)
    for kind, rate in (("equal", 1.5), ("unit", 0.1)):
        yield m.SKEW_PAIRS.name, {**pair, "kind": kind}, rising(rate)
    for outcome, rate in (("met", 9.0), ("failed", 0.1)):
        yield m.EXPECTATION_CHECKS.name, {**v2, "feature": "amount_30d", "expectation": "range", "outcome": outcome}, rising(rate)
    yield m.TABLE_AGE.name, {**service, "table": "bureau"}, wavy(900, 60)
    for outcome, rate in (("on_time", 0.01), ("late", 0.001)):
        yield m.MATERIALISATIONS.name, {**service, "table": "bureau", "outcome": outcome}, rising(rate)
    yield m.FEATURE_VALUE_AGE.name, {**service, "feature": "amount_30d"}, wavy(40, 5)
    for view, age in (("transactions", 3), ("bureau", 40)):
        yield m.FEATURE_AGE.name, {**service, "feature_view": view}, wavy(age, age / 4)
        for freshness, rate in (("fresh", 29.0), ("late", 0.2), ("missing", 0.05)):
            yield m.FEATURE_READS.name, {**service, "feature_view": view, "freshness": freshness}, rising(rate)
    for stage, rows in (("features", 500.0), ("train", 90.0)):
        labels = {**v2, "stage": stage}
        yield m.STAGE_RUNS.name, {**labels, "outcome": "ok"}, rising(0.02)
        yield f"{m.STAGE_DURATION.name}_sum", labels, rising(0.4)
        yield f"{m.STAGE_DURATION.name}_count", labels, rising(0.02)
        yield m.STAGE_ROWS.name, labels, rising(rows)
    for phase, rate in (
        ("data_wait", 0.12),
        ("compute", 0.7),
        ("optimizer", 0.1),
        ("checkpoint", 0.05),
        ("evaluate", 0.03),
        ("restart", 0),
    ):
        yield m.TRAINING_TIME.name, {**v2, "phase": phase}, rising(rate)
    yield m.TRAINING_LOSS.name, v2, [(at, round(0.7 * math.exp(-(at - times[0]) / 60), 4)) for at in times]
    for metric, rate in ((m.TRAINING_STEPS, 11.0), (m.TRAINING_SAMPLES, 700.0), (m.TRAINING_RESTARTS, 0.01), (m.TRAINING_NONFINITE, 0)):
        yield metric.name, v2, rising(rate)
    yield m.TRAINING_CHECKPOINT_TIME.name, v2, [(at, at - (at % 30)) for at in times]
    yield m.GPU_UTILIZATION.name, GPU_LABELS, wavy(0.8, 0.15)
    yield m.GPU_MEMORY_USED.name, GPU_LABELS, flat(90e9)
    yield m.GPU_MEMORY_TOTAL.name, GPU_LABELS, flat(150e9)
    yield m.GPU_POWER.name, GPU_LABELS, wavy(480, 120)
    yield m.GPU_ENERGY.name, GPU_LABELS, rising(490)
    yield m.GPU_TEMPERATURE.name, GPU_LABELS, wavy(61, 4)
    yield m.GPU_COUNT.name, {"state": "present"}, flat(1)
    yield m.GPU_COUNT.name, {"state": "lost"}, flat(0)


def _rollout(times: Sequence[float]) -> Iterator[tuple[str, Mapping[str, str], Samples]]:
    service = {"service": SERVICE}
    changes = [(T0, {"v1": 100}, "", "", "Promoted"), *((T0 + at, *rest) for at, *rest in ACTS)]
    for revision in ("v1", "v2", "v3"):
        samples = [(at, next(w for t, w, *_ in reversed(changes) if t <= at).get(revision, 0) / 100) for at in times]
        yield m.ROLLOUT_WEIGHT.name, {**service, "revision": revision}, samples
    for canary, stable in (("v2", "v1"), ("v3", "v2")):
        for phase in ("Progressing", "Promoted", "RolledBack"):
            now = [(at, next((c, p) for t, _, _, c, p in reversed(changes) if t <= at)) for at in times]
            samples = [(at, float(state == (canary, phase))) for at, state in now if state[0] == canary]
            yield m.ROLLOUT_PHASE.name, {**service, "stable": stable, "canary": canary, "phase": phase}, samples
    for canary, stable in (("v2", "v1"), ("v3", "v2")):
        pair, judged = {**service, "canary": canary}, {**service, "revision": canary}
        for fault in ("none", "canary"):
            last = [(at, next((c, p) for t, _, _, c, p in reversed(changes) if t <= at)) for at in times]
            found = [(at, float((fault == "canary") == (state == ("v3", "RolledBack")))) for at, state in last if state[0] == canary]
            yield m.ROLLOUT_ATTRIBUTION.name, {**pair, "attribution": fault}, found
        yield m.ROLLOUT_WAY_BACK.name, {**pair, "stable": stable}, [(at, 1) for at in times]
        yield m.ROLLOUT_WAY_BACK_TIME.name, {**pair, "stable": stable}, [(at, 3.2) for at in times]
        yield m.ROLLOUT_NOTICES_WAITING.name, pair, [(at, 0) for at in times]
        yield m.ROLLOUT_OBSERVED_SHARE.name, judged, [(at, 0.19 + 0.01 * math.sin(at)) for at in times]
        for test, seconds in (("errors", 95.0), ("slow", 240.0)):
            yield m.ROLLOUT_POWER.name, {**judged, "test": test}, [(at, seconds) for at in times]
            yield m.ROLLOUT_EVIDENCE_BOUND.name, {**judged, "test": test}, [(at, 2.30103) for at in times]
    for at, _, action, canary, _ in ACTS:
        if [a for a, _, verb, c, _ in ACTS if (verb, c) == (action, canary)][-1] == at:
            labels = {**service, "revision": canary, "action": action}
            yield m.ROLLOUT_ACTION_TIME.name, labels, [(t, T0 + at) for t in times if t >= T0 + at]
    for action in ("advance", "wait", "rollback", "promote"):
        yield m.ROLLOUT_DECISIONS.name, {**service, "action": action}, [(at, (at - times[0]) // 9) for at in times]


def _slo(times: Sequence[float]) -> Iterator[tuple[str, Mapping[str, str], Samples]]:
    bad = [(at, min(max(at - T0 - 172, 0), 9)) for at in times]
    for slo, budget in (("availability", 0.01), ("latency", 0.05)):
        for revision in ("", "v2", "v3"):
            labels = {"service": SERVICE, "team": "risk-ml", "slo": slo, "revision": revision}
            share = {"": 0.09, "v2": 0.0, "v3": 0.42}[revision] * (1 if slo == "availability" else 0.6)
            yield m.SLO_BUDGET_REMAINING, labels, [(at, round(1 - share * n / 2, 4)) for at, n in bad]
            yield m.SLO_BURN_RATE, labels, [(at, round(share * n / 9 / budget, 3)) for at, n in bad]
            yield m.SLO_ERROR_BUDGET, labels, [(at, budget) for at in times]
            yield m.SLO_OBJECTIVE, labels, [(at, 1 - budget) for at in times]
            yield m.SLO_ERROR_RATIO.format(window="1h"), labels, [(at, round(share * n / 9, 4)) for at, n in bad]
            yield m.SLO_TOTAL.format(window="5m"), labels, [(at, 9_000) for at in times]
            yield m.SLO_BAD.format(window="5m"), labels, [(at, round(9_000 * share * n / 9)) for at, n in bad]
            if slo == "latency":
                yield m.SLO_THRESHOLD, labels, [(at, 0.25) for at in times]
    page = {"alertname": "AvailabilityBudgetBurn", "slo": "availability", "severity": "page", "tier": "page-quick", "alertstate": "firing"}
    yield "ALERTS", {"service": SERVICE, **page}, [(at, 1) for at, n in bad if n > 3]
    yield m.ROLLOUT_POLICY.name, {"service": SERVICE, "slo": "availability", "action": "warn"}, [(at, 1) for at, n in bad if n > 1]
    for cohort, wrong in ((T0 - 7_200, 12.0), (T0 - 3_600, 9.0)):
        labels = {"service": SERVICE, "revision": "v2", "cohort": str(int(cohort))}
        yield m.QUALITY_EVENTS.name, labels, [(at, 400) for at in times]
        yield m.QUALITY_BAD.name, labels, [(at, wrong) for at in times]
