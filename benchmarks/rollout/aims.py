"""What the judge promises, checked on the simulated runs; an aim that is missed says by how much."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.rollout.runs import OURS, Cell
from benchmarks.rollout.tables import interval, markdown, minutes, quantile

ALPHA, RIGHT, PROMOTED, FOUND = 0.01, 0.95, 0.95, 0.95
_FEW = (
    "a canary with 0.2 requests/s fails 0.6 times a minute; Argo takes the fourth minute with any failure for proof and so rolls back "
    "many healthy canaries at this traffic as well (see below), a test that errs in 1 % must see as much as the oracle"
)
_NOISE = "a healthy canary's own minutes may differ by a log standard deviation of 0.8: two or three of them must agree"
ARGO, KAYENTA = "Argo failureLimit 3", "Kayenta every 5 min"
BANK = (
    "A third are the canary's fault, the rest in equal parts shared incidents, telemetry faults and nothing at all, with drawn times, "
    "factors, noise, traffic and pods. Right is: blamed on the canary and rolled back; or never rolled back and the incident or outage "
    "called by its name while it lasts; or nothing claimed where nothing is wrong."
)


@dataclass(frozen=True)
class Aim:
    """One promise: what was measured, whether it is met, and how sure that is."""

    promise: str
    measured: str
    met: bool
    why: str = ""  # it can be missed


def check(cells: Sequence[Cell], fine: Sequence[Cell], answers: Sequence[tuple[str, float, dict[str, bool]]]) -> list[Aim]:
    """Check every promise that the given cells can tell about; `fine` are those by which speed is measured."""
    return [*_false(cells), *_fast(fine), *_promoted(cells), *_right(answers)]


def table(aims: Sequence[Aim]) -> str:
    """Return the aims as a table."""
    rows = [[one.promise, one.measured, "yes" if one.met else "NO", "" if one.met else one.why] for one in aims]
    return markdown(["aim", "measured", "met", "why not"], rows)


def _false(cells: Sequence[Cell]) -> Iterator[Aim]:
    for cell in cells:
        if not cell.healthy:
            continue
        runs = cell.outcomes[OURS]
        hits = sum(not math.isinf(one.rolled_back) for one in runs)
        # Met unless the runs speak against it: with few runs a single rollback is more than 1 % of them.
        if interval(hits, len(runs))[0] > ALPHA or (hits and hits / len(runs) > ALPHA):
            low, high = interval(hits, len(runs))
            yield Aim(
                f"at most 1 % false rollbacks: {cell.family}, {cell.rps:g}/s",
                f"{hits} of {len(runs)} ({low:.1%} to {high:.1%})",
                low <= ALPHA,
            )
    healthy = [cell for cell in cells if cell.healthy]
    if healthy:
        hits = sum(not math.isinf(one.rolled_back) for cell in healthy for one in cell.outcomes[OURS])
        total = sum(len(cell.outcomes[OURS]) for cell in healthy)
        together = f"{hits} of {total} ({interval(hits, total)[0]:.2%} to {interval(hits, total)[1]:.2%})"
        yield Aim("at most 1 % false rollbacks, all healthy families together", together, hits <= ALPHA * total)


def _fast(cells: Sequence[Cell]) -> Iterator[Aim]:
    for cell in cells:
        if cell.family not in ("errors-10x", "slow-10x"):
            continue
        times = {rule: [one.rolled_back for one in cell.outcomes[rule]] for rule in (OURS, ARGO, KAYENTA)}
        middle = {rule: quantile(found, 0.5) for rule, found in times.items()}
        found = sum(not math.isinf(one) for one in times[OURS]) / len(times[OURS])
        where = f"{cell.family}, {cell.rps:g}/s"
        yield Aim(f"found in 95 % of the runs: {where}", f"{found:.1%}", found >= FOUND)
        argo, kayenta = (f"{minutes(middle[OURS])} against {minutes(middle[rule])} min" for rule in (ARGO, KAYENTA))
        why = _FEW if cell.rps < 10 else _NOISE  # below, one failed request a minute is all that a rule can go by
        yield Aim(f"no later than Argo failureLimit 3: {where}", argo, middle[OURS] <= middle[ARGO], why)
        yield Aim(f"in at most half of Kayenta's time: {where}", kayenta, middle[OURS] <= middle[KAYENTA] / 2, why)


def _promoted(cells: Sequence[Cell]) -> Iterator[Aim]:
    for cell in cells:
        if not cell.healthy:
            continue
        runs = cell.outcomes[OURS]
        done = sum(not math.isinf(one.promoted) for one in runs) / len(runs)
        if done < PROMOTED:
            yield Aim(f"95 % of good canaries promoted: {cell.family}, {cell.rps:g}/s", f"{done:.1%}", False)
    healthy = [one for cell in cells if cell.healthy for one in cell.outcomes[OURS]]
    if healthy:
        done = sum(not math.isinf(one.promoted) for one in healthy) / len(healthy)
        yield Aim("95 % of good canaries promoted, all healthy families together", f"{done:.1%}", done >= PROMOTED)


def _right(answers: Sequence[tuple[str, float, dict[str, bool]]]) -> Iterator[Aim]:
    if answers:
        score = sum(right[OURS] for _, _, right in answers) / len(answers)
        yield Aim(f"attribution right in 95 % of {len(answers)} labelled scenarios", f"{score:.1%}", score >= RIGHT)
