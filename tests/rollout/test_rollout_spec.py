"""A rollout document with a mistake is refused before anything is deployed, with place, cause and remedy."""

import pytest

from mlops_obs.errors import SpecError
from mlops_obs.rollout.spec.rollout import Rollout, parse_rollout

GOOD = {"service": "credit-risk", "canary": "v2", "package": "/packages/v2"}


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"step": [20, 100]}, "OBS-ROLL-002", "did you mean steps?"),
        ({"steps": [20, 50]}, "OBS-ROLL-003", "rise and end at 100"),
        ({"steps": [50, 20, 100]}, "OBS-ROLL-003", "rise and end at 100"),
        ({"steps": []}, "OBS-ROLL-003", "rise and end at 100"),
        ({"alpha": 0}, "OBS-ROLL-003", "alpha"),
        ({"step_duration_min": "soon"}, "OBS-ROLL-003", "write for example 250ms"),
        ({"step_duration_min": True}, "OBS-ROLL-003", "write a duration"),
        ({"latency_threshold": "260ms"}, "OBS-ROLL-003", "the nearest is 0.25 s"),
        ({"on_inconclusive": "pray"}, "OBS-ROLL-003", "on_inconclusive"),
        ({"canary": None}, "OBS-ROLL-003", "canary"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_remedy(change, code, words):
    with pytest.raises(SpecError) as caught:
        parse_rollout({**GOOD, **change}, lambda key: f"rollout.yaml:{key}")

    assert code in str(caught.value)
    assert words in str(caught.value)
    assert f"rollout.yaml:{next(iter(change))}" in str(caught.value)


def test_a_missing_key_is_named():
    with pytest.raises(SpecError, match="package is missing"):
        parse_rollout({"service": "credit-risk", "canary": "v2"})


def test_a_list_is_not_a_rollout():
    with pytest.raises(SpecError, match="OBS-ROLL-001"):
        parse_rollout([GOOD])


def test_a_spec_survives_being_stored():
    spec = parse_rollout({**GOOD, "step_duration_min": "1m30s", "latency_threshold": "250ms"})

    assert spec.step_duration_min == 90
    assert Rollout.model_validate_json(spec.model_dump_json()) == spec


def test_a_misspelt_key_is_named_rather_than_the_key_that_is_missing_because_of_it():
    with pytest.raises(SpecError, match=r"unknown key canry; did you mean canary\?"):
        parse_rollout({"service": "credit-risk", "canry": "v2", "package": "/packages/v2"})


@pytest.mark.parametrize(
    "change", [{"least_detectable_ratio": float("inf")}, {"deadline": float("nan")}, {"step_duration_min": float("inf")}]
)
def test_a_limit_that_is_no_finite_number_is_refused(change):
    with pytest.raises(SpecError, match=next(iter(change))):
        parse_rollout({**GOOD, **change})
