"""One simulated rollout before all judges: what each of them did, when, and what its users paid for it.

All judges see the same counts. Ours sees every interval of the trace, the others measure once a minute, as they do. A
verdict is known at the end of the interval that brought it. The trap is the run in which a judge never answers: it stays in
the median as "never", and its bad requests are counted to the end of the trace.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from benchmarks.rollout import oracle
from benchmarks.rollout.judge import hear
from mlops_obs.rollout.judging.rivals import RIVALS, Minutes, fold
from mlops_obs.testing.labelled_traces import labelled_bank, said_right
from mlops_obs.testing.traces import CANARY, STABLE, Trace, trace

OURS, ORACLE = "ours", "oracle (knows the factor)"
RULES = (OURS, *RIVALS)
CONSTANT = ("errors-2x", "errors-4x", "errors-10x", "slow-2x", "slow-4x", "slow-10x")  # families that the oracle can know
Heard = tuple[tuple[float, str, str], ...]


@dataclass(frozen=True)
class Outcome:
    """What one judge did with one trace: minutes from the start of the fault to the rollback, and from the start to the promotion.

    `rolled_back` is infinite if it never came; `served` counts the failed and slow requests of the canary until then;
    `right` says whether the attribution was right.
    """

    rolled_back: float
    promoted: float
    served: int
    right: bool


@dataclass(frozen=True)
class Cell:
    """All runs of one family at one traffic: the outcomes by rule."""

    family: str
    rps: float
    outcomes: dict[str, list[Outcome]]
    healthy: bool


def cell(family: str, rps: float, seed: int, runs: int, interval: int) -> Cell:
    """Draw `runs` traces and let every judge see them."""
    found: dict[str, list[Outcome]] = {rule: [] for rule in RULES}
    if family in CONSTANT:
        found[ORACLE] = []
    for number in range(runs):
        drawn = trace(family, rps, seed * 1_000_003 + number, interval=interval)
        for rule in RULES:
            found[rule].append(_outcome(drawn, list(_heard(drawn, rule))))
        if family in CONSTANT:
            at = oracle.found_at(drawn)
            heard = [] if math.isinf(at) else [(at - drawn.interval, "rollback", "canary")]
            found[ORACLE].append(_outcome(drawn, heard))
    return Cell(family, rps, found, drawn.story.healthy)


def cells(families: Sequence[str], speeds: Sequence[float], seed: int, runs: int, interval: int, jobs: int) -> Iterator[Cell]:
    """Yield all cells in order, drawn by `jobs` processes."""
    wanted = [(family, rps) for family in families for rps in speeds]
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_one, [(*one, seed, runs, interval) for one in wanted])


def bank(seed: int, size: int, jobs: int) -> list[tuple[str, float, dict[str, bool]]]:
    """Return per labelled trace its true attribution, its traffic and whether each rule got it right."""
    drawn = labelled_bank(seed, size)
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(_answer, drawn, chunksize=10))


def _one(job: tuple[str, float, int, int, int]) -> Cell:
    return cell(*job)


def _answer(drawn: Trace) -> tuple[str, float, dict[str, bool]]:
    return drawn.attribution, drawn.rps, {rule: said_right(drawn, list(_heard(drawn, rule))) for rule in RULES}


def _heard(drawn: Trace, rule: str) -> Heard:
    """Return (t, verdict, attribution) per interval. The other tools know one culprit only, the canary."""
    if rule == OURS:
        return hear(drawn)
    per_minute = 60 // drawn.interval
    ruling = RIVALS[rule](Minutes(fold(drawn.arm(CANARY), per_minute), fold(drawn.arm(STABLE), per_minute)))
    blamed = "canary" if ruling.verdict == "rollback" else "none"
    return ((ruling.seconds - drawn.interval, ruling.verdict, blamed),)


def _outcome(drawn: Trace, heard: Sequence[tuple[float, str, str]]) -> Outcome:
    ends = {verdict: t + drawn.interval for t, verdict, _ in reversed(heard)}  # the first of each verdict
    rolled_back = ends.get("rollback", math.inf)
    until = len(drawn.requests) if math.isinf(rolled_back) else round(rolled_back / drawn.interval)
    mine = np.array([arm == CANARY for arm in drawn.arms])
    served = int(drawn.errors[:until, mine].sum() + drawn.slow[:until, mine].sum())
    # A rollback before the fault is one without a reason: it counts as found at once, and as wrong.
    return Outcome(
        max(0.0, rolled_back - drawn.bad_since) / 60,
        ends.get("promote", math.inf) / 60,
        served,
        said_right(drawn, heard),
    )
