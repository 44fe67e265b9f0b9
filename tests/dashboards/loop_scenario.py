"""A run with a promotion and a rollback, made of counters and records such as the real ones: deterministic, no processes."""

from __future__ import annotations

import math
import random
from typing import Any

from mlops_obs.dashboards.report_data import PageArrival, Promise, ReportData, StageTiming
from mlops_obs.metric_names import LATENCY_BUCKETS
from mlops_obs.slo.counters import Series

T0 = 1_700_000_000.0
SERVICE = "credit-risk"
# (from second, weights, action, canary, phase)
ACTS: list[tuple[float, dict[str, int], str, str, str]] = [
    (112, {"v1": 100}, "deploy", "v2", "Progressing"),
    (116, {"v1": 80, "v2": 20}, "advance", "v2", "Progressing"),
    (130, {"v1": 50, "v2": 50}, "advance", "v2", "Progressing"),
    (143, {"v2": 100}, "advance", "v2", "Progressing"),
    (156, {"v2": 100}, "promote", "v2", "Promoted"),
    (166, {"v2": 100}, "deploy", "v3", "Progressing"),
    (171, {"v2": 80, "v3": 20}, "advance", "v3", "Progressing"),
    (180, {"v2": 100}, "rollback", "v3", "RolledBack"),
]
END = 205.0
PAGE = """PAGE  credit-risk  AvailabilityBudgetBurn  revision v3

What burns    43.5 % of the requests of v3 fail (promise: 1 %)
How fast      43 times too fast; the 30-day budget lasts 16 h 33 min
Budget left   97.9 %
Done about it rolled back v3 4 s ago

Runbook    http://127.0.0.1:9000/runbooks/AvailabilityBudgetBurn
Dashboard  http://127.0.0.1:9000/d/mlops-obs-service?var-service=credit-risk"""


def evidence() -> dict[tuple[str, str], list[tuple[float, float]]]:
    """log10 of the e-values by revision and test, at each look."""
    return {
        ("v2", "errors"): [(T0 + s, -0.1 - (s - 116) * 0.012) for s in range(117, 157)],
        ("v2", "slow"): [(T0 + s, -0.05 - (s - 116) * 0.006) for s in range(117, 157)],
        ("v3", "errors"): [(T0 + s, 0.0 if s < 173 else min(1.02 * (s - 172), 7.9)) for s in range(172, 181)],
        ("v3", "slow"): [(T0 + s, 0.0 if s < 174 else min(0.4 * (s - 173), 2.9)) for s in range(172, 181)],
    }


