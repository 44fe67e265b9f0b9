"""Tries every single fault of every scenario, and pairs of faults: `python exhaustive_search.py [--schedules N]`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from exhaustive_run import Run
from exhaustive_world import MENU, Scenario, Schedule, Violation, World

DOWN = frozenset({("RolledBack", 0)})
UP = frozenset({("Promoted", 100)})
EITHER = frozenset({("Promoted", 100), ("Aborted", 0)})
SCENARIOS = (
    Scenario("healthy", UP),
    Scenario("bad at the first step", DOWN, canary="bad"),
    Scenario("bad at 100 % in the watch", DOWN, canary="late", spec={"watch": 20.0, "watch_weight": 5}),
    Scenario("watched, then finished", UP, finishes=True, spec={"watch": 6.0, "watch_weight": 5}),
    Scenario("an abort races a promotion", EITHER, requests=((6, "abort"),)),
    Scenario("a late abort and a rollback", EITHER | DOWN, requests=((9, "abort"), (10, "rollback"))),
    Scenario("paused and resumed", UP, requests=((4, "pause"), (9, "resume"))),
    Scenario(
        "promoted by hand, bad all the same", DOWN, canary="bad", requests=((4, "promote"), (5, "promote-full")), spec={"watch": 60.0}
    ),
    Scenario("a freeze in the middle", UP, frozen=(4, 10)),
    Scenario(
        "a shared incident", UP, shared=(5, 11), spec={"manual_gates": (100,)}, requests=((14, "promote"), (30, "promote"), (60, "promote"))
    ),
)


@dataclass
class Found:
    """What a search went through."""

    schedules: int = 0
    singles: int = 0
    violations: list[tuple[str, Schedule, str]] = field(default_factory=list)
    states: set[Any] = field(default_factory=set)


def search(scenario: Scenario, most: int, *, stop_at: int = 5, bare: bool = False) -> Found:
    """Try the schedule without faults, every single fault, and as many pairs as fit into `most` schedules, spread evenly.

    With `bare`, only the one without faults.
    """
    found, base, kept = Found(), Run(()), {}
    base.states = found.states
    if _try(scenario, base, World(scenario), found, (), kept) is None or bare:
        return found
    singles: list[tuple[Schedule, Run, dict[int, World]]] = []
    for point in _points(base):
        run, worlds = Run((point,), found.states), {}
        _try(scenario, run, kept[point[0]].fork(), found, (point,), worlds)
        singles.append(((point,), run, worlds))
        if len(found.violations) >= stop_at:
            return found
    found.singles = found.schedules
    room = most - found.schedules
    pairs = sum(1 for schedule, run, worlds in singles for point in _points(run) if _follows(schedule, point, worlds))
    every = max(1.0, pairs / room) if room > 0 else 0.0
    number, due = 0, 0.0
    for schedule, run, worlds in singles if every else ():
        for point in _points(run):
            if not _follows(schedule, point, worlds):
                continue
            number += 1
            if number < due:
                continue
            due += every
            both = (*schedule, point)
            _try(scenario, Run(both, found.states), worlds[point[0]].fork(), found, both, None)
            if len(found.violations) >= stop_at:
                return found
    return found


def _points(run: Run) -> Iterator[tuple[int, int, str]]:
    for tick, number, name in run.trace:
        for fault in MENU[name]:
            yield tick, number, fault


def _follows(schedule: Schedule, point: tuple[int, int, str], worlds: dict[int, World]) -> bool:
    return point[0] > schedule[-1][0] and point[0] in worlds


def _try(scenario: Scenario, run: Run, world: World, found: Found, schedule: Schedule, keep: dict[int, World] | None) -> World | None:
    found.schedules += 1
    try:
        return run.play(world, keep)
    except Violation as error:
        found.violations.append((scenario.name, schedule, str(error)))
        return None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--schedules", type=int, default=100_000, help="how many to try at most, over all scenarios")
    parser.add_argument("--scenario", default="", help="only those whose name contains this")
    arguments = parser.parse_args()
    chosen = [one for one in SCENARIOS if arguments.scenario in one.name]
    total, violations, began = 0, 0, time.process_time()
    states: set[Any] = set()
    for one in chosen:
        found = search(one, arguments.schedules // len(chosen))
        total, violations, states = total + found.schedules, violations + len(found.violations), states | found.states
        line = f"{one.name:36} {found.schedules:7,} schedules ({found.singles:4} with one fault) {len(found.states):6,} states"
        sys.stdout.write(f"{line} {len(found.violations)} violations\n")
        sys.stdout.flush()
        for _, schedule, words in found.violations:
            sys.stdout.write(f"    {schedule}: {words}\n")
    cost = time.process_time() - began
    sys.stdout.write(f"{total:,} distinct schedules, {len(states):,} distinct states, {violations} violations, {cost:.0f} s of CPU\n")
    sys.exit(1 if violations else 0)


if __name__ == "__main__":
    main()
