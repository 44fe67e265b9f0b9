"""Every single fault at every call of ten stories: nothing that must never happen happens. `make test-exhaustive` tries pairs as well."""

import importlib
from pathlib import Path

import pytest
from exhaustive_mutants import MUTANTS
from exhaustive_run import Run
from exhaustive_search import SCENARIOS, search
from exhaustive_world import MENU, World


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_no_single_fault_and_no_pair_of_the_slice_breaks_safety_or_liveness(scenario):
    found = search(scenario, 600)

    assert found.violations == []
    assert found.schedules >= 290


def test_every_kind_of_call_is_made_somewhere_so_that_it_can_fail():
    made = set()
    for scenario in SCENARIOS:
        run = Run(())
        run.play(World(scenario))
        made |= {name for _, _, name in run.trace}

    assert made == set(MENU)


def test_a_schedule_has_the_same_end_each_time_it_is_played():
    scenario = SCENARIOS[1]
    ends = []
    for _ in range(2):
        world = Run(((3, 8, "crash-before"), (6, 1, "clock-back"))).play(World(scenario))
        ends.append((world.state.phase, world.now, world.split, world.delivered, len(world.store.raw())))

    assert ends[0] == ends[1]


def test_the_log_of_a_rollout_with_faults_is_one_whole_chain():
    world = Run(((2, 9, "crash-after"), (5, 1, "blind"))).play(World(SCENARIOS[0]))

    assert world.store.broken_record() is None
    assert [one["action"] for one in world.store.raw()].count("start") == 1


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one[0])
def test_the_mistakes_that_the_search_must_find_can_still_be_made(mutant):
    _, module, old, new = mutant

    source = Path(importlib.import_module(module).__file__).read_text()

    assert old in source
    assert old != new
