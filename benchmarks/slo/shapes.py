"""The same availability SLO as rules of three shapes: ours, Sloth's and Pyrra's.

Sloth's come from the importer that prints its rules; Pyrra's are written here after its sources (`slo/rules.go`: burn rates of
seven windows from raw counters, the period from raw counters). All read the same two counters of every service.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal

METRIC = "mlops_obs_requests_total"
SERIES = (f'{METRIC}{{service="%s",stage="ingress",outcome="%s",revision="v1"}}', ("ok", "error"))
OBJECTIVE, PERIOD_DAYS = "0.999", 30
OURS, SLOTH, PYRRA = "ours", "Sloth-shaped", "Pyrra-shaped"


def all_of(services: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return per shape its name, its rule file for `services`, and PromQL of the period's error ratio of the first service."""
    return [
        (OURS, ours(services), "slo:error_ratio:increase30d"),
        (SLOTH, sloth(services), f'slo:sli_error:ratio_rate30d{{sloth_id="{services[0]}-availability"}}'),
        (PYRRA, pyrra(services), f"(1 - pyrra_error_budget) * (1 - {OBJECTIVE})"),
    ]


def ours(services: Sequence[str]) -> str:
    """Return our rule files for `services` as one, Sloth's public names included."""
    from mlops_obs.slo.rules.prometheus_rules import render_rules
    from mlops_obs.slo.spec import SLO

    slo = SLO(service="x", team="t", name="availability", objective=OBJECTIVE, indicator={"type": "availability"})
    texts = [render_rules([slo.model_copy(update={"service": service})], evaluation_interval="30s") for service in services]
    return "groups:\n" + "\n".join(text.split("\ngroups:\n", 1)[1] for text in texts)


def sloth(services: Sequence[str]) -> str:
    """Return Sloth's rules for `services`, as our importer prints them for its users."""
    from mlops_obs.slo.foreign.sloth import SlothAlert, SlothSLO, SlothSpec
    from mlops_obs.slo.foreign.sloth_rules import sloth_groups
    from mlops_obs.slo.foreign.sloth_windows import workbook

    groups: list[dict[str, object]] = []
    for service in services:
        total = f'sum(rate({METRIC}{{service="{service}",stage="ingress"}}[{{{{.window}}}}]))'
        slo = SlothSLO(
            service=service,
            name="availability",
            objective=Decimal(OBJECTIVE) * 100,
            error=total.replace('stage="ingress"', 'stage="ingress",outcome="error"'),
            total=total,
            page=SlothAlert("Burn"),
            ticket=SlothAlert("Burn"),
        )
        groups += sloth_groups(SlothSpec(service, {}, (slo,)), workbook(PERIOD_DAYS * 86_400))
    return json.dumps({"groups": groups})


def pyrra(services: Sequence[str]) -> str:
    """Return rules of Pyrra's shape for `services`: a 28 d plan of windows scaled to 30 d, factors 14, 7, 2, 1."""
    windows = (
        ("5m", "1h", 14, "critical", "2m"),
        ("32m", "6h26m", 7, "critical", "16m"),
        ("2h9m", "1d1h43m", 2, "warning", "1h4m"),
        ("6h26m", "4d6h51m", 1, "warning", "3h13m"),
    )
    groups = []
    for service in services:
        total = f'{METRIC}{{service="{service}",stage="ingress"}}'
        bad = f'{METRIC}{{service="{service}",stage="ingress",outcome="error"}}'
        labels = {"slo": service}
        base = METRIC.removesuffix("_total")
        burn = [
            {"record": f"{base}:burnrate{w}", "expr": f"sum(rate({bad}[{w}])) / sum(rate({total}[{w}]))", "labels": labels}
            for w in sorted({w for short, long, *_ in windows for w in (short, long)})
        ]
        alerts = [
            {
                "alert": "ErrorBudgetBurn",
                "expr": " and ".join(f'{base}:burnrate{w}{{slo="{service}"}} > ({factor} * (1-{OBJECTIVE}))' for w in (short, long)),
                "for": hold,
                "labels": {**labels, "severity": severity, "long": long, "short": short},
            }
            for short, long, factor, severity, hold in windows
        ]
        period = [{"record": f"{base}:increase30d", "expr": f"sum by (outcome) (increase({total}[30d]))", "labels": labels}]
        failed, all_ = (f'{base}:increase30d{{slo="{service}"{more}}}' for more in (',outcome="error"', ""))
        budget = {
            "record": "pyrra_error_budget",
            "expr": f"((1-{OBJECTIVE}) - sum({failed} or vector(0)) / sum({all_})) / (1-{OBJECTIVE})",
            "labels": labels,
        }
        groups.append({"name": service, "interval": "30s", "rules": [*burn, *alerts, *period, budget]})
    return json.dumps({"groups": groups})
