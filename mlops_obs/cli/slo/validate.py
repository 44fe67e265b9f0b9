"""`obs slo validate`: read specs and prove that every alert can fire."""

from __future__ import annotations

import json

import typer

from mlops_obs.cli.slo.shared import Output, Replan, Specs, as_json, load


def validate(specs: Specs, replan: Replan = False, output: Output = "text") -> None:
    """Read SPECS and prove that every alert can fire; print how soon each does under a total outage."""
    from mlops_obs.slo.tiers import bound_is_on, describe, least_bad_events, outage_bound, plan_tiers

    slos = load(specs, replan=replan)
    if as_json(output):
        found = [
            {
                "service": slo.service,
                "slo": slo.name,
                "tier": tier.name,
                "error_ratio": float(tier.threshold),
                "severity": tier.severity,
                "outage_seconds": tier.seconds_to_fire,
                "outage_bound_seconds": outage_bound(slo, tier),
                "min_bad_events": least_bad_events(slo, tier),
                "statistical_bound": bound_is_on(slo, tier),
            }
            for slo in slos
            for tier in plan_tiers(slo)
        ]
        typer.echo(json.dumps(found, indent=2))
        return
    for slo in slos:
        typer.echo(f"{slo.service} {slo.name}: {(slo.objective * 100).normalize():f} % over {slo.period}, {slo.indicator.type}")
        for tier in plan_tiers(slo):
            typer.echo(f"  {describe(tier, slo)}")
