from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest

from mlops_obs.lifecycle import Telemetry, instrument
from mlops_obs.testing.telemetry import TRACE_ID, Recorder

OTHER_TRACE = "11111111111111111111111111111111"
HEADER = f"00-{OTHER_TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def telemetry(recorder: Recorder) -> Telemetry:
    return recorder.connect(service="credit-risk", revision="v1", stage="serve")


def test_a_function_keeps_its_name_its_result_and_its_exceptions(telemetry: Telemetry, recorder: Recorder) -> None:
    @telemetry.wrap
    def divide(a: float, b: float) -> float:
        """Divide."""
        return a / b

    assert divide(6, b=3) == 2
    with pytest.raises(ZeroDivisionError):
        divide(1, 0)
    assert (divide.__name__, divide.__doc__) == ("divide", "Divide.")
    assert recorder.outcomes() == ["ok", "error"]


def test_a_coroutine_function_stays_one(telemetry: Telemetry, recorder: Recorder) -> None:
    @telemetry.wrap
    async def answer(question: str) -> str:
        await asyncio.sleep(0)
        return question.upper()

    assert inspect.iscoroutinefunction(answer)
    assert asyncio.run(answer("x")) == "X"
    assert recorder.outcomes() == ["ok"]


def test_a_stream_lasts_until_its_last_item(telemetry: Telemetry, recorder: Recorder) -> None:
    @telemetry.wrap
    def stream() -> Iterator[int]:
        yield 1
        yield 2

    items = stream()
    assert next(items) == 1
    assert recorder.outcomes() == []
    assert list(items) == [2]
    assert recorder.outcomes() == ["ok"]


def test_a_caller_that_leaves_an_async_stream_is_no_error_of_ours(telemetry: Telemetry, recorder: Recorder) -> None:
    @telemetry.wrap
    async def stream() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def leave() -> None:
        items = stream()
        await anext(items)
        await items.aclose()

    asyncio.run(leave())

    assert recorder.outcomes() == ["client_error"]


def test_a_class_stays_a_class_and_only_its_calls_are_counted(telemetry: Telemetry, recorder: Recorder) -> None:
    @telemetry.wrap
    class Predictor:
        """Predicts."""

        def __init__(self, factor: int) -> None:
            self.factor = factor

        async def __call__(self, value: int) -> int:
            return self.factor * value

        def reconfigure(self, config: dict[str, int]) -> None:
            self.factor = config["factor"]

    predictor = Predictor(3)
    predictor.reconfigure({"factor": 4})

    assert asyncio.run(predictor(5)) == 20
    assert (Predictor.__name__, Predictor.__doc__) == ("Predictor", "Predicts.")
    assert recorder.outcomes() == ["ok"]


class _Model:
    def __init__(self) -> None:
        self.ready = True

    async def __call__(self, body: Any, headers: dict[str, str] | None = None) -> Any:
        if body is None:
            raise RuntimeError("no body")
        return body


def test_an_instance_stays_that_instance_and_of_its_class(telemetry: Telemetry, recorder: Recorder) -> None:
    model = _Model()

    wrapped = telemetry.wrap(model)

    assert wrapped is model
    assert isinstance(model, _Model)
    assert asyncio.run(model({"a": 1})) == {"a": 1}
    with pytest.raises(RuntimeError, match="no body"):
        asyncio.run(model(None))
    assert recorder.outcomes() == ["ok", "error"]


def test_other_instances_of_the_class_are_left_alone(telemetry: Telemetry, recorder: Recorder) -> None:
    telemetry.wrap(_Model())

    asyncio.run(_Model()({}))

    assert recorder.outcomes() == []


def test_wrapping_twice_counts_once(telemetry: Telemetry, recorder: Recorder) -> None:
    model = telemetry.wrap(telemetry.wrap(_Model()))
    double = telemetry.wrap(telemetry.wrap(lambda: 1))

    asyncio.run(model({}))
    double()

    assert recorder.outcomes() == ["ok", "ok"]


def test_a_returned_503_is_an_error_and_a_returned_404_is_the_callers(telemetry: Telemetry, recorder: Recorder) -> None:
    respond = telemetry.wrap(lambda code: SimpleNamespace(status_code=code))

    respond(503), respond(404), respond(200)

    assert recorder.outcomes() == ["error", "client_error", "ok"]


@pytest.mark.parametrize(
    ("call", "trace"),
    [
        (lambda wrap: wrap(lambda body, headers=None: body)(1, {"traceparent": HEADER}), OTHER_TRACE),
        (lambda wrap: wrap(lambda body, headers=None: body)(1, headers={"traceparent": HEADER}), OTHER_TRACE),
        (lambda wrap: wrap(lambda body, headers=None: body)(1), TRACE_ID),
        (lambda wrap: wrap(lambda request: request)(SimpleNamespace(headers={"traceparent": HEADER})), OTHER_TRACE),
        (lambda wrap: wrap(lambda body, traceparent=None: body)(1, traceparent=HEADER), OTHER_TRACE),
        (lambda wrap: wrap(lambda headers: headers)(object()), TRACE_ID),
    ],
    ids=["positional headers", "named headers", "no headers", "request object", "traceparent argument", "strange headers"],
)
def test_the_trace_goes_on_from_where_the_caller_put_it(telemetry: Telemetry, recorder: Recorder, call: Any, trace: str) -> None:
    call(telemetry.wrap)

    assert [event.trace_id for event in recorder.events] == [trace]


def test_what_cannot_be_called_comes_back_unchanged_with_a_warning(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    class Plain:
        pass

    with caplog.at_level(logging.WARNING, "mlops_obs"):
        assert telemetry.wrap(Plain) is Plain
        assert telemetry.wrap(SimpleNamespace(func_or_class=Plain)).func_or_class is Plain

    assert "no __call__" in caplog.text
    assert "below @serve.deployment" in caplog.text


def test_instrumented_code_travels_by_cloudpickle_and_is_instrumented_where_it_lands(process: object) -> None:
    telemetry = instrument("credit-risk", "v9")

    @telemetry.wrap
    class Predictor:
        def __call__(self, value: int) -> int:
            return value + 1

    there = cloudpickle.loads(cloudpickle.dumps(Predictor))

    assert there()(1) == 2
    assert telemetry._request_meter().snapshot().outcomes["ok"] == 1
