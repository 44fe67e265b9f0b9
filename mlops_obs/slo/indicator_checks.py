"""What can be wrong with an indicator beyond a missing field: selectors, bucket bounds, expressions without a window.

A threshold that is no bucket would silently read "no slow request ever", and an expression without a window would make every
alert look at the same stretch of time. Each mistake says what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from mlops_obs import metric_names as names
from mlops_obs.slo.selectors import parse_selector
from mlops_obs.slo.spec_errors import Mistake

if TYPE_CHECKING:
    from mlops_obs.slo.indicator_spec import Indicator

WINDOW = re.compile(r"\{\{-?\s*\.window\s*-?\}\}")  # the place of the window in an expression, as Sloth writes it


def check_counters(one: Indicator) -> list[Mistake]:
    """Return what is wrong with the selectors of series that the spec names itself."""
    found = []
    given = [name for name in ("total", "bad", "good") if getattr(one, name) is not None]
    if one.type == "availability" and given:
        if "total" not in given or len(given) != 2:
            found.append(
                Mistake(
                    "OBS-SLO-004",
                    f"counters of one's own need total and one of bad and good, not {' and '.join(given)}",
                    "write total: and bad:, or total: and good:",
                )
            )
        if "stage" in one.model_fields_set:
            found.append(Mistake("OBS-SLO-005", "stage is a label of the toolkit's own counters", "put it into the selectors", ("stage",)))
    elif one.type != "availability":
        given = []
    for name in [*given, *(name for name in ("metric", "histogram") if getattr(one, name) is not None)]:
        try:
            selector = parse_selector(getattr(one, name))
        except ValueError as error:
            found.append(
                Mistake(
                    "OBS-SLO-021", f"{name} is not a PromQL selector: {error}", 'write for example http_requests_total{job="api"}', (name,)
                )
            )
        else:
            if name == "histogram" and selector.metric.endswith(("_bucket", "_count", "_sum")):
                found.append(
                    Mistake(
                        "OBS-SLO-021",
                        f"histogram {selector.metric} is one part of a histogram",
                        f"write {selector.metric.rpartition('_')[0]}",
                        (name,),
                    )
                )
    return found


def check_latency(one: Indicator) -> list[Mistake]:
    """Return what keeps the threshold from being counted."""
    if one.type != "latency":
        return []
    if one.histogram is None:
        stray = [name for name in ("buckets", "native") if name in one.model_fields_set]
        if stray:
            return [
                Mistake("OBS-SLO-005", f"{name} belongs to a histogram of one's own", "write histogram: or remove it", (name,))
                for name in stray
            ]
        return _nearest(one, [Decimal(str(bound)) for bound in names.LATENCY_BUCKETS], "the latency histogram")
    if "stage" in one.model_fields_set:
        return [Mistake("OBS-SLO-005", "stage is a label of the toolkit's own histogram", "put it into the selector", ("stage",))]
    if one.native:
        return [Mistake("OBS-SLO-005", "a native histogram has no fixed buckets", "remove buckets", ("buckets",))] if one.buckets else []
    if not one.buckets:
        return [
            Mistake(
                "OBS-SLO-004",
                "a histogram of one's own needs its buckets, or native: true",
                "write buckets: [0.1, 0.25, ...] as in its `le`",
            )
        ]
    return _nearest(one, one.buckets, "the histogram")


def _nearest(one: Indicator, buckets: Sequence[Decimal], whose: str) -> list[Mistake]:
    if one.bound in buckets:
        return []
    near = sorted(sorted(buckets, key=lambda bound: abs(bound - one.bound))[:2])
    unit = Decimal(1) if in_milliseconds(one.histogram) else Decimal(1000)
    words = " or ".join(f"{round(float(bound * unit), 3):g}ms" for bound in near)
    return [
        Mistake(
            "OBS-SLO-006",
            f"threshold {one.threshold} is not a bucket of {whose}, so it cannot be counted",
            f"write {words}",
            ("threshold",),
        )
    ]


def check_expressions(one: Indicator) -> list[Mistake]:
    """Return what is wrong with the expressions of a ratio."""
    if one.type != "ratio":
        return []
    found = []
    given = tuple(name for name in ("bad", "total", "ratio") if getattr(one, name) is not None)
    if given not in (("bad", "total"), ("ratio",)):
        found.append(Mistake("OBS-SLO-004", "a ratio indicator needs bad and total, or ratio alone", "write bad: and total:"))
    if one.ratio is not None and "unit" in one.model_fields_set:
        found.append(Mistake("OBS-SLO-005", "an error ratio has no unit", "remove unit", ("unit",)))
    for name in given:
        if not WINDOW.search(getattr(one, name)):
            found.append(
                Mistake(
                    "OBS-SLO-022",
                    f"{name} has no {{{{.window}}}}, so it cannot be asked over several windows",
                    "write for example sum(increase(errors_total[{{.window}}]))",
                    (name,),
                )
            )
    if one.bad is not None and one.bad == one.total:
        found.append(Mistake("OBS-SLO-022", "bad and total are the same expression", "every event would be bad", ("bad",)))
    return found


def in_milliseconds(histogram: str | None) -> bool:
    """Say whether a histogram counts milliseconds, by its name."""
    return histogram is not None and re.match(r"\s*[a-zA-Z0-9_:]+_(milliseconds|ms)\b", histogram) is not None


def article(word: str) -> str:
    """Return `word` with its article."""
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"
