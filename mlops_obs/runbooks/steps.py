"""What a runbook is made of, and the steps that several of them share.

`SERVICE` and `SLO` in a query stand for the page's; `fill` puts the real ones in their place.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlops_obs import metric_names as m

OF = 'service="SERVICE"'
INGRESS = f'{OF},stage="{m.STAGE_INGRESS}"'


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: a sentence, and at most one command (`run`) or query (`ask`) to paste."""

    text: str
    run: str = ""
    ask: str = ""


@dataclass(frozen=True, slots=True)
class Runbook:
    """The runbook of one alert."""

    alert: str
    meaning: str
    impact: str
    diagnosis: tuple[Step, ...]
    mitigation: tuple[Step, ...]


STATUS = Step("See what the rollout controller is doing, and whether it has acted already.", run="obs rollout status --env obs.yaml")
HISTORY = Step("Read every decision with the evidence it rested on.", run="obs rollout history --env obs.yaml")
BUDGET = Step("See how much budget is left, and which SLO and revision spends it.", run="obs slo status --env obs.yaml")
ROLLBACK = Step(
    "A canary burns and the controller has not acted: roll it back by hand. Traffic returns to the stable revision.",
    run='obs rollout rollback --env obs.yaml --reason "burns the error budget"',
)
PAUSE = Step(
    "You need time to look: stop further steps, traffic stays as it is.", run='obs rollout pause --env obs.yaml --reason "looking"'
)
TARGETS = Step("See which processes do not answer.", ask="up == 0")
LEFT = Step(
    "How much of the budget is left, and whose is it? The line without a group is the service as a whole.",
    ask=f'{m.SLO_BUDGET_REMAINING}{{{OF},slo="SLO"}}',
)
BURN = Step(
    "Does it still burn? 1 spends exactly the budget; below that it recovers by itself.", ask=f'{m.SLO_BURN_RATE}{{{OF},slo="SLO"}}'
)
