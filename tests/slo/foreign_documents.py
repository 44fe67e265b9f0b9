"""Valid documents of Sloth, Pyrra and OpenSLO, of our own making, with every field that they know."""

from decimal import Decimal

SLOTH = {
    "version": "prometheus/v1",
    "service": "checkout",
    "labels": {"owner": "shop", "tier_of_service": "2"},
    "slos": [
        {
            "name": "requests",
            "objective": Decimal("99.9"),
            "description": "Orders are answered.",
            "labels": {"path": "all"},
            "sli": {
                "events": {
                    "error_query": 'sum(rate(http_requests_total{job="checkout", code=~"5.."}[{{.window}}]))',
                    "total_query": 'sum(rate(http_requests_total{job="checkout"}[{{.window}}]))',
                }
            },
            "alerting": {
                "name": "CheckoutErrors",
                "labels": {"category": "availability"},
                "annotations": {"runbook": "https://example.com/checkout"},
                "page_alert": {"labels": {"severity": "critical"}},
                "ticket_alert": {"labels": {"severity": "warning"}},
            },
        },
        {
            "name": "latency",
            "objective": 95,
            "sli": {
                "events": {
                    "error_query": "(\n  sum(rate(http_seconds_count[{{.window}}]))\n  -\n"
                    '  sum(rate(http_seconds_bucket{le="0.4"}[{{.window}}]))\n)\n',
                    "total_query": "sum(rate(http_seconds_count[{{.window}}]))",
                }
            },
            "alerting": {"name": "CheckoutSlow", "ticket_alert": {"disable": True}},
        },
        {
            "name": "satisfaction",
            "objective": 80,
            "sli": {"raw": {"error_ratio_query": "1 - avg(avg_over_time(satisfaction_ratio[{{.window}}]))\n"}},
            "alerting": {"page_alert": {"disable": True}, "ticket_alert": {"disable": True}},
        },
    ],
}

SLOTH_RESOURCE = {
    "apiVersion": "sloth.slok.dev/v1",
    "kind": "PrometheusServiceLevel",
    "metadata": {"name": "checkout", "namespace": "monitoring"},
    "spec": {
        "service": "checkout",
        "slos": [
            {
                "name": "orders",
                "objective": Decimal("99.5"),
                "sli": {"events": {"errorQuery": "sum(increase(bad[{{ .window }}]))", "totalQuery": "sum(increase(all[{{ .window }}]))"}},
                "alerting": {"name": "Orders", "pageAlert": {}, "ticketAlert": {}},
            }
        ],
    },
}

WINDOWS = {
    "apiVersion": "sloth.slok.dev/v1",
    "kind": "AlertWindows",
    "spec": {
        "sloPeriod": "7d",
        "page": {
            "quick": {"errorBudgetPercent": 8, "shortWindow": "5m", "longWindow": "1h"},
            "slow": {"errorBudgetPercent": Decimal("12.5"), "shortWindow": "30m", "longWindow": "6h"},
        },
        "ticket": {
            "quick": {"errorBudgetPercent": 20, "shortWindow": "2h", "longWindow": "1d"},
            "slow": {"errorBudgetPercent": 42, "shortWindow": "6h", "longWindow": "3d"},
        },
    },
}


def pyrra(called: str, indicator: dict, target: str = "99.9", window: str = "4w", **alerting: object) -> dict:
    """Return one of Pyrra's documents."""
    return {
        "apiVersion": "pyrra.dev/v1alpha1",
        "kind": "ServiceLevelObjective",
        "metadata": {"name": called, "namespace": "shop", "labels": {"pyrra.dev/team": "web", "prometheus": "k8s"}},
        "spec": {"target": target, "window": window, "description": "What was promised.", "indicator": indicator, "alerting": alerting},
    }


