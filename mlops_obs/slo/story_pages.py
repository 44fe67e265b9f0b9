"""What the burn alerts of a story say, word for word: the page has to name the right burn rate, not only to come.

The value of an alert is seen nowhere but in its text. The trap is the format: the numbers are put into words by Prometheus'
templates, so they are made here as Go makes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from mlops_obs.slo import annotations as words
from mlops_obs.slo.annotations import Facts, Links
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.story_counts import MINUTE, Told
from mlops_obs.slo.tiers import Tier
from mlops_obs.slo.yaml_text import quoted

Page = tuple[str, str, float, float]  # tier, group, the alert's value (burn rate over the long window), share of the budget that is left


def pages(told: Told, tiers: Sequence[Tier], firing: Sequence[tuple[str, str]], now: int) -> tuple[Page, ...]:
    """Return what the pages of the burn tiers that fire at `now` have to say in numbers."""
    by_name = {tier.name: tier for tier in tiers}
    found = []
    for name, group in firing:
        if name in by_name:
            bad, total = told.window(group, now, by_name[name].long)
            found.append((name, group, bad / total / float(told.slo.budget), told.remaining(group, now)))
    return tuple(found)


def page_lines(
    slo: SLO, tiers: Sequence[Tier], labels: Mapping[str, Mapping[str, str]], minute: int, told: Sequence[Page], links: Links
) -> Iterator[str]:
    """Yield an entry of `alert_rule_test`: every burn alert of the SLO at `minute` with its labels and its text."""
    by_name = {tier.name: tier for tier in tiers}
    yield f"      - eval_time: {minute}m"
    yield f"        alertname: {words.alert_name(slo)}"
    yield "        exp_alerts:"
    for name, group, value, left in told:
        of_group = dict.fromkeys(slo.group_by, group) if group else {}
        shown = {**labels[name], **of_group}
        texts = words.burn_annotations(slo, by_name[name], _facts(slo, group, of_group, value, left, minute), links)
        yield "          - exp_labels:"
        yield from (f"              {key}: {quoted(text)}" for key, text in shown.items() if key not in ("alertname", "alertstate"))
        yield "            exp_annotations:"
        yield from (f"              {key}: {quoted(text)}" for key, text in texts.items())


def _facts(slo: SLO, group: str, labels: Mapping[str, str], value: float, left: float, minute: int) -> Facts:
    printed = float(f"{value:f}")  # a query in a template gets the value with six digits
    lasting = math.floor(left * slo.period_seconds / printed) if printed else 0
    return Facts(
        burn_rate=f"{value:.1f}",
        error_ratio=_percentage(printed * float(slo.budget)),
        budget_left=_percentage(left) if left > 0 else "exhausted",
        time_to_exhaustion=_duration(lasting) if lasting > 0 else "exhausted",
        revision=labels.get("revision") or "all",
        who=f"{slo.service} {group}" if group else slo.service,
        action_taken="none yet",
        dashboard_revision=labels.get("revision") or "$__all",
        from_ms=str((minute - MINUTE) * MINUTE * 1000),
        to_ms=str(minute * MINUTE * 1000),
    )


def _percentage(share: float) -> str:
    return f"{share * 100:.4g}%"


def _duration(seconds: int) -> str:
    """Write whole seconds as Prometheus' `humanizeDuration` does."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    first = next((index for index, (number, _) in enumerate(parts) if number), 3)
    return " ".join(f"{number}{unit}" for number, unit in parts[first:])
