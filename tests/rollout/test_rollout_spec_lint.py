"""What a valid document would still do wrong is said before the start, with a code, a level and a remedy."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mlops_obs.rollout.spec.lint import CODES, Setting, deciding_tests, lint, step_power
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.slo.spec import SLO

BASE = {"service": "shop", "canary": "v2", "package": "p", "expected_requests": "200/s", "watch": "30m", "watch_weight": 5, "digest": "d"}
KSERVE = {"target": {"kserve": {"namespace": "a", "name": "b"}}, "slice": "60s", "stale_after": "180s", "block": "60s"}


def spec(**changes) -> Rollout:
    return Rollout.model_validate({**BASE, "step_duration_min": "2m", **changes})


def slo(name="availability", objective="0.999", **indicator) -> SLO:
    kind = indicator or {"type": "availability"}
    return SLO.model_validate({"service": "shop", "team": "web", "name": name, "objective": objective, "indicator": kind})


def forgetful(least=1):
    return SimpleNamespace(keeps_the_way_back=False, least_watch_weight=least, limits=lambda: ("It cannot mirror.",))


def found(rollout: Rollout, **known):
    return {one.code: one for one in lint(rollout, Setting(**known))}


def test_a_sound_document_has_no_findings():
    assert lint(spec(stale_after="20s"), Setting(scrape=2.0)) == []


CASES = {
    "OBS-RLINT-001": ("warning", {"expected_requests": "2/s"}, {}),
    "OBS-RLINT-002": ("warning", {"expected_requests": None}, {}),
    "OBS-RLINT-003": ("error", {"deadline": "5m"}, {}),
    "OBS-RLINT-004": ("error", {}, {"scrape": 15.0}),
    "OBS-RLINT-005": ("warning", {"stale_after": "3s"}, {}),
    "OBS-RLINT-006": ("error", {"watch_weight": 0}, {"target": forgetful()}),
    "OBS-RLINT-007": ("note", {"watch": None, "watch_weight": 0}, {}),
    "OBS-RLINT-008": ("error", {"gates": [{"type": "quality", "name": "labels", "maturity": "1d"}]}, {}),
    "OBS-RLINT-009": ("warning", {"gates": [{"type": "drift", "name": "inputs", "for": "2h"}]}, {}),
    "OBS-RLINT-010": (
        "warning",
        {"gates": [{"type": "promql", "name": "x", "query": "x{r='{{revision}}'}", "max": 1, "on_fail": "rollback"}]},
        {},
    ),
    "OBS-RLINT-011": ("error", {"gates": [{"type": "slo", "name": "x", "slo": "availabilty"}]}, {"slos": [slo()]}),
    "OBS-RLINT-012": ("warning", {"non_inferiority_margin": 0.1}, {"slos": [slo()]}),
    "OBS-RLINT-013": ("warning", {"latency_threshold": "500ms"}, {"slos": [slo(type="latency", threshold="250ms")]}),
    "OBS-RLINT-014": ("warning", {"steps": [1, 100]}, {}),
    "OBS-RLINT-015": ("warning", {"noise_log_sd": 0.1}, {}),
    "OBS-RLINT-016": ("note", {"step_duration_min": "10s"}, {}),
    "OBS-RLINT-017": ("note", {"digest": ""}, {}),
    "OBS-RLINT-018": ("note", {}, {"target": forgetful()}),
    "OBS-RLINT-019": ("note", {"dry_run": True}, {}),
    "OBS-RLINT-021": ("warning", {"gates": [{"type": "drift", "name": "inputs"}]}, {"silent": {"inputs": "no such series"}}),
    "OBS-RLINT-020": ("note", {"pace": "auto", "steps": [5, 100]}, {}),
}


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_found_where_it_holds_and_only_there(code):
    level, changes, known = CASES[code]

    here, elsewhere = found(spec(**changes), **known), found(spec(stale_after="20s"), scrape=2.0)

    assert here[code].level == level
    assert here[code].todo or level == "note"
    assert code not in elsewhere


def test_errors_come_first_and_each_finding_has_its_place_and_its_code():
    findings = lint(spec(deadline="5m", digest=""), Setting(), lambda keys: f"rollout.yaml:{keys[0]}")

    assert [one.level for one in findings] == sorted((one.level for one in findings), key=("error", "warning", "note").index)
    assert str(findings[0]).startswith("rollout.yaml:deadline: error: ")
    assert findings[0].document()["key"] == "deadline"


def test_little_traffic_is_told_with_what_it_could_still_find():
    (one,) = [one for one in lint(spec(expected_requests="2/s")) if one.code == "OBS-RLINT-001"]

    assert "2 times as many bad requests are not seen within 30 min" in one.what
    assert "10 times as many would be" in one.what


def test_more_traffic_and_larger_regressions_are_seen_sooner():
    seconds = {
        (rps, ratio): step_power(spec(), rps, ratio=ratio)[0].seconds or float("inf") for rps in (2, 20, 200, 2000) for ratio in (2, 4, 10)
    }

    assert all(seconds[a, ratio] >= seconds[b, ratio] for a, b in ((2, 20), (20, 200), (200, 2000)) for ratio in (2, 4, 10))
    assert all(seconds[rps, 2] >= seconds[rps, 4] >= seconds[rps, 10] for rps in (2, 20, 200, 2000))


def test_at_100_percent_there_is_no_power_unless_stable_keeps_a_share():
    kept, gone = spec(steps=[50, 100]), spec(steps=[50, 100], watch_weight=0)

    assert step_power(gone, 200)[-1].seconds is None
    assert (step_power(kept, 200)[-1].seconds or 0) > 0
    assert "OBS-RLINT-001" not in found(gone, requests=2000.0)


def test_measured_traffic_counts_more_than_what_was_expected():
    assert "OBS-RLINT-001" in found(spec(), requests=2.0)


def test_only_gates_that_count_and_decide_share_the_error_rate():
    gates = [
        {"type": "latency", "name": "a"},
        {"type": "slo", "name": "b", "slo": "x", "dry_run": True},
        {"type": "drift", "name": "c"},
        {"type": "counters", "name": "d", "bad": "x", "total": "y"},
    ]

    assert deciding_tests(spec(gates=gates)) == 4


def test_a_cluster_that_is_scraped_as_usual_is_told_that_the_slices_are_too_narrow():
    narrow = spec(**{**KSERVE, "slice": "2s"})

    assert found(narrow)["OBS-RLINT-004"].level == "warning"
    assert "OBS-RLINT-004" not in found(spec(**KSERVE))
    assert "OBS-RLINT-004" not in found(narrow, scrape=1.0)
