"""Everything upstream of an SLO along feature -> train -> serve, near and far.

One fault upstream burns every budget downstream of it, so whoever is called should be called about its cause. Relations are
transitive: a late feature table explains a slow answer also where the training stage between them stays calm. The trap is a
circle, in which every alert would silence the next and nobody would ever be called; it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlops_obs.errors import SpecError
from mlops_obs.slo.relations import Ref, circle, direct_upstream
from mlops_obs.slo.spec import SLO


def upstream_of(slos: Sequence[SLO]) -> dict[Ref, frozenset[Ref]]:
    """Return everything upstream of each SLO that has anything upstream, in order of service and name.

    Raises:
        SpecError: OBS-SLO-027 if the relations go in a circle.
    """
    direct = direct_upstream(slos)
    if found := circle(direct):
        chain = " < ".join("/".join(one) for one in found)
        raise SpecError("OBS-SLO-027", f"upstream goes in a circle: {chain}", todo="remove one of these relations from `upstream` or `of`")
    done: dict[Ref, frozenset[Ref]] = {}
    for start in sorted(direct):
        _close(start, direct, done)
    return {ref: done[ref] for ref in sorted(direct)}


def _close(start: Ref, direct: Mapping[Ref, frozenset[Ref]], done: dict[Ref, frozenset[Ref]]) -> None:
    """Add what is upstream of `start`, and of everything on the way, to `done`. A stack: chains may be longer than Python's own."""
    path = [start]
    while path:
        here = path[-1]
        near = direct.get(here, frozenset())
        waiting = next((one for one in near if one not in done), None)
        if waiting is not None:
            path.append(waiting)
        else:
            done[here] = near.union(*(done[one] for one in near))
            path.pop()
