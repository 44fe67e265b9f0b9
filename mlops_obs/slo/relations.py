"""What one SLO says about others: `upstream`, and the stages of a composite.

A name that leads nowhere is a page that is never explained, so every reference is looked up once all files are read. The
trap is the circle: with inhibition along it each alert would silence the next, and nobody would be called.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise

from mlops_obs.errors import SpecError
from mlops_obs.slo.indicators import split_ref
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.spec_errors import meant

Ref = tuple[str, str]  # (service, slo)
Place = Callable[[SLO, tuple[int | str, ...]], str]


def direct_upstream(slos: Sequence[SLO]) -> dict[Ref, frozenset[Ref]]:
    """Return what stands directly upstream of each SLO that has anything upstream.

    A composite lists its stages from upstream to downstream, so each stage has the one before it upstream, and the composite
    itself, which sees what callers see, has the last one.
    """
    found: dict[Ref, set[Ref]] = {}
    for slo in slos:
        here = (slo.service, slo.name)
        stages = [split_ref(one, slo.service) for one in slo.indicator.of]
        chain = [*stages, here] if stages else []
        pairs = [(split_ref(one, slo.service), here) for one in slo.upstream] + list(pairwise(chain))
        for before, after in pairs:
            found.setdefault(after, set()).add(before)
    return {after: frozenset(before) for after, before in found.items()}


def circle(direct: Mapping[Ref, Collection[Ref]]) -> list[Ref]:
    """Return one circle in these relations, first and last the same; empty if there is none. A stack, because chains may be long."""
    done: set[Ref] = set()
    for start in sorted(direct):
        path, inside = [start], {start}
        waiting: list[Iterator[Ref]] = [iter(sorted(direct[start]))]
        while path:
            following = next((one for one in waiting[-1] if one not in done), None)
            if following is None:
                inside.discard(path[-1])
                done.add(path.pop())
                waiting.pop()
            elif following in inside:
                return [*path[path.index(following) :], following]
            else:
                path.append(following)
                inside.add(following)
                waiting.append(iter(sorted(direct.get(following, ()))))
    return []


def broken_references(slos: Sequence[SLO], place: Place, unread: Collection[str] = ()) -> list[SpecError]:
    """Return the mistakes in the references among `slos`.

    A service that is not among them may be named in `upstream`, its alerts are known by their labels alone; the stages of a
    composite must be there, because their counts are read.

    Args:
        slos: all SLOs that were read.
        place: from an SLO and the keys below it to `file:line`.
        unread: services whose files could not be read; what refers to them is not judged.
    """
    by_ref = {(slo.service, slo.name): slo for slo in slos}
    services = {slo.service for slo in slos}
    errors = []
    for slo in slos:
        for key, refs in (("upstream", slo.upstream), ("of", slo.indicator.of)):
            for index, text in enumerate(refs):
                ref = split_ref(text, slo.service)
                if ref[0] in unread or (key == "upstream" and ref[0] not in services):
                    continue
                problem = _problem(slo, key, ref, by_ref.get(ref), [name for service, name in by_ref if service == ref[0]])
                if problem is not None:
                    keys = ("upstream", index) if key == "upstream" else ("indicator", "of", index)
                    errors.append(SpecError(*problem[:2], todo=problem[2], where=place(slo, keys)))
    if not errors and (found := circle(direct_upstream(slos))):
        inside = next(slo for slo in slos if (slo.service, slo.name) in found)
        chain = " < ".join("/".join(one) for one in found)
        todo = "remove one of these relations from `upstream` or `of`"
        errors.append(SpecError("OBS-SLO-027", f"upstream goes in a circle: {chain}", todo=todo, where=place(inside, ())))
    return errors


def _problem(slo: SLO, key: str, ref: Ref, found: SLO | None, names: Sequence[str]) -> tuple[str, str, str] | None:
    text = "/".join(ref)
    if ref == (slo.service, slo.name):
        return "OBS-SLO-026", f"{key} names the SLO itself", "name another one"
    if found is None:
        advice = meant(ref[1], names) if names else "name the file of that service as well"
        return "OBS-SLO-026", f"{key}: there is no SLO {text}", advice
    if key == "of" and found.indicator.type == "composite":
        return "OBS-SLO-031", f"{text} is a composite itself", "list its stages instead"
    if key == "of" and found.indicator.type == "quality":
        return (
            "OBS-SLO-031",
            f"{text} counts predictions once their labels are there, not when they were served",
            "name it in upstream instead",
        )
    return None
