"""The generated route and inhibition tests notice every change of a matcher, a rule, a route or the grouping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from upstream_chain import CHAIN

from mlops_obs.paging.artefacts import cases_of
from mlops_obs.paging.matching import Matcher
from mlops_obs.paging.plan import UNROUTED, Plan, plan_of
from mlops_obs.paging.routing import one_webhook

CASES = cases_of(CHAIN, one_webhook("http://h/a"))
# These change how long a page waits, and not who is told; the delays of the configuration have a test of their own.
EQUIVALENT = (
    'without its route {team="web",severity="page",service="shop"}',
    'without service="shop" in {team="web",severity="page",service="shop"}',
)


def mutants(plan: Plan) -> Iterator[tuple[str, Plan]]:
    def with_rule(index, rule):
        return replace(plan, inhibitions=(*plan.inhibitions[:index], *([rule] if rule else []), *plan.inhibitions[index + 1 :]))

    for index, rule in enumerate(plan.inhibitions):
        yield f"without rule {index}", with_rule(index, None)
        yield f"rule {index} the wrong way round", with_rule(index, replace(rule, source=rule.target, target=rule.source))
        for label in rule.equal:
            yield (
                f"rule {index} without equal {label}",
                with_rule(index, replace(rule, equal=tuple(one for one in rule.equal if one != label))),
            )
        for side in ("source", "target"):
            for one in getattr(rule, side):
                kept = tuple(other for other in getattr(rule, side) if other != one)
                turned = Matcher(one.label, {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}[one.operator], one.value)
                yield f"rule {index} without {one} in its {side}", with_rule(index, replace(rule, **{side: kept}))
                yield f"rule {index} with {turned} in its {side}", with_rule(index, replace(rule, **{side: (*kept, turned)}))
    for index, route in enumerate(plan.routes):
        written = "{" + ",".join(map(str, route.matchers)) + "}"

        def with_route(changed, index=index):
            return replace(plan, routes=(*plan.routes[:index], *([changed] if changed else []), *plan.routes[index + 1 :]))

        yield f"without its route {written}", with_route(None)
        yield f"{written} to somebody else", with_route(replace(route, receiver=UNROUTED))
        for one in route.matchers:
            kept = tuple(other for other in route.matchers if other != one)
            yield f"without {one} in {written}", with_route(replace(route, matchers=kept))
    yield "one notification for all", replace(plan, group_by=())
    yield "a notification for each SLO", replace(plan, group_by=("service", "slo"))


def passes(plan: Plan) -> bool:
    for case in CASES:
        firing = [alert.labels for alert in case.alerts]
        ways = [plan.route(labels) for labels in firing]
        if [alert.told for alert in case.alerts] != [not quiet for quiet in plan.muted(firing)]:
            return False
        if [alert.receiver for alert in case.alerts] != [way.receiver for way in ways]:
            return False
        if case.notifications not in (None, len({(way.receiver, way.key) for way in ways})):
            return False
    return True


def test_every_mutant_fails_a_case_except_those_that_change_nobodys_sleep():
    plan = plan_of(CHAIN)
    found = {name: passes(mutant) for name, mutant in mutants(plan)}

    assert passes(plan)
    assert len(found) > 250
    assert sorted(name for name, survived in found.items() if survived) == sorted(EQUIVALENT)
