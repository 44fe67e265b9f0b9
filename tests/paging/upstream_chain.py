"""Services along feature -> train -> serve for tests of pages: what lies upstream of what, with and without revisions."""

from __future__ import annotations

from mlops_obs.slo.spec_document import parse_slos

FEATURES = {"service": "features", "team": "data", "slos": [{"name": "freshness", "objective": "0.99", "indicator": {"type": "freshness"}}]}
SHOP = {
    "service": "shop",
    "team": "web",
    "slos": [
        {
            "name": "goodput",
            "objective": "0.9",
            "indicator": {"type": "training"},
            "upstream": ["features/freshness"],
            "replan": True,
        },
        {
            "name": "availability",
            "objective": "0.99",
            "indicator": {"type": "availability"},
            "group_by": ["revision"],
            "budget_policy": [{"below": "0.5", "action": "warn"}, {"below": "0.1", "action": "freeze"}],
        },
        {
            "name": "latency",
            "objective": "0.99",
            "indicator": {"type": "latency", "threshold": "250ms"},
            "group_by": ["revision"],
            "upstream": ["availability"],
        },
        {
            "name": "journey",
            "objective": "0.98",
            "indicator": {"type": "composite", "of": ["features/freshness", "goodput", "availability"]},
        },
    ],
}
CHAIN = [*parse_slos(FEATURES), *parse_slos(SHOP)]


def slos_of(service: str, **fields: object) -> list:
    """Return one availability SLO of `service`, with `fields` changed."""
    entry = {"name": "availability", "objective": "0.999", "indicator": {"type": "availability"}, **fields}
    return parse_slos({"service": service, "team": "web", "slos": [entry]})


def burn(service: str, slo: str, tier: str = "page-quick", team: str = "web", **more: str) -> dict[str, str]:
    """Return the labels of a burn alert."""
    severity = tier.split("-")[0]
    return {"alertname": "Burn", "service": service, "slo": slo, "team": team, "severity": severity, "tier": tier, **more}
