from __future__ import annotations

import asyncio

import pytest

from mlops_obs.lifecycle.outcome import outcome_of_exception, outcome_of_status


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (200, "ok"),
        (304, "ok"),
        (400, "client_error"),
        (404, "client_error"),
        (408, "client_error"),
        (429, "error"),
        (500, "error"),
        (503, "error"),
    ],
)
def test_a_status_is_the_callers_fault_only_if_the_caller_could_have_done_better(code: int, outcome: str) -> None:
    assert outcome == outcome_of_status(code)


class _UnknownCustomer(LookupError):
    client_error = True


class _HTTPException(Exception):
    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (RuntimeError("boom"), "error"),
        (ValueError("the model's own"), "error"),
        (_UnknownCustomer(), "client_error"),
        (_HTTPException(422), "client_error"),
        (_HTTPException(503), "error"),
        (asyncio.CancelledError(), "client_error"),
        (GeneratorExit(), "client_error"),
        (SystemExit(), "error"),
        (TimeoutError(), "error"),
    ],
)
def test_an_exception_is_our_fault_unless_it_says_otherwise(error: BaseException, outcome: str) -> None:
    assert outcome == outcome_of_exception(error)


def test_types_that_the_program_lists_are_client_errors_and_so_are_their_subclasses() -> None:
    assert outcome_of_exception(KeyError("x"), (LookupError,)) == "client_error"
    assert outcome_of_exception(TypeError("x"), (LookupError,)) == "error"


def test_kserve_errors_that_become_400_and_404_are_client_errors() -> None:
    errors = pytest.importorskip("kserve.errors")

    assert outcome_of_exception(errors.InvalidInput("bad")) == "client_error"
    assert outcome_of_exception(errors.ModelNotFound("m")) == "client_error"
    assert outcome_of_exception(errors.InferenceError("broken")) == "error"
