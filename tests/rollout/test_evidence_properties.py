"""Whatever fails, in whatever order, and whenever somebody looks: slices tile the time, never change, and count only what was seen."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.rollout.evidence.reader import EvidenceReader
from mlops_obs.rollout.evidence.slices import Arms, Evidence, Slice
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.testing.counters import ScriptedCounters

SERVICE, BEGAN = "shop", 1_000_000.0
SPEC = Rollout(service=SERVICE, canary="v2", package="/p", slice=2.0, stale_after=6.0)
PODS = {"a": "v1", "b": "v1", "c": "v2", "d": "v2"}
FAULTS = st.lists(
    st.tuples(
        st.integers(0, 70),  # second at which it begins
        st.sampled_from(["silent", "reset", "nan", "outage", "no scrapes", "restarted controller", "twice"]),
        st.sampled_from(sorted(PODS)),
        st.integers(1, 14),  # seconds that it lasts
    ),
    max_size=5,
)


class World:
    """Pods that answer requests each second; what a perfect reader could have seen of each at each scrape."""

    def __init__(self, seed: int) -> None:
        self.random, self.counters = random.Random(seed), ScriptedCounters()
        self.seen: dict[str, list[tuple[float, int, int]]] = {pod: [] for pod in PODS}
        self.pending = {pod: [0, 0] for pod in PODS}

    def second(self, at: float, active: set[tuple[str, str]]) -> None:
        silent = {pod for what, pod in active if what == "silent"}
        for pod, revision in PODS.items():
            total = self.random.randrange(0, 12)
            errors = min(total, self.random.randrange(0, 3))
            if ("reset", pod) in active:
                self.counters.reset({"instance": pod})
                self.pending[pod] = [0, 0]  # what was not scraped before the restart is lost
            self.counters.add_requests(SERVICE, revision, total=total, errors=errors, labels={"instance": pod, "job": "one"})
            self.pending[pod][0] += total
            self.pending[pod][1] += errors
        if any(what == "no scrapes" for what, _ in active):
            return
        self.counters.speak()
        for pod in silent:
            self.counters.silence({"instance": pod})
        self.counters.scrape(at)
        for pod in set(PODS) - silent:
            last = self.seen[pod][-1] if self.seen[pod] else (at, 0, 0)
            more = self.pending[pod] if self.seen[pod] else [0, 0]
            self.seen[pod].append((at, last[1] + more[0], last[2] + more[1]))
            self.pending[pod] = [0, 0]
        if any(what == "twice" for what, _ in active):  # a second job reads every process as well
            for key, samples in list(self.counters._samples.items()):
                if ("job", "one") in key[1] and samples[-1][0] == at:
                    copy = (key[0], tuple(("job", "two") if one == ("job", "one") else one for one in key[1]))
                    self.counters._samples.setdefault(copy, []).append(samples[-1])
        for what, pod in active:
            if what == "nan":
                for key, samples in self.counters._samples.items():
                    if ("instance", pod) in key[1] and key[0].endswith("requests_total") and samples[-1][0] == at:
                        samples[-1] = (at, float("nan"))

    def truth(self, revision: str, start: float, end: float) -> tuple[int, int]:
        """Return what the scrapes up to `end` say more than those up to `start`."""
        total = errors = 0
        for pod in (pod for pod, mine in PODS.items() if mine == revision):
            before = [one for one in self.seen[pod] if one[0] <= start]
            after = [one for one in self.seen[pod] if one[0] <= end]
            if before and after:
                total, errors = total + after[-1][1] - before[-1][1], errors + after[-1][2] - before[-1][2]
        return total, errors


def check(slices: tuple[Slice, ...], world: World) -> None:
    at = BEGAN
    for one in slices:
        assert one.start == at
        assert one.end > at
        assert ((one.end - BEGAN) / SPEC.slice).is_integer()
        at = one.end
        if one.missing:
            assert (one.canary.total, one.stable.total) == (0, 0)
            continue
        for revision, counts in (("v1", one.stable), ("v2", one.canary)):
            assert (counts.total, counts.errors) == world.truth(revision, one.start, one.end), one
            assert sum(pod[0] for pod in counts.pods.values()) == counts.total


@given(FAULTS, st.integers(0, 10_000), st.lists(st.integers(1, 9), min_size=4, max_size=40))
@settings(max_examples=60, deadline=None)
def test_slices_tile_the_time_never_change_and_count_exactly_what_was_scraped(faults, seed, pauses):
    world, reader, known, arms = World(seed), EvidenceReader(ScriptedCounters(), SPEC), (), Arms("v1", "v2", True, BEGAN)
    reader = EvidenceReader(world.counters, SPEC)
    waits, next_look = iter(pauses * 30), 3
    for second in range(-10, 90):
        at = BEGAN + second
        active = {(what, pod) for begin, what, pod, lasts in faults if begin <= second < begin + (1 if what == "reset" else lasts)}
        world.second(at, active)
        if any(what == "restarted controller" for what, _ in active):
            reader = EvidenceReader(world.counters, SPEC)
        if second < next_look:
            continue
        next_look = second + next(waits)
        if any(what == "outage" for what, _ in active):
            with world.counters.outage():
                found = reader.read(arms, BEGAN, known, [(BEGAN, 50)], at)
        else:
            found = reader.read(arms, BEGAN, known, [(BEGAN, 50)], at)
        if isinstance(found, Evidence):
            assert found.slices[: len(known)] == known
            known = found.slices
            check(known, world)
