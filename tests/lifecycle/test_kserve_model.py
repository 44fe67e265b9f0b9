from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mlops_obs.lifecycle import instrument
from mlops_obs.testing.telemetry import Recorder

kserve = pytest.importorskip("kserve")


class _CreditModel(kserve.Model):  # type: ignore[misc]  # kserve is untyped
    def load(self) -> bool:
        self.ready = True
        return True

    async def predict(self, payload: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
        if not payload["instances"]:
            raise kserve.errors.InvalidInput("no instances")
        return {"predictions": [1 / value for value in payload["instances"]]}


def test_a_wrapped_kserve_model_still_is_one_and_its_whole_answer_is_counted(recorder: Recorder) -> None:
    model = _CreditModel("credit-risk")
    wrapped = recorder.connect(service="credit-risk", revision="v1", stage="serve").wrap(model)
    model.load()

    async def ask() -> None:
        assert await wrapped({"instances": [2]}, headers={}) == ({"predictions": [0.5]}, {})
        with pytest.raises(kserve.errors.InvalidInput):
            await wrapped({"instances": []}, headers={})
        with pytest.raises(ZeroDivisionError):
            await wrapped({"instances": [0]}, headers={})

    asyncio.run(ask())

    assert wrapped is model
    assert isinstance(model, kserve.Model)
    assert recorder.outcomes() == ["ok", "client_error", "error"]


def test_kserves_own_server_answers_through_a_wrapped_model(process: object) -> None:
    fastapi = pytest.importorskip("fastapi")
    testclient = pytest.importorskip("fastapi.testclient")
    from kserve.model_repository import ModelRepository
    from kserve.protocol.dataplane import DataPlane
    from kserve.protocol.model_repository_extension import ModelRepositoryExtension
    from kserve.protocol.rest.server import RESTServer

    telemetry = instrument("credit-risk", "v1")
    model = telemetry.wrap(_CreditModel("credit-risk"))
    model.load()
    repository = ModelRepository()
    repository.update(model)
    dataplane = DataPlane(repository)
    server = RESTServer("app", dataplane, ModelRepositoryExtension(repository), 0)
    # Not kserve.model_server.app: it is one per process and other tests serve from it.
    app = fastapi.FastAPI()
    server._register_endpoints(app)
    server._add_exception_handlers(app)
    client = testclient.TestClient(app, raise_server_exceptions=False)

    codes = [client.post("/v1/models/credit-risk:predict", json={"instances": rows}).status_code for rows in ([2], [], [0])]

    assert codes == [200, 400, 500]
    assert telemetry._request_meter().snapshot().outcomes == {"ok": 1, "client_error": 1, "error": 1}