def scenario(*, rolled_back: bool = True) -> ReportData:
    """Return the run; without the rollback, as it looks while v3 is still being watched."""
    rng = random.Random(7)
    acts = ACTS if rolled_back else ACTS[:-1]
    counts: dict[tuple[str, str], int] = {}
    buckets: dict[tuple[str, float], int] = {}
    requests: dict[tuple[str, str], list[tuple[float, float]]] = {}
    durations: dict[tuple[str, float], list[tuple[float, float]]] = {}
    bounds = (*LATENCY_BUCKETS, math.inf)
    for second in range(100, int(END) + 1):
        weights = next((w for at, w, *_ in reversed(acts) if at <= second), {"v1": 100})
        for _ in range(30):
            revision = rng.choices(list(weights), list(weights.values()))[0]
            bad = revision == "v3" and rng.random() < 0.42
            outcome = "error" if bad else "client_error" if rng.random() < 0.01 else "ok"
            seconds = rng.lognormvariate(math.log(0.03 if revision != "v2" else 0.036), 0.45) + (0.4 * rng.random() if bad else 0)
            counts[revision, outcome] = counts.get((revision, outcome), 0) + 1
            for bound in bounds:
                buckets[revision, bound] = buckets.get((revision, bound), 0) + (seconds <= bound)
        for revision in ["v1"] + (["v2"] if second >= 113 else []) + (["v3"] if second >= 167 else []):
            for outcome in ("ok", "client_error", "error"):
                requests.setdefault((revision, outcome), []).append((T0 + second, float(counts.get((revision, outcome), 0))))
            for bound in bounds:
                durations.setdefault((revision, bound), []).append((T0 + second, float(buckets.get((revision, bound), 0))))
    labels = {"service": SERVICE, "stage": "ingress"}
    return ReportData(
        SERVICE,
        T0,
        T0 + END,
        _records(acts),
        [Series({**labels, "revision": r, "outcome": o}, s) for (r, o), s in requests.items()],
        [Series({**labels, "revision": r, "le": "+Inf" if math.isinf(b) else str(b)}, s) for (r, b), s in durations.items()],
        (PageArrival(T0 + 184, PAGE, {"commonLabels": {"alertname": "AvailabilityBudgetBurn", "service": SERVICE, "revision": "v3"}}),)
        if rolled_back
        else (),
        (
            StageTiming("simulate a lender", T0, T0 + 9, "4 000 customers"),
            StageTiming("features, batch", T0 + 9, T0 + 31, "12 features"),
            StageTiming("parity check", T0 + 31, T0 + 38, "bit for bit equal"),
            StageTiming("train v1", T0 + 38, T0 + 54, "AUC 0.742"),
            StageTiming("train v2", T0 + 54, T0 + 76, "AUC 0.791"),
            StageTiming("train v3", T0 + 76, T0 + 98, "AUC 0.794"),
            StageTiming("serve v1", T0 + 98, T0 + 106),
        ),
        (Promise("availability", 0.99), Promise("latency", 0.95, 0.25)),
        "All data is synthetic: a simulated lender, seed 7.",
    )


def _records(acts: list[tuple[float, dict[str, int], str, str, str]]) -> list[dict[str, Any]]:
    """Decisions, results and the looks that changed nothing, shaped as the controller writes them."""
    records: list[dict[str, Any]] = []
    before = {"v1": 100}
    for at, weights, action, canary, phase in acts:
        for look in range(int(records[-1]["at"] - T0) + 2 if records else int(at), int(at), 2):
            records.append(_record(look, before, before, "wait", canary, "Progressing"))
        acted = _record(at, before, weights, action, canary, phase)
        records += [acted, {**acted, "at": T0 + at + 0.4, "kind": "result"}]
        before = weights
    return records


def _record(at: float, before: dict[str, int], after: dict[str, int], action: str, canary: str, phase: str) -> dict[str, Any]:
    stable = "v1" if canary == "v2" else "v2"
    looks = {test: [value for t, value in points if t <= T0 + at] for (who, test), points in evidence().items() if who == canary}
    bad = {"errors": 31, "slow": 14} if action == "rollback" else {}
    total = 74 if bad else int((at - (112 if canary == "v2" else 167)) * 8)
    tests = {
        test: {
            "test": test,
            "canary_bad": bad.get(test, 0),
            "canary_total": total,
            "stable_bad": 0,
            "stable_total": 210 if bad else total * 2,
            "log10_e": values[-1],
            "log10_e_peak": max(0.0, *values),
            "log10_bound": 2.30103,
            "difference_upper": 0.031,
            "margin": 0.05,
        }
        for test, values in looks.items()
        if values
    }
    reasons = {
        "deploy": f"deploying {canary} at weight 0",
        "advance": f"{canary} is at most 3.1% worse (errors, margin 5.0%)"
        if tests
        else f"{canary} is ready and {stable}'s requests can be seen",
        "promote": f"{canary} is at most 3.1% worse (errors, margin 5.0%)",
        "rollback": f"41.9% (31/74) of {canary}'s requests failed against 0.0% (0/210) of {stable}'s; evidence 10^8:1 >= 200:1",
        "wait": "more requests are needed",
    }
    return {
        "at": T0 + at,
        "rollout": f"{SERVICE}-{canary}",
        "service": SERVICE,
        "canary": canary,
        "stable": stable,
        "kind": "decision",
        "phase": phase,
        "action": action,
        "ok": True,
        "weights_before": before,
        "weights_after": after,
        "reason": reasons[action],
        "evidence": {"verdict": "undecided", "tests": tests},
        "actor": "controller",
    }
