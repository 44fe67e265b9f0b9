"""Reads customers out of a prediction request and writes the answer, in both inference protocols.

KServe hands v1 bodies over as they were parsed (any JSON at all) and Open Inference v2 bodies as an `InferRequest`
whose tensors have not been checked: a wrong shape, a missing tensor or a number where text belongs must be refused
here, or it surfaces as a 500 that burns the error budget of an innocent model.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from kserve import InferOutput, InferRequest, InferResponse
from kserve.errors import InvalidInput

INPUT, OUTPUT = "customer_id", "probability_of_default"
MAX_CUSTOMERS = 256  # per request: one caller must not hold a replica for seconds


def customer_ids(payload: Any) -> list[str]:
    """Return the customers that `payload` asks for, in its order.

    Raises:
        InvalidInput: the body is not a request for 1 to 256 customers (HTTP 400).
    """
    ids = _from_tensors(payload) if isinstance(payload, InferRequest) else _from_instances(payload)
    if not 1 <= len(ids) <= MAX_CUSTOMERS:
        raise InvalidInput(f"{len(ids)} customers asked for; ask for 1 to {MAX_CUSTOMERS}")
    for one in ids:
        if not isinstance(one, str) or not one or len(one) > 128:
            raise InvalidInput(f'"{INPUT}" must be text of 1 to 128 characters')
    return ids


def answer(payload: Any, model_name: str, probabilities: Sequence[float]) -> dict[str, list[float]] | InferResponse:
    """Write `probabilities` of default in the protocol that `payload` came in."""
    if not isinstance(payload, InferRequest):
        return {"predictions": list(probabilities)}
    tensor = InferOutput(name=OUTPUT, shape=[len(probabilities)], datatype="FP32", data=list(probabilities))
    return InferResponse(response_id=payload.id or uuid4().hex, model_name=model_name, infer_outputs=[tensor])


def input_types() -> list[dict[str, Any]]:
    """Describe the input tensor, as the v2 metadata endpoint shows it."""
    return [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}]


def output_types() -> list[dict[str, Any]]:
    """Describe the output tensor, as the v2 metadata endpoint shows it."""
    return [{"name": OUTPUT, "datatype": "FP32", "shape": [-1]}]


def _from_instances(payload: Any) -> list[Any]:
    if isinstance(payload, bytes):  # KServe parses only what is declared as JSON, and `curl -d` declares a form
        with contextlib.suppress(ValueError):
            payload = json.loads(payload)
    instances = payload.get("instances") if isinstance(payload, dict) else None
    if not isinstance(instances, list):
        raise InvalidInput(f'Expected {{"instances": [{{"{INPUT}": "..."}}]}}')
    if not all(isinstance(one, dict) and INPUT in one for one in instances):
        raise InvalidInput(f'Each instance must be an object with "{INPUT}"')
    return [one[INPUT] for one in instances]


def _from_tensors(request: InferRequest) -> list[Any]:
    tensor = next((one for one in request.inputs if one.name == INPUT), None)
    if tensor is None or tensor.datatype != "BYTES":
        raise InvalidInput(f'Expected one BYTES tensor named "{INPUT}"')
    try:
        values = tensor.as_numpy().reshape(-1).tolist()
        return [one.decode() if isinstance(one, bytes) else one for one in values]
    except Exception as error:  # KServe raises whatever numpy or struct raised on the caller's bytes
        raise InvalidInput(f'Tensor "{INPUT}" cannot be read: {error}') from error
