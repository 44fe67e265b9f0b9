"""Reads what an instrumented process exposes: the Prometheus text format, or OpenMetrics, whichever it answered.

We ask for the plain text format first: its parser is several times cheaper and the embedded engine has no use for exemplars.
The traps: a body that stops in the middle must be refused as a whole (half a scrape looks like vanished series), and
`*_created` samples are gauges made up by clients, never counters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

ACCEPT = "text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;q=0.5"
SampleKind = Literal["counter", "gauge"]


class Malformed(ValueError):
    """The text is not an exposition, or has more samples than allowed. Nothing of it may be used."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One exposed value. `kind` is "counter" for all that only grows, histogram buckets included."""

    name: str
    labels: Mapping[str, str]
    value: float
    kind: SampleKind


def parse(text: str, content_type: str = "text/plain", *, limit: int = 20_000) -> list[Sample]:
    """Return every sample of an exposition.

    Raises:
        Malformed: the text breaks the format named by `content_type`, or has more than `limit` samples.
    """
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
    from prometheus_client.parser import text_string_to_metric_families as plain

    is_openmetrics = content_type.startswith("application/openmetrics-text")
    if not is_openmetrics and text and not text.endswith("\n"):
        raise Malformed("the text stops in the middle of a line")
    samples: list[Sample] = []
    try:
        for family in (openmetrics if is_openmetrics else plain)(text):
            for sample in family.samples:
                if sample.name.endswith("_created"):
                    continue
                grows = family.type in {"counter", "histogram", "summary"} and "quantile" not in sample.labels
                samples.append(Sample(sample.name, sample.labels, float(sample.value), "counter" if grows else "gauge"))
                if len(samples) > limit:
                    raise Malformed(f"more than {limit} samples")
    except Malformed:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        # The parsers are written for good input; on bad input they raise whatever comes first.
        raise Malformed(f"not an exposition: {error}") from error
    return samples


def with_target_labels(samples: Iterable[Sample], target: Mapping[str, str]) -> list[Sample]:
    """Add the target's labels; a clashing label of the sample is kept as `exported_<name>`, as Prometheus does.

    NaN is left out: no counter is NaN, and a gauge that says NaN says nothing.
    """
    return [Sample(one.name, _merge(one.labels, target), one.value, one.kind) for one in samples if not math.isnan(one.value)]


def _merge(labels: Mapping[str, str], target: Mapping[str, str]) -> dict[str, str]:
    return {(f"exported_{name}" if name in target else name): value for name, value in labels.items()} | dict(target)
