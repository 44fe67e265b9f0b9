"""Inhibition from the SLOs: the alert that says most is told, those that only repeat it are not.

Fast tiers silence slow ones, pages silence tickets of the same SLO, and a stage's burn silences the burns downstream of it.
Within an SLO groups do not matter: who has the quick page of one revision looks at the others, too, and is not told of slow ones.
What is never silenced: blindness (`TelemetryAbsent`), because no other alert explains it (nor does it explain any), the page of
another revision downstream, because a bad canary says nothing about the stable model there, and what a budget policy says
downstream (`ErrorBudgetLow`): the team there must learn why its promotions are frozen.

The trap is the label that is missing: in `equal` it is the same as any other that is missing, so a stranger's page without the
label `slo` would silence all strangers' tickets without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, product

from mlops_obs.metric_names import SERVICE, SEVERITY, SLO, TIER
from mlops_obs.paging.matching import Inhibition, Matcher, one_of
from mlops_obs.paging.upstream import upstream_of
from mlops_obs.slo import spec
from mlops_obs.slo.annotations import TIER_ABSENT
from mlops_obs.slo.relations import Ref
from mlops_obs.slo.tiers import plan_tiers

SAME_SLO = (SERVICE, SLO)
_POLICY = ("policy-rollback", "policy-freeze", "policy-warn")  # the step that says most comes first
_WORKBOOK = (("page-quick", "page-slow"), ("ticket-quick", "ticket-slow"))
_NOT_BLIND = Matcher(TIER, "!=", TIER_ABSENT)
_A_BURN = Matcher(TIER, "!~", f"{TIER_ABSENT}|policy-.*")
Ladder = tuple[str, ...]  # tiers of one severity, fastest first


def inhibitions_of(slos: Sequence[spec.SLO]) -> tuple[Inhibition, ...]:
    """Return the inhibition rules for `slos`, in a fixed order; for none, those of any SLO with the Workbook's tiers.

    Raises:
        SpecError: OBS-SLO-027 if upstream relations go in a circle, OBS-SLO-010 if a tier can never fire.
    """
    source, target = (Matcher(SEVERITY, "=", "page"), _NOT_BLIND, Matcher(SLO, "!=", "")), (Matcher(SEVERITY, "=", "ticket"),)
    page_over_ticket = Inhibition(source, target, SAME_SLO, "a page silences the tickets of its SLO")
    return (page_over_ticket, *_tier_rules(slos), *_policy_rules(), *_upstream_rules(slos))


def ladders(slos: Sequence[spec.SLO]) -> list[tuple[Ladder, ...]]:
    """Return for each SLO its tiers by severity, the shortest long window first."""
    known: dict[object, tuple[Ladder, ...]] = {}  # planning is exact arithmetic; SLOs that plan alike share it
    found = []
    for slo in slos:
        windows = (slo.severities, slo.period, slo.objective, slo.replan, slo.tiers, slo.budgeting, slo.slice_objective)
        alike = (*windows, slo.expected_traffic, slo.statistical_bound, slo.min_bad_events, slo.indicator)
        if alike not in known:
            tiers = sorted(plan_tiers(slo), key=lambda tier: (tier.severity, tier.long))
            known[alike] = tuple(tuple(tier.name for tier in mine) for _, mine in groupby(tiers, key=lambda tier: tier.severity))
        found.append(known[alike])
    return found


def _tier_rules(slos: Sequence[spec.SLO]) -> Iterable[Inhibition]:
    owners: dict[Ladder, list[Ref]] = {} if slos else {ladder: [] for ladder in _WORKBOOK}
    for slo, mine in zip(slos, ladders(slos), strict=True):
        for ladder in mine:
            if len(ladder) > 1:
                owners.setdefault(ladder, []).append((slo.service, slo.name))
    pairs = {(fast, slow) for ladder in owners for index, fast in enumerate(ladder) for slow in ladder[index + 1 :]}
    for ladder in sorted(owners):
        # Where another SLO has the same names in the other order, names alone would say the wrong thing.
        clash = any((slow, fast) in pairs for index, fast in enumerate(ladder) for slow in ladder[index + 1 :])
        whose: Sequence[tuple[Matcher, ...]] = [_exactly(ref) for ref in sorted(owners[ladder])] if clash else [()]
        for own in whose:
            for index, fast in enumerate(ladder[:-1]):
                source, target = Matcher(TIER, "=", fast), one_of(TIER, ladder[index + 1 :])
                yield Inhibition((source, *own), (target, *own), (*SAME_SLO, SEVERITY), "a fast tier silences the slower ones of its SLO")


def _policy_rules() -> Iterable[Inhibition]:
    for index, strong in enumerate(_POLICY[:-1]):
        why = "a stronger step of the budget policy silences the weaker ones"
        yield Inhibition((Matcher(TIER, "=", strong),), (one_of(TIER, _POLICY[index + 1 :]),), SAME_SLO, why)


def _upstream_rules(slos: Sequence[spec.SLO]) -> Iterable[Inhibition]:
    grouping = {(slo.service, slo.name): slo.group_by for slo in slos}
    alike: dict[tuple[str, str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (service, name), causes in upstream_of(slos).items():
        own = grouping.get((service, name), ())
        above: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for cause in sorted(causes):
            # Labels that both sides may have; a cause in another repository may have any.
            shared = tuple(one for one in own if one in grouping.get(cause, own))
            above.setdefault((cause[0], shared), []).append(cause[1])
        for (upstream, shared), stages in above.items():
            alike.setdefault((service, upstream, shared, tuple(stages)), []).append(name)
    for (service, upstream, shared, found), targets in sorted(alike.items()):
        source = (Matcher(SERVICE, "=", upstream), one_of(SLO, found), _A_BURN)
        target = (Matcher(SERVICE, "=", service), one_of(SLO, targets), _A_BURN)
        why = f"{upstream} ({', '.join(found)}) lies upstream of {service} ({', '.join(sorted(targets))})"
        for severity, silenced in (("page", ("page", "ticket")), ("ticket", ("ticket",))):
            said = (*source, Matcher(SEVERITY, "=", severity))
            unsaid = (*target, one_of(SEVERITY, silenced))
            yield from _unless_they_differ(said, unsaid, shared, why)


def _unless_they_differ(source: tuple[Matcher, ...], target: tuple[Matcher, ...], labels: Sequence[str], why: str) -> Iterable[Inhibition]:
    """Yield rules that hold where, for each of `labels`, one side speaks for the whole service or both name the same group."""
    for choice in product(("same", "source is the whole", "target is the whole"), repeat=len(labels)):
        chosen = dict(zip(labels, choice, strict=True))
        yield Inhibition(
            (*source, *(Matcher(one, "=", "") for one, how in chosen.items() if how == "source is the whole")),
            (*target, *(Matcher(one, "=", "") for one, how in chosen.items() if how == "target is the whole")),
            tuple(one for one, how in chosen.items() if how == "same"),
            why,
        )


def _exactly(ref: Ref) -> tuple[Matcher, Matcher]:
    return Matcher(SERVICE, "=", ref[0]), Matcher(SLO, "=", ref[1])
