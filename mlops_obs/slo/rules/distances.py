"""Distances of live features from their reference, computed by Prometheus: recording rules over native histograms.

A native histogram holds a whole distribution in one series. Two numbers say how far it lies from the one that the model learnt
from: PSI over fixed cells and the Kolmogorov-Smirnov distance at their borders, by the same arithmetic as in Python, so that a board
and a report agree. Needs Prometheus 2.40 or newer with `--enable-feature=native-histograms` (3.x: on by `scrape_native_histograms`).

The trap: `histogram_fraction` answers NaN for no observations, and no rows are not a distance of zero: NaN is never recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mlops_obs import metric_names as names
from mlops_obs.slo.selectors import Selector
from mlops_obs.slo.yaml_text import Group, Rule

_BY = f"by ({names.SERVICE}, {names.REVISION}, {names.FEATURE})"
_CUT = "cut"  # tells the terms of a maximum apart; aggregated away


@dataclass(frozen=True, slots=True)
class ReferenceCells:
    """One feature's reference: `cuts` are the borders (c,), ascending; `rows` (c + 1,) lie up to each and above the last."""

    feature: str
    cuts: tuple[float, ...]
    rows: tuple[int, ...]


def distance_groups(service: str, references: Sequence[ReferenceCells], *, window: str = "1h", interval: str = "1m") -> list[Group]:
    """Return the rules that record PSI and the Kolmogorov-Smirnov distance of every feature over the last `window`."""
    live = names.FEATURE_VALUES_INCREASE.format(window=window)
    histograms = Selector(names.FEATURE_VALUES.name, {names.SERVICE: service})
    rules = [Rule(f"sum {_BY} (increase({histograms}[{window}]))", record=live)]
    for one in references:
        of = str(Selector(live, {names.SERVICE: service, names.FEATURE: one.feature}))
        rules.append(Rule(psi_expr(one, of), record=names.FEATURE_PSI_WINDOW.format(window=window)))
        rules.append(Rule(ks_expr(one, of), record=names.FEATURE_KS_WINDOW.format(window=window)))
    return [Group(f"mlops-obs-drift-{service}", interval, rules)]


def psi_expr(one: ReferenceCells, of: str) -> str:
    """Return PSI = sum (q - p) ln(q / p); as in Python, each side gets one row more, drawn from both together, so it is always finite."""
    total = sum(one.rows)
    terms = []
    for (low, high), rows in zip(pairwise(("-Inf", *map(_number, one.cuts), "+Inf")), one.rows, strict=True):
        now = f"histogram_fraction({low}, {high}, {of}) * histogram_count({of})"
        pool = f"({rows} + {now}) / ({total} + histogram_count({of}))"
        p, q = f"(({rows} + {pool}) / {total + 1})", f"(({now} + {pool}) / (histogram_count({of}) + 1))"
        # A cell that is empty on both sides is no term: 0 * ln(0 / 0) is NaN in PromQL.
        terms.append(f"({q} - {p}) * ln({q} / {p})" if rows else f"(({q} - {p}) * ln({q} / {p}) >= 0 or histogram_count({of}) * 0)")
    return "\n+ ".join(terms)


def ks_expr(one: ReferenceCells, of: str) -> str:
    """Return the largest difference of the two distribution functions at the borders."""
    total, below, terms = sum(one.rows), 0, []
    for place, (cut, rows) in enumerate(zip(one.cuts, one.rows, strict=False)):
        below += rows
        difference = f"abs(histogram_fraction(-Inf, {_number(cut)}, {of}) - {below / total!r})"
        terms.append(f'label_replace({difference}, "{_CUT}", "{place}", "", "")')
    return f"max {_BY} (\n  " + "\n  or ".join(terms) + "\n)"


def _number(value: float) -> str:
    return repr(float(value))
