"""Inhibition tests, generated: which alerts stay silent beside others, and which must not.

Each case says what a person expects (the page of an upstream stage is told, the one below it is not). Silence alone proves little: a
configuration that silences everything would pass. Every rule therefore also has its near misses, alerts that differ from what it
is about in one label, of which everybody must be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mlops_obs.metric_names import REVISION, SERVICE, SEVERITY, SLO, TIER
from mlops_obs.paging.inhibition import Ladder, ladders
from mlops_obs.paging.route_cases import Case, Labels, silent, told
from mlops_obs.paging.upstream import upstream_of
from mlops_obs.slo import spec
from mlops_obs.slo.annotations import BUDGET_LOW, TELEMETRY_ABSENT, TIER_ABSENT, alert_labels, alert_name
from mlops_obs.slo.relations import Ref
from mlops_obs.slo.tiers import plan_tiers

Fastest = Mapping[str, Labels]  # by severity, pages first


def inhibition_cases(slos: Sequence[spec.SLO]) -> Iterable[Case]:
    """Yield the cases about silence for `slos`; their number grows with sets of tiers and relations, not with SLOs."""
    seen: set[tuple[tuple[str, ...], ...]] = set()
    for slo, shape in zip(slos, ladders(slos), strict=True):
        if shape not in seen:
            # Rules within an SLO do not name it, so one SLO of each set of tiers speaks for all that have it.
            seen.add(shape)
            yield from _within(slo, shape)
    yield from _upstream(slos)


def _within(slo: spec.SLO, shape: Sequence[Ladder]) -> Iterable[Case]:
    who, tiers = f"{slo.service} {slo.name}", _burns(slo)
    policy = [{"alertname": BUDGET_LOW, **alert_labels(slo, "ticket", f"policy-{one}")} for one in ("rollback", "freeze", "warn")]
    first, *rest = tiers
    yield Case(f"{who}: of all its tiers, only the one that says most is told", (told(first), *map(silent, rest)))
    for slow in rest:
        yield Case(f"{who}: {slow[TIER]} alone is told", (told(slow),))
    for ladder in (*shape, tuple(one[TIER] for one in policy)):
        rungs = [one for one in (*tiers, *policy) if one[TIER] in ladder]
        for index, fast in enumerate(rungs[:-1]):
            slower = rungs[index + 1 :]
            yield Case(f"{who}: where {fast[TIER]} is the strongest, it alone is told", (told(fast), *map(silent, slower)))
            yield Case(f"{who}: {fast[TIER]} silences only its own SLO", (told(fast), *map(told, _elsewhere(slower[0]))))
            other = {**fast, SEVERITY: "ticket" if fast[SEVERITY] == "page" else "note"}
            if fast in tiers:
                # Tiers of several severities may have the same name.
                yield Case(
                    f"{who}: a {other[SEVERITY]} never silences a {fast[SEVERITY]}",
                    ((silent if fast[SEVERITY] == "page" else told)(other), told(slower[0])),
                )
            if fast[SEVERITY] == "page":
                yield Case(f"{who}: blindness does not silence {slower[0][TIER]}", (told(_absent(slo, "page")), told(slower[0])))
    if first[SEVERITY] == "page":
        yield Case(f"{who}: blindness is told beside a burn", (told(first), told(_absent(slo, "page"))))
        note = {**first, SEVERITY: "note", TIER: "note"}
        yield Case(f"{who}: a page silences tickets only", (told(first), told(note)))
    tickets = [one for one in tiers if one[SEVERITY] == "ticket"]
    if tickets:
        note = {**tickets[0], SEVERITY: "note", TIER: "note"}
        yield Case(f"{who}: only a page silences a ticket", (told(note), told(tickets[0])))
        if first[SEVERITY] == "page":
            yield Case(f"{who}: a page silences only the tickets of its SLO", (told(first), *map(told, _elsewhere(tickets[0]))))
            strangers = [{"alertname": "Stranger", SERVICE: slo.service, SEVERITY: one} for one in ("page", "ticket")]
            yield Case(f"{who}: alerts that are about no SLO do not silence each other", tuple(map(told, strangers)))
            yield Case(f"{who}: blindness does not silence {tickets[0][TIER]}", (told(_absent(slo, "page")), told(tickets[0])))
        for step in policy:
            yield Case(f"{who}: {step[TIER]} and a burn are both told", (told(step), told(tickets[-1])))
            yield Case(f"{who}: a fast burn and {step[TIER]} are both told", (told(step), told(tickets[0])))


def _upstream(slos: Sequence[spec.SLO]) -> Iterable[Case]:
    known: dict[Ref, spec.SLO] = {(slo.service, slo.name): slo for slo in slos}
    above = upstream_of(slos)
    related = {ref for below, causes in above.items() for ref in (below, *causes) if ref in known}
    fastest = {ref: _fastest(known[ref]) for ref in sorted(related)}
    proven: set[object] = set()
    for below, causes in above.items():
        there = [ref for ref in sorted(causes) if ref in known]
        if below not in known:
            continue
        for cause in there:
            yield from _relation(cause, below, fastest[cause], fastest[below])
            # Near misses once for each rule: it is about all stages of one service above all SLOs with the same stages above them.
            grouped = [REVISION in known[ref].group_by for ref in (below, cause)]
            rule = (below[0], cause[0], frozenset(one for one in causes if one[0] == cause[0]), *grouped)
            if rule not in proven:
                proven.add(rule)
                yield from _near_misses(cause, below, fastest[cause], fastest[below])
                if grouped[0]:
                    yield from _revisions(cause, below, fastest[cause], fastest[below], of_its_own=grouped[1])
        if len(there) > 1:
            chain = {ref: next(iter(fastest[ref].values())) for ref in (*there, below)}
            name = f"{'/'.join(below)}: of a fault that runs down the whole chain, only the cause is told"
            yield Case(name, tuple((silent if _has_louder(ref, chain, above) else told)(chain[ref]) for ref in chain))


def _has_louder(ref: Ref, chain: Mapping[Ref, Labels], above: Mapping[Ref, frozenset[Ref]]) -> bool:
    mine = chain[ref][SEVERITY]
    return any(one in chain and (chain[one][SEVERITY] == "page" or mine == "ticket") for one in above.get(ref, ()))


def _relation(cause: Ref, below: Ref, causes: Fastest, effects: Fastest) -> Iterable[Case]:
    for severity, source in causes.items():
        for kind, target in effects.items():
            silenced = severity == "page" or kind == "ticket"
            name = f"{_says(cause, severity)} {'silences' if silenced else 'does not silence'} the {kind} of {'/'.join(below)}"
            yield Case(name, (told(source), (silent if silenced else told)(target)))


def _near_misses(cause: Ref, below: Ref, causes: Fastest, effects: Fastest) -> Iterable[Case]:
    for severity, source, target in _same_severity(causes, effects):
        beside = [*_elsewhere(target), {**target, **_blind(target)}, {**target, SEVERITY: "note"}]
        if target[SEVERITY] == "ticket":
            beside.append({**target, "alertname": BUDGET_LOW, TIER: "policy-freeze"})
        yield Case(f"{_says(cause, severity)} silences nothing but the burns of {'/'.join(below)}", (told(source), *map(told, beside)))
        unlike = [*_elsewhere(source), {**source, **_blind(source)}, {**source, SEVERITY: "note"}]
        if severity == "ticket":
            unlike.append({**source, "alertname": BUDGET_LOW, TIER: "policy-freeze"})
        name = f"{_says(cause, severity)}, and nothing else, silences the {target[SEVERITY]} of {'/'.join(below)}"
        yield Case(name, (*map(told, unlike), told(target)))


def _same_severity(causes: Fastest, effects: Fastest) -> Iterable[tuple[str, Labels, Labels]]:
    """Yield what each severity above can silence below; a ticket never silences a page."""
    for severity, source in causes.items():
        target = effects.get(severity) or effects.get("ticket")
        if target is not None:
            yield severity, source, target


def _revisions(cause: Ref, below: Ref, causes: Fastest, effects: Fastest, *, of_its_own: bool) -> Iterable[Case]:
    down = "/".join(below)
    for severity, source, target in _same_severity(causes, effects):
        says = _says(cause, severity)
        mine, other = {**target, REVISION: "v2"}, {**target, REVISION: "v1"}
        yield Case(f"{says} as a whole silences every revision of {down}", (told(source), silent(target), silent(mine), silent(other)))
        if of_its_own:
            canary = {**source, REVISION: "v2"}
            name = f"{says} of one revision silences that revision of {down}, and the whole"
            yield Case(name, (told(canary), silent(mine), silent(target)))
            yield Case(f"{says} of one revision does not silence another of {down}", (told(canary), told(other)))


def _says(cause: Ref, severity: str) -> str:
    return f"{'/'.join(cause)} lies upstream: its {severity}"


def _burns(slo: spec.SLO) -> list[dict[str, str]]:
    """Return the labels of the burn alerts of `slo`, the one that says most first."""
    tiers = sorted(plan_tiers(slo), key=lambda tier: (tier.severity, tier.long))
    return [{"alertname": alert_name(slo), **alert_labels(slo, tier.severity, tier.name)} for tier in tiers]


def _fastest(slo: spec.SLO) -> dict[str, Labels]:
    """Return the labels of the fastest tier of each severity, the page first."""
    found: dict[str, Labels] = {}
    for one in _burns(slo):
        found.setdefault(one[SEVERITY], one)
    return found


def _elsewhere(labels: Labels) -> list[dict[str, str]]:
    """Return the same alert of another service, and of another SLO; neither is in any spec."""
    return [{**labels, SERVICE: f"{labels[SERVICE]}-elsewhere"}, {**labels, SLO: f"{labels[SLO]}-elsewhere"}]


def _blind(labels: Labels) -> dict[str, str]:
    return {"alertname": TELEMETRY_ABSENT, SEVERITY: labels[SEVERITY], TIER: TIER_ABSENT}


def _absent(slo: spec.SLO, severity: str) -> dict[str, str]:
    return {"alertname": TELEMETRY_ABSENT, **alert_labels(slo, severity, TIER_ABSENT)}
