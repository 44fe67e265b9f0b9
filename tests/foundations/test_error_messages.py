"""What every error of mlops-obs keeps: one line, a stable code, a place, advice, and its kind after a trip between processes."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_obs import errors
from mlops_obs.errors import Conflict, ObsError, SpecError, TargetError
from mlops_obs.slo.spec import SpecErrors

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ObsError)]


def test_an_error_says_where_what_todo_and_code_in_one_line():
    error = SpecError("OBS-SLO-003", "objective 99.9 is a percentage", todo="write 0.999", where="slo/credit-risk.yaml:14")

    assert str(error) == "slo/credit-risk.yaml:14: objective 99.9 is a percentage; write 0.999 [OBS-SLO-003]"


def test_what_is_not_known_leaves_no_punctuation_behind():
    assert str(ObsError("OBS-X-001", "it failed")) == "it failed [OBS-X-001]"


def test_a_persons_mistake_exits_with_2_and_the_worlds_with_1():
    codes = {kind.__name__: kind.exit_code for kind in KINDS}

    assert codes == dict.fromkeys(codes, 1) | {"SpecError": 2, "UsageError": 2}


def test_a_conflict_is_handled_wherever_a_refusing_target_is():
    assert issubclass(Conflict, TargetError)


def test_the_tree_in_the_docstring_is_the_tree():
    drawn = [line.split("--")[-1].split()[0] for line in (errors.__doc__ or "").splitlines() if "|--" in line or "`--" in line]

    assert sorted(drawn) == sorted(kind.__name__ for kind in KINDS if kind is not ObsError)


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.lists(st.text(), min_size=4, max_size=4))
def test_an_error_is_the_same_after_a_trip_between_processes(kind, texts):
    code, what, todo, where = texts
    error = kind(code, what, todo=todo, where=where)

    for trip in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(trip), trip.args, vars(trip), str(trip)) == (kind, error.args, vars(error), str(error))


def test_several_mistakes_of_one_document_travel_together():
    error = SpecErrors([SpecError("OBS-SLO-002", "unknown key"), SpecError("OBS-SLO-003", "a percentage")])

    trip = pickle.loads(pickle.dumps(error))

    assert str(trip) == str(error) == "unknown key [OBS-SLO-002]\na percentage [OBS-SLO-003]"
    assert [one.code for one in trip.errors] == ["OBS-SLO-002", "OBS-SLO-003"]
