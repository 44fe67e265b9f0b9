"""Rule files in the shapes that public tools write, made here from their published formats: for the linter's tests."""

from __future__ import annotations

import json

SLOTH_WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


def rule_file(groups: dict[str, list[dict[str, object]]]) -> str:
    """Return a Prometheus rule file; JSON is YAML."""
    return json.dumps({"groups": [{"name": name, "rules": rules} for name, rules in groups.items()]}, indent=1)


def manifest(text: str, name: str = "rules") -> str:
    """Return a rule file as a PrometheusRule manifest."""
    return json.dumps(
        {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {"name": name}, "spec": json.loads(text)}
    )


def sloth(objective: float, *, service: str = "shop", name: str = "requests", factors: tuple[float, ...] = (14.4, 6, 3, 1)) -> str:
    """Return rules as Sloth generates them for an objective in percent."""
    budget = (100 - objective) / 100
    ids = {"sloth_id": f"{service}-{name}", "sloth_service": service, "sloth_slo": name}
    of = "{" + ", ".join(f'{key}="{value}"' for key, value in ids.items()) + "}"
    recordings: list[dict[str, object]] = [
        {
            "record": f"slo:sli_error:ratio_rate{window}",
            "expr": f'(sum(rate(http_requests_total{{job="{service}",code=~"5.."}}[{window}])))\n/\n'
            f'(sum(rate(http_requests_total{{job="{service}"}}[{window}])))',
            "labels": {**ids, "sloth_window": window},
        }
        for window in SLOTH_WINDOWS
    ]
    recordings.append(
        {
            "record": "slo:sli_error:ratio_rate30d",
            "expr": f"sum_over_time(slo:sli_error:ratio_rate5m{of}[30d])\n/ ignoring (sloth_window)\n"
            f"count_over_time(slo:sli_error:ratio_rate5m{of}[30d])",
            "labels": {**ids, "sloth_window": "30d"},
        }
    )
    meta: list[dict[str, object]] = [
        {"record": "slo:error_budget:ratio", "expr": f"vector(1-{objective / 100})", "labels": ids},
        {
            "record": "slo:current_burn_rate:ratio",
            "expr": f"slo:sli_error:ratio_rate5m{of} / on(sloth_id, sloth_slo, sloth_service) group_left slo:error_budget:ratio{of}",
            "labels": ids,
        },
    ]

    def pair(short: str, long: str, factor: float) -> str:
        sides = (f"max(slo:sli_error:ratio_rate{window}{of} > ({factor} * {budget})) without (sloth_window)" for window in (short, long))
        return "(\n" + "\nand\n".join(sides) + "\n)"

    alerts: list[dict[str, object]] = [
        {
            "alert": "HighErrorRate",
            "expr": f"{pair('5m', '1h', factors[0])}\nor\n{pair('30m', '6h', factors[1])}",
            "labels": {"sloth_severity": "page"},
        },
        {
            "alert": "HighErrorRate",
            "expr": f"{pair('2h', '1d', factors[2])}\nor\n{pair('6h', '3d', factors[3])}",
            "labels": {"sloth_severity": "ticket"},
        },
    ]
    part = f"{service}-{name}"
    return rule_file(
        {
            f"sloth-slo-sli-recordings-{part}": recordings,
            f"sloth-slo-meta-recordings-{part}": meta,
            f"sloth-slo-alerts-{part}": alerts,
        }
    )


def pyrra(target: str, *, slo: str = "api", with_recordings: bool = True) -> str:
    """Return rules as Pyrra generates them (28 d) for a target such as `0.99`."""
    tiers = (("2m", "5m", "1h", "14", "critical"), ("15m", "30m", "6h", "7", "critical"))
    tiers += (("1h", "2h", "1d", "2", "warning"), ("3h", "6h", "4d", "1", "warning"))
    of = f'{{job="api",slo="{slo}"}}'
    alerts: list[dict[str, object]] = [
        {
            "alert": "ErrorBudgetBurn",
            "expr": f"http_requests:burnrate{short}{of} > ({factor} * (1-{target})) and "
            f"http_requests:burnrate{long}{of} > ({factor} * (1-{target}))",
            "for": hold,
            "labels": {"job": "api", "slo": slo, "short": short, "long": long, "severity": severity, "exhaustion": "2d"},
        }
        for hold, short, long, factor, severity in tiers
    ]
    recordings: list[dict[str, object]] = [
        {
            "record": f"http_requests:burnrate{window}",
            "expr": f'sum(rate(http_requests_total{{code=~"5..",job="api"}}[{window}])) / '
            f'sum(rate(http_requests_total{{job="api"}}[{window}]))',
            "labels": {"job": "api", "slo": slo},
        }
        for window in ("5m", "30m", "1h", "2h", "6h", "1d", "4d")
        if with_recordings
    ]
    return rule_file({slo: [*recordings, *alerts]})


def kubernetes_mixin(target: float) -> str:
    """Return alerts of the shape of kubernetes-mixin's and slo-libsonnet's: sums of recorded burn rates."""
    budget = f"{1 - target:.5f}"
    tiers = ((14.4, "1h", "5m", "2m", "critical"), (6.0, "6h", "30m", "15m", "critical"))
    tiers += ((3.0, "1d", "2h", "1h", "warning"), (1.0, "3d", "6h", "3h", "warning"))
    alerts: list[dict[str, object]] = [
        {
            "alert": "KubeAPIErrorBudgetBurn",
            "expr": f"sum(apiserver_request:burnrate{long}) > ({factor:.2f} * {budget})\nand\n"
            f"sum(apiserver_request:burnrate{short}) > ({factor:.2f} * {budget})",
            "for": hold,
            "labels": {"severity": severity, "short": short, "long": long},
        }
        for factor, long, short, hold, severity in tiers
    ]
    return rule_file({"kube-apiserver-slos": alerts})
