"""KServe's REST application around one model, and a way to call it without a socket.

Both servers use this one application, so that protocol and error bodies are KServe's own in both. Three things in it
are mended: a body that fails validation is a 400 in the protocol's words (FastAPI says 422 and `detail`), bytes that
cannot be decoded are a 400 too (KServe lets the ValueError through as a 500), and an error is one line in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from kserve import ModelRepository
from kserve.errors import generic_exception_handler
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from feature_train_serve.serve.predictor import CreditRiskModel


class Answer(NamedTuple):
    """An HTTP answer; a plain tuple on the wire between Ray processes."""

    status: int
    content_type: str
    body: bytes


def rest_app(model: CreditRiskModel) -> FastAPI:
    """Return KServe's REST application serving `model`, v1 and v2. Once per process: KServe keeps it in a global."""
    repository = ModelRepository()
    repository.update(model)
    server = RESTServer("kserve.model_server:app", DataPlane(model_registry=repository), ModelRepositoryExtension(repository), http_port=0)
    server.create_application()
    from kserve.model_server import app

    return mend(app)


def mend(app: FastAPI) -> FastAPI:
    """Give `app` the error answers described above, and quieten its log."""
    app.add_exception_handler(RequestValidationError, _bad_request)
    app.add_exception_handler(ValueError, _bad_request)
    app.add_exception_handler(ValidationError, generic_exception_handler)  # a ValueError too, but of our own answer
    app.add_exception_handler(HTTPException, _http_error)
    logging.getLogger("kserve").addFilter(_one_line)
    return app


async def call(app: FastAPI, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Send one request through the ASGI application `app` in this process."""
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in headers.items()],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
    }
    status, content_type, chunks = 500, "application/json", bytearray()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, content_type
        if message["type"] == "http.response.start":
            status = message["status"]
            content_type = next(
                (value.decode("latin-1") for key, value in message["headers"] if key.lower() == b"content-type"), content_type
            )
        else:
            chunks.extend(message.get("body", b""))

    try:
        await app(scope, receive, send)
    except Exception as error:  # Starlette raises again what it has already answered
        logging.getLogger("kserve").debug("answered %s", status, exc_info=error)
        if not chunks:
            return Answer(500, "application/json", b'{"error":"the server failed"}')
    return Answer(status, content_type, bytes(chunks))


async def _bad_request(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
        return JSONResponse({"error": f"Unrecognized request format: {where}: {first['msg']}"}, status_code=400)
    return JSONResponse({"error": f"Unrecognized request format: {error}"}, status_code=400)


async def _http_error(_request: Request, error: Exception) -> JSONResponse:
    status, detail = getattr(error, "status_code", 500), getattr(error, "detail", "")
    return JSONResponse({"error": detail}, status_code=status, headers=getattr(error, "headers", None))


def _one_line(record: logging.LogRecord) -> bool:
    """Log filter: an error in an answer is expected work, not a traceback."""
    if record.exc_info and record.exc_info[1] is not None:
        record.msg, record.args, record.exc_info = f"answered {type(record.exc_info[1]).__name__}: {record.exc_info[1]}", (), None
    return True