PYRRA = [
    pyrra(
        "orders-errors",
        {"ratio": {"errors": {"metric": 'orders_total{code=~"5.."}'}, "total": {"metric": "orders_total"}, "grouping": ["handler"]}},
    ),
    pyrra(
        "orders-latency",
        {"latency": {"success": {"metric": 'orders_seconds_bucket{le="1"}'}, "total": {"metric": "orders_seconds_count"}}},
        target="90",
        window="7d",
        name="TooSlow",
    ),
    pyrra("orders-native", {"latencyNative": {"total": {"metric": "orders_seconds"}, "latency": "250ms"}}, burnrates=False),
    pyrra("probe", {"bool_gauge": {"metric": 'probe_success{job="blackbox"}'}}, severities={"fastBurn": "sev1", "absent": "warning"}),
    pyrra("either", {"ratio": {"errors": {"metric": "failed_total"}, "success": {"metric": "done_total"}}}, absent=False),
]


def openslo(kind: str, name: str, spec: dict, **metadata: object) -> dict:
    """Return an object of OpenSLO v1."""
    return {"apiVersion": "openslo/v1", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


def query(text: str) -> dict:
    """Return a metric that Prometheus is asked for."""
    return {"metricSource": {"type": "Prometheus", "spec": {"query": text}}}


def condition(name: str, window: str, threshold: object, severity: str = "page") -> dict:
    """Return an inlined alert condition."""
    inner = {"kind": "burnrate", "op": "gt", "threshold": threshold, "lookbackWindow": window, "alertAfter": "2m"}
    return {"kind": "AlertCondition", "metadata": {"name": name}, "spec": {"severity": severity, "condition": inner}}


OPENSLO = [
    openslo("Service", "cart", {"description": "The cart."}, displayName="Cart"),
    openslo("DataSource", "prom", {"type": "Prometheus", "connectionDetails": {"url": "http://prometheus:9090"}}),
    openslo(
        "SLI",
        "cart-errors",
        {"ratioMetric": {"counter": True, "bad": query('cart_total{code="500"}'), "total": query("cart_total")}},
    ),
    openslo(
        "SLO",
        "cart-availability",
        {
            "description": "The cart answers.",
            "service": "cart",
            "indicatorRef": "cart-errors",
            "timeWindow": [{"duration": "28d", "isRolling": True}],
            "budgetingMethod": "Occurrences",
            "objectives": [{"displayName": "strict", "target": Decimal("0.99")}, {"displayName": "kind", "targetPercent": 95}],
            "alertPolicies": [{"alertPolicyRef": "cart-fast"}],
        },
        labels={"team": "web", "area": ["eu", "us"]},
        annotations={"example.com/cost-centre": "42"},
    ),
    openslo(
        "AlertPolicy",
        "cart-fast",
        {
            "alertWhenBreaching": True,
            "alertWhenResolved": True,
            "alertWhenNoData": False,
            "conditions": [condition("cart-1h", "1h", 10), condition("cart-5m", "5m", 10)],
            "notificationTargets": [{"targetRef": "web-on-call"}],
        },
    ),
    openslo("AlertNotificationTarget", "web-on-call", {"target": "pagerduty", "description": "The web team."}),
    openslo(
        "SLO",
        "cart-slices",
        {
            "service": "cart",
            "indicator": {
                "metadata": {"name": "slices"},
                "spec": {"ratioMetric": {"good": query("sum(rate(ok_total[5m]))"), "total": query("sum(rate(cart_total[5m]))")}},
            },
            "timeWindow": [{"duration": "1M", "calendar": {"startTime": "2024-01-01 00:00:00", "timeZone": "Europe/Berlin"}}],
            "budgetingMethod": "Timeslices",
            "objectives": [{"target": Decimal("0.98"), "timeSliceTarget": Decimal("0.95"), "timeSliceWindow": "1m"}],
        },
    ),
    openslo(
        "SLO",
        "cart-threshold",
        {
            "service": "cart",
            "indicator": {"metadata": {"name": "age"}, "spec": {"thresholdMetric": query("max(cart_age_seconds)")}},
            "timeWindow": [{"duration": "1w", "isRolling": True}],
            "budgetingMethod": "RatioTimeslices",
            "objectives": [{"op": "lte", "value": 60, "target": Decimal("0.9"), "timeSliceWindow": "5m"}],
        },
    ),
]
