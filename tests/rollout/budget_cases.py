"""SLOs with a budget policy, for tests of what a rollout does when a budget runs low."""

from __future__ import annotations

from simulated_world import SERVICE

from mlops_obs import metric_names as names
from mlops_obs.slo.spec import SLO

POLICY = [{"below": "0.25", "action": "warn"}, {"below": "0.10", "action": "freeze"}, {"below": "0.02", "action": "rollback"}]
LEFT = names.SLO_BUDGET_REMAINING


def make_slo(**changes):
    fields = {"service": SERVICE, "team": "risk", "name": "availability", "objective": "0.95", "indicator": {"type": "availability"}}
    return SLO.model_validate({**fields, "budget_policy": POLICY, **changes})
