"""The indicator of an SLO as OpenSLO's `ratioMetric`: what other tools can ask Prometheus.

Counters are written as bare selectors (`counter: true`), everything else as PromQL with `{{.window}}`, the placeholder that Sloth
made known; OpenSLO itself says nothing about windows in queries.
"""

from __future__ import annotations

from mlops_obs import metric_names as names
from mlops_obs.slo.indicators import Cohorts, Counters, Expressions, NativeHistogram, Parts, Samples, source
from mlops_obs.slo.selectors import quoted
from mlops_obs.slo.spec import SLO

_W = "[{{.window}}]"


def ratio_metric(slo: SLO) -> dict[str, object]:
    """Return the `ratioMetric` of `slo`."""
    found = source(slo)
    match found:
        case Counters():
            part = ("bad", str(found.bad)) if found.bad is not None else ("good", str(found.good))
            return {"counter": True, part[0]: _query(part[1]), "total": _query(str(found.total))}
        case NativeHistogram():
            rate = f"sum(increase({found.selector}{_W}))"
            good = f"histogram_fraction(0, {found.threshold:f}, {rate}) * histogram_count({rate})"
            return {"counter": False, "good": _query(good), "total": _query(f"histogram_count({rate})")}
        case Samples():
            good, total = (f"sum({kind}_over_time({found.selector}{_W}))" for kind in ("sum", "count"))
            return {"counter": False, "good": _query(good), "total": _query(total)}
        case Expressions(ratio=str(ratio)):
            return {"counter": False, "rawType": "failure", "raw": _query(ratio)}
        case Expressions():
            return {"counter": False, "bad": _query(found.bad or ""), "total": _query(found.total or "")}
        case Cohorts():
            return {"counter": False, "bad": _query(f"sum({found.bad})"), "total": _query(f"sum({found.events})")}
        case Parts():
            # OpenSLO v1 cannot say a chain of SLOs; the recorded ratio of the chain is what others can read.
            of = f"{names.SERVICE}={quoted(slo.service)}, {names.SLO}={quoted(slo.name)}"
            recorded = f"{names.SLO_ERROR_RATIO.format(window='5m')}{{{of}}}"
            return {"counter": False, "rawType": "failure", "raw": _query(f"avg_over_time({recorded}{_W})")}


def _query(text: str) -> dict[str, object]:
    return {"metricSource": {"type": "Prometheus", "spec": {"query": text}}}
