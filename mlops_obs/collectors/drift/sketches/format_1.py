"""Reads the first format of profiles: numbers only, without origins, kept in the packages of models that were trained with it."""

from __future__ import annotations

import json
import zlib

import numpy as np

from mlops_obs.collectors.drift.sketches.codec import unpack
from mlops_obs.collectors.drift.sketches.numbers import NumberSketch

MAGIC = b"mlops-obs reference 1\n"


def read_format_1(data: bytes) -> dict[str, NumberSketch]:
    """Return the sketches by feature, in the model's order.

    Raises:
        ValueError, KeyError, TypeError: it is something else, cut short or damaged.
    """
    body = data[len(MAGIC) : -4]
    if not data.startswith(MAGIC) or zlib.crc32(body).to_bytes(4, "big") != data[-4:]:
        raise ValueError("magic line or checksum")
    header, _, packed = body.partition(b"\n")
    numbers, place, sketches = unpack(packed), 0, {}
    for one in json.loads(header):
        pairs = numbers[place : place + 2 * one["buckets"]].reshape(-1, 2)
        place += 2 * one["buckets"]
        low, high = float.fromhex(one["min"]), float.fromhex(one["max"])
        sketches[str(one["name"])] = NumberSketch(np.cumsum(pairs[:, 0]), pairs[:, 1].copy(), int(one["missing"]), 0, low, high)
    return sketches
