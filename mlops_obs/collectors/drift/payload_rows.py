"""Rows in the bodies of KServe's protocols: v1 `{"instances": [...]}`, v2 (Open Inference) `{"inputs": [{"name", "shape", "data"}]}`.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md: data is a list, flat or nested;
a tensor whose shape is [rows, columns] holds all columns, one whose shape is [rows] or [rows, 1] holds the column of its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_TRUE_SHAPES = 2  # a matrix has two dimensions


def columns_of_payload(body: Mapping[str, Any], names: Sequence[str]) -> list[Any] | dict[str, Any] | None:
    """Return the rows of a request body: a list of rows, or columns by name; None if the body is neither v1 nor v2.

    Raises:
        ValueError: it says that it is one, and its data does not have the shape it says.
    """
    instances = body.get("instances")
    if isinstance(instances, list) and "instances" not in names:
        return instances
    tensors = body.get("inputs", body.get("outputs"))
    if isinstance(tensors, list) and tensors and all(isinstance(one, Mapping) and "data" in one for one in tensors):
        return _rows_of_tensors(tensors, names)
    return None


def predictions_of_payload(body: Mapping[str, Any]) -> list[Any] | None:
    """Return the predictions of a response body, one for each row; None if it has none. Of several outputs the first counts."""
    predictions = body.get("predictions")
    if isinstance(predictions, list):
        return predictions
    outputs = body.get("outputs")
    if isinstance(outputs, list) and outputs and isinstance(outputs[0], Mapping) and isinstance(outputs[0].get("data"), list):
        data: list[Any] = outputs[0]["data"]
        shape = outputs[0].get("shape") or [len(data)]
        return data if shape[0] == len(data) else _matrix(data, shape).tolist()
    return None


def _rows_of_tensors(tensors: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[Any] | dict[str, Any]:
    columns: dict[str, Any] = {}
    for tensor in tensors:
        name, data = str(tensor.get("name", "")), tensor["data"]
        if not isinstance(data, list):
            raise ValueError(f"the data of tensor {name!r} is no list")
        shape = tensor.get("shape")
        if not isinstance(shape, list) or not all(isinstance(size, int) and size >= 0 for size in shape):
            shape = [len(data)]
        if name not in names and len(shape) == _TRUE_SHAPES and shape[1] == len(names):
            return data if data and isinstance(data[0], list) else list(_matrix(data, shape))
        if len(shape) == _TRUE_SHAPES and shape[1] == 1 and data and isinstance(data[0], list):
            data = [one[0] if isinstance(one, list) and one else None for one in data]
        elif len(shape) == _TRUE_SHAPES and shape[1] > 1 and not (data and isinstance(data[0], list)):
            data = list(_matrix(data, shape))  # an embedding, flat
        columns[name] = data
    return columns


def _matrix(data: list[Any], shape: Sequence[int]) -> np.ndarray[Any, np.dtype[Any]]:
    rows, width = int(shape[0]), int(np.prod(shape[1:]))
    if rows * width != len(data):
        raise ValueError(f"{len(data)} values for a shape of {list(shape)}")
    table = np.empty(rows * width, dtype=object)
    table[:] = data
    return table.reshape(rows, width)
