"""No SLO compiles to silence: a total outage pages within the time that the compiler states, in theory and in Prometheus."""

import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.slo.rules.prometheus_rules import render_rules
from mlops_obs.slo.spec import SLO, SpecErrors
from mlops_obs.slo.tiers import Tier, bound_is_on, burns, least_bad_events, outage_bound, plan_tiers

HOUR, GRID = 3_600, 300
DENSE = Decimal(100)  # events per second where the spec expects none in particular


def slo(objective: str, period: str, name: str = "a", stage: str = "ingress", **more) -> SLO:
    indicator = {"type": "availability", "stage": stage}
    return SLO(service="shop", team="web", name=name, objective=objective, period=period, replan=True, indicator=indicator, **more)


def counted(rate: Decimal, start: float, end: float) -> int:
    """Events in (start, end] on regular arrivals, one of them at 0."""
    return math.floor(round(Decimal(end) * rate, 6)) - math.floor(round(Decimal(start) * rate, 6))


def window(rate: Decimal, outage: float, now: float, length: int) -> tuple[int, int]:
    """Bad and all events in a window as the rules count it: raw up to an hour, else 5-minute counts, never less than the last hour."""
    raw = counted(rate, max(outage, now - min(length, HOUR)), now), counted(rate, now - min(length, HOUR), now)
    if length <= HOUR:
        return raw
    end = now // GRID * GRID
    start = (now - length) // GRID * GRID
    grid = counted(rate, min(max(outage, start), end), end), counted(rate, start, end)
    return max(raw[0], grid[0]), max(raw[1], grid[1])


def fires(one: SLO, tier: Tier, rate: Decimal, outage: float, now: float) -> bool:
    bad, total = window(rate, outage, now, tier.short)
    long = window(rate, outage, now, tier.long)
    return bad > float(tier.threshold) * total and burns(*long, tier, least_bad_events(one, tier), bound=bound_is_on(one, tier))


@settings(max_examples=400, deadline=None)
@given(
    st.decimals("0.5", "0.99999", places=5),
    st.integers(1, 90),
    st.sampled_from([None, "12/h", "60/h", "600/h", "6000/h"]),
    st.sampled_from([30, 60]),
    st.floats(0, HOUR),
)
def test_a_total_outage_fires_every_tier_within_the_stated_time(objective, days, traffic, interval, phase):
    one = slo(str(objective), f"{days}d", expected_traffic=traffic)
    rate = one.events_per_second or DENSE
    outage = 100 * 86_400 + phase

    tiers = plan_tiers(one)

    assert any(tier.severity == "page" for tier in tiers)
    for tier in tiers:
        bound = outage_bound(one, tier, interval=interval)
        last = (outage + bound) // interval * interval
        assert fires(one, tier, rate, outage, last), (tier, bound)
        assert not fires(one, tier, rate, outage, outage), "nothing burns before the outage"
        assert bound <= tier.long + GRID + 3 * interval, "the bound says something"


SAMPLED = [
    ("0.5", "1d"),
    ("0.5", "30d"),
    ("0.8", "7d"),
    ("0.9", "30d"),
    ("0.93", "90d"),
    ("0.99", "28d"),
    ("0.999", "90d"),
    ("0.99999", "3d"),
]
INTERVAL = 300


def test_prometheus_pages_within_the_stated_time_for_objectives_from_50_to_99999(tmp_path, promtool):
    slos = [
        *(slo(objective, period, f"slo{index}", severities=["page"]) for index, (objective, period) in enumerate(SAMPLED)),
        slo("0.99", "30d", "slices", budgeting="timeslices", slice_objective="0.9", severities=["page"]),
        slo("0.99", "30d", "rare", stage="serve", expected_traffic="12/h", severities=["page"]),
    ]
    planned = {one.name: plan_tiers(one) for one in slos}
    healthy = max(tier.long for tiers in planned.values() for tier in tiers) // 60  # so that every window is full of good events
    bounds = {one.name: min(outage_bound(one, tier, interval=INTERVAL) for tier in planned[one.name]) for one in slos}
    minutes = max(bounds.values()) // 60 + 10
    (tmp_path / "rules.yaml").write_text(render_rules(slos, evaluation_interval="5m", sloth_names=False))
    of = 'mlops_obs_requests_total{service="shop", stage="ingress", outcome='
    rare = of.replace("ingress", "serve")
    good = " ".join(str(min(minute, healthy) // 5) for minute in range(healthy + minutes))
    bad = " ".join(str(max(minute - healthy, 0) // 5) for minute in range(healthy + minutes))
    lines = [
        "rule_files: [rules.yaml]",
        "evaluation_interval: 5m",
        "tests:",
        "  - interval: 1m",
        "    input_series:",
        f"      - {{series: '{of}\"ok\"}}', values: '0+600x{healthy} {600 * healthy}x{minutes}'}}",
        f"      - {{series: '{of}\"error\"}}', values: '0x{healthy} 600+600x{minutes}'}}",
        f"      - {{series: '{rare}\"ok\"}}', values: '{good}'}}",
        f"      - {{series: '{rare}\"error\"}}', values: '{bad}'}}",
        "    promql_expr_test:",
        f"      - {{expr: 'count(ALERTS)', eval_time: {healthy}m, exp_samples: []}}",
    ]
    for name, bound in bounds.items():
        lines += [
            f'      - expr: \'max by (slo, severity) (ALERTS{{alertstate="firing", slo="{name}"}})\'',
            f"        eval_time: {healthy * 60 + bound}s",
            f'        exp_samples: [{{labels: \'{{slo="{name}", severity="page"}}\', value: 1}}]',
        ]
    (tmp_path / "tests.yaml").write_text("\n".join(lines))

    code, said = promtool("test", "rules", tmp_path / "tests.yaml")

    assert code == 0, said


@pytest.mark.parametrize("objective", ["0.5", "0.9", "0.93"])
def test_without_a_new_plan_such_an_slo_is_refused_and_not_silent(objective):
    with pytest.raises(SpecErrors, match=r"can never fire.*OBS-SLO-010"):
        plan_tiers(slo(objective, "30d").model_copy(update={"replan": False}))
