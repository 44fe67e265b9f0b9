"""promtool cases for a rule file: what must fire and, as often, what must stay silent.

Expectations come from the Python engine, so every case is also a proof that the two engines mean the same. promtool
compares all labels of `ALERTS`, hence a wrong severity or tier fails a case as surely as a missing alert.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from mlops_obs import metric_names as names
from mlops_obs.slo.prometheus_rules import HEADER
from mlops_obs.slo.scenarios import MINUTE, History, RecordedCounters, Scenario, histories, standard_scenarios
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.verdict import FiringAlert, firing_alerts
from mlops_obs.slo.yaml_text import quoted

_LABELS = ("alertname", names.SERVICE, names.SLO, names.TEAM, names.SEVERITY, names.TIER, names.REVISION, names.FEATURE_VIEW)


def render_tests(slos: Sequence[SLO], rule_files: Sequence[str]) -> str:
    """Return a promtool test file for the rules of one service; `rule_files` are relative to the test file."""
    cases: list[tuple[str, list[History], list[int]]] = []
    for together in zip_longest(*(standard_scenarios(slo) for slo in slos)):
        # One case judges the same story on every SLO of the service: promtool evaluates all rules per case.
        told = [(slo, scenario) for slo, scenario in zip(slos, together, strict=True) if scenario is not None]
        cases.append(_case(told))
    return render_cases(slos, rule_files, cases)


def _case(told: Sequence[tuple[SLO, Scenario]]) -> tuple[str, list[History], list[int]]:
    merged: dict[tuple[str, tuple[tuple[str, str], ...]], History] = {}
    for slo, scenario in told:
        for one in histories(slo, scenario):
            merged[(one.metric, tuple(sorted(one.labels.items())))] = one
    return told[0][1].name, list(merged.values()), sorted({minute for _, scenario in told for minute in scenario.judged_at})


def render_cases(slos: Sequence[SLO], rule_files: Sequence[str], cases: Sequence[tuple[str, Sequence[History], Sequence[int]]]) -> str:
    """Return a promtool test file: for each (name, histories, minutes) exactly the alerts that the Python engine says."""
    lines = [f"# {HEADER}", "rule_files:", *(f"  - {quoted(path)}" for path in rule_files), "evaluation_interval: 1m", "tests:"]
    for name, series, minutes in cases:
        source = RecordedCounters(series)
        lines += [f"  - name: {quoted(name)}", "    interval: 1m", "    input_series:"]
        for one in series:
            lines += [f"      - series: {quoted(_series(one))}", f"        values: {quoted(notation(one.values))}"]
        lines.append("    promql_expr_test:")
        for minute in minutes:
            firing = firing_alerts(slos, source, float(minute * MINUTE))
            expr = f'count by ({", ".join(_LABELS)}) (ALERTS{{alertstate="firing", {names.SERVICE}="{slos[0].service}"}})'
            lines += [f"      - expr: {quoted(expr)}", f"        eval_time: {minute}m", "        exp_samples:" + ("" if firing else " []")]
            for labels in sorted(_expected(alert) for alert in firing):
                lines += [f"          - labels: {quoted(labels)}", "            value: 1"]
    return "\n".join(lines) + "\n"


def _expected(alert: FiringAlert) -> str:
    labels = {"alertname": alert.name, **alert.labels}
    return "{" + ", ".join(f'{key}="{labels[key]}"' for key in sorted(labels)) + "}"


def _series(one: History) -> str:
    return f"{one.metric}{{{', '.join(f'{key}={quoted(value)}' for key, value in sorted(one.labels.items()))}}}"


def notation(values: Sequence[float | None]) -> str:
    """Write values in promtool's shorthand: `0+10x60` is 61 values, `_x3` three gaps, `stale` the end of a series."""
    out: list[str] = []
    index = 0
    while index < len(values):
        start = values[index]
        if start is None or start != start:
            end = index
            while end < len(values) and values[end] is None:
                end += 1
            out.append("stale" if start is not None else f"_x{end - index}")
            index = max(end, index + 1)
            continue
        after = values[index + 1] if index + 1 < len(values) else None
        if after is None or after != after:
            out.append(_number(start))
            index += 1
            continue
        step, end = after - start, index + 1
        while end + 1 < len(values) and _follows(values[end], values[end + 1], step):
            end += 1
        out.append(f"{_number(start)}{'-' if step < 0 else '+'}{_number(abs(step))}x{end - index}")
        index = end + 1
    return " ".join(out)


def _follows(before: float | None, after: float | None, step: float) -> bool:
    return before is not None and after is not None and after == after and after - before == step


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
