"""SLOs: spec, indicators, burn tiers, verdicts, and the Prometheus rules and tests made from them."""
