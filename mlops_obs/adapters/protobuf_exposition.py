"""The exposition format that alone can carry native histograms: Prometheus's protobuf messages, each after its length.

No client library for Python writes it, so the few messages are written by hand
(https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto).

The trap: a scrape is in one format. Prometheus asks for protobuf as soon as its native histograms are on, so whoever answers in it
must write every other metric in it too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from prometheus_client.core import Exemplar
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample

from mlops_obs.collectors.drift.native import SCHEMA, ZERO_THRESHOLD, NativeHistogram
from mlops_obs.metric_names import Metric

CONTENT_TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
_COUNTER, _GAUGE, _UNTYPED, _HISTOGRAM = 0, 1, 3, 4  # enum MetricType
_VARINT, _FIXED64, _BYTES = 0, 1, 2  # wire types

Natives = Sequence[tuple[Mapping[str, str], NativeHistogram]]  # labels and counts


def asks_for_protobuf(accept: str) -> bool:
    """Whether an `Accept` header names this format."""
    words = accept.lower().replace(" ", "")
    return "application/vnd.google.protobuf" in words and "proto=io.prometheus.client.metricfamily" in words


def encode(families: Iterable[Family], natives: Mapping[Metric, Natives]) -> bytes:
    """Return the exposition of classic families and of native histograms."""
    parts = [_family(one) for one in families]
    for metric, histograms in natives.items():
        if histograms:
            metrics = [_labels(labels) + _message(7, _native(one)) for labels, one in histograms]
            parts.append(_delimited(metric.name, metric.help, _HISTOGRAM, metrics))
    return b"".join(parts)


def _family(family: Family) -> bytes:
    samples = [one for one in family.samples if not one.name.endswith("_created")]
    if family.type == "histogram":
        return _delimited(family.name, family.documentation, _HISTOGRAM, list(_histograms(samples)))
    kind, field = {"counter": (_COUNTER, 3), "gauge": (_GAUGE, 2)}.get(family.type, (_UNTYPED, 5))
    name = f"{family.name}_total" if kind == _COUNTER else family.name
    return _delimited(name, family.documentation, kind, [_labels(one.labels) + _message(field, _double(1, one.value)) for one in samples])


def _histograms(samples: Sequence[Sample]) -> Iterable[bytes]:
    """Yield a metric for each set of labels of a classic histogram."""
    grouped: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for one in samples:
        key = tuple((name, value) for name, value in one.labels.items() if name != "le")
        grouped.setdefault(key, []).append(one)
    for labels, ours in grouped.items():
        body = b""
        for one in ours:
            if one.name.endswith("_count"):
                body += _number(1, int(one.value))
            elif one.name.endswith("_sum"):
                body += _double(2, one.value)
        for one in ours:
            if one.name.endswith("_bucket"):
                bucket = _number(1, int(one.value)) + _double(2, float(one.labels["le"]))
                body += _message(3, bucket + (_message(3, _exemplar(one.exemplar)) if one.exemplar else b""))
        yield _labels(dict(labels)) + _message(7, body)


def _native(one: NativeHistogram) -> bytes:
    body = _number(1, one.count) + _double(2, one.total) + _number(5, _zigzag(SCHEMA))
    body += _double(6, ZERO_THRESHOLD) + _number(7, one.zeros)
    return body + _buckets(9, 10, *(side.tolist() for side in one.negative)) + _buckets(12, 13, *(side.tolist() for side in one.positive))


def _buckets(span_field: int, delta_field: int, indices: Sequence[int], counts: Sequence[int]) -> bytes:
    """Write runs of neighbouring buckets as spans (gap, length) and the counts as differences."""
    if not indices:
        # without any bucket a span of length 0 says that this is a native histogram, not a classic one
        return _message(span_field, _number(1, 0) + _number(2, 0)) if span_field == 12 else b""
    spans: list[list[int]] = []
    last = 0
    for index in indices:
        if spans and index == last:
            spans[-1][1] += 1
        else:
            spans.append([index - last, 1])
        last = index + 1
    body = b"".join(_message(span_field, _number(1, _zigzag(gap)) + _number(2, length)) for gap, length in spans)
    return body + b"".join(_number(delta_field, _zigzag(after - before)) for before, after in pairwise([0, *counts]))


def _exemplar(exemplar: Exemplar) -> bytes:
    body = _pairs(exemplar.labels) + _double(2, exemplar.value)
    if exemplar.timestamp is not None:
        seconds = float(exemplar.timestamp)
        body += _message(3, _number(1, int(seconds)) + _number(2, int(seconds % 1 * 1e9)))
    return body


def _labels(labels: Mapping[str, str]) -> bytes:
    return _pairs(labels)


def _pairs(labels: Mapping[str, str]) -> bytes:
    return b"".join(_message(1, _text(1, name) + _text(2, value)) for name, value in labels.items())


def _delimited(name: str, words: str, kind: int, metrics: Sequence[bytes]) -> bytes:
    if not metrics:
        return b""
    body = _text(1, name) + _text(2, words) + _number(3, kind) + b"".join(_message(4, one) for one in metrics)
    return _varint(len(body)) + body


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode("utf-8", "replace"))


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(body)) + body


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | _FIXED64) + struct.pack("<d", value)


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _varint(value: int) -> bytes:
    packed = bytearray()
    while value > 0x7F:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    packed.append(value)
    return bytes(packed)
