"""Made-up traffic of a canary and its stable peers, for trying a judge: seeded tables of `t,arm,pod,requests,errors,slow`.

    from mlops_obs.testing.traces import trace
    trace("canary-noise-0.6", rps=200, seed=7).write_csv(Path("noise.csv"))   # then: obs rollout judge noise.csv

A family is a story: what is wrong, with whom, and when. It says what a just judge answers (`Trace.verdict`, `.attribution`).
The trap that most families are about: real minutes are not coins. A revision's failure ratio moves from minute to minute
and from pod to pod by more than its request count explains, and at 2,000 requests/s a naive test takes each such move for
proof. All noise here is log-normal with median one, drawn per minute, arm and metric, and independent of the traffic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

STABLE, CANARY = "stable", "canary"
COLUMNS = ("t", "arm", "pod", "requests", "errors", "slow")
_WORST = 0.95  # no story makes more than this share of requests bad

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Story:
    """What happens in a trace. Times are minutes from its start; factors multiply the base ratio of bad requests.

    `verdict` is what the judge of a 30-minute trace should end with: rollback, promote, or hold (nobody can know).
    `attribution` is what it must say while `told` lasts (minutes; None: at the end). `promotable` says whether a promotion
    is right where the traffic suffices for one.
    """

    errors: float = 1.0  # the canary's factor of failed requests
    slow: float = 1.0  # the canary's factor of slow requests
    since: float = 0.0  # minute from which these two hold
    ramp: float = 0.0  # points (0.01 = 1 %) by which the canary's failure ratio rises each minute
    stable_factor: float = 1.0  # stable's factor, both metrics
    shared_noise: float = 0.0  # log sd per minute, the same for both arms
    canary_noise: float = 0.0  # log sd per minute, the canary's own
    noise_memory: float = 0.0  # AR(1) coefficient from minute to minute of the canary's noise
    noise_tail: float = 0.0  # degrees of freedom of a Student t instead of a normal; 0: normal
    noise_minutes: int = 1  # the canary's noise stays the same for this long
    pod_noise: float = 0.0  # log sd, persistent, of every pod of both arms
    bad_pod: tuple[str, float] | None = None  # arm whose first pod has this factor
    warm_up: float = 0.0  # minutes in which the canary is at first 4x slow and 2x failing, less and less
    incident: tuple[float, float, float] | None = None  # from, for (minutes), factor: both arms
    outage: tuple[str, float, float] | None = None  # what goes missing (see `blind`), from, for (minutes)
    drift_to: float = 0.0  # share that the canary's traffic drifts to over the trace; 0: none
    restart_every: float = 0.0  # minutes after which one pod of each arm gets a new name, in turn
    verdict: str = "promote"
    attribution: str = "none"
    told: tuple[float, float] | None = None

    @property
    def healthy(self) -> bool:
        """A rollback of this canary would be a false one."""
        return self.verdict != "rollback"


def _bad(**knobs: object) -> Story:
    return replace(Story(verdict="rollback", attribution="canary"), **knobs)  # type: ignore[arg-type]


def blind(what: str, since: float = 10.0, lasts: float = 5.0, **knobs: object) -> Story:
    """Return the story of an outage of measurement: all rows, the canary's, a pod's, NaN, zero requests, or never any traffic."""
    story = Story(outage=(what, since, lasts), attribution="telemetry", told=(since, since + lasts))
    return replace(story, **knobs)  # type: ignore[arg-type]


def shared_incident(since: float = 12.0, lasts: float = 4.0, factor: float = 10.0, **knobs: object) -> Story:
    """Return the story of an incident of both arms, from minute `since` on."""
    story = Story(incident=(since, lasts, factor), attribution="shared", told=(since, since + lasts))
    return replace(story, **knobs)  # type: ignore[arg-type]


FAMILIES: Mapping[str, Story] = MappingProxyType(
    {
        # Healthy canaries: every rollback is a false one.
        "null": Story(),
        "shared-noise": Story(shared_noise=0.35),
        "canary-noise-0.3": Story(canary_noise=0.3),
        "canary-noise-0.6": Story(canary_noise=0.6),
        "pod-noise": Story(pod_noise=0.3),
        "shared-incident": shared_incident(),
        "warm-up": Story(warm_up=3.0),
        "stable-worse": Story(stable_factor=4.0),
        "stable-bad-pod": Story(bad_pod=(STABLE, 20.0)),
        # The canary's fault.
        "errors-2x": _bad(errors=2.0),
        "errors-4x": _bad(errors=4.0),
        "errors-10x": _bad(errors=10.0),
        "slow-2x": _bad(slow=2.0),
        "slow-4x": _bad(slow=4.0),
        "slow-10x": _bad(slow=10.0),
        "slow-ramp": _bad(ramp=0.01),
        "bad-pod": _bad(bad_pod=(CANARY, 20.0)),
        "late-10x": _bad(errors=10.0, since=15.0),
        "total-failure": _bad(errors=1000.0),
        # What is measured cannot be trusted.
        "telemetry-outage": blind("all"),
        "telemetry-canary": blind("canary"),
        "telemetry-pod": blind("pod"),
        "telemetry-nan": blind("nan"),
        "telemetry-zero": blind("zero"),
        "traffic-0": blind("untouched", 0.0, 30.0, verdict="hold"),
        "sticky": Story(drift_to=0.3, verdict="hold", attribution="telemetry", told=(10.0, 30.0)),
        # Two things at once.
        "incident-and-10x": _bad(errors=10.0, since=18.0, incident=(6.0, 4.0, 10.0)),
        "incident-with-10x": _bad(errors=10.0, incident=(12.0, 4.0, 10.0)),
        "outage-then-10x": _bad(errors=10.0, since=12.0, outage=("all", 5.0, 5.0)),
        "noise-and-10x": _bad(errors=10.0, canary_noise=0.6),
        "stable-worse-noisy": Story(stable_factor=4.0, shared_noise=0.35, canary_noise=0.3),
    }
)

# Families that no judge here was tuned on: what an adversary would try next.
UNSEEN: Mapping[str, Story] = MappingProxyType(
    {
        "noise-ar1": Story(canary_noise=0.4, noise_memory=0.7),
        "noise-5min": Story(canary_noise=0.4, noise_minutes=5),
        "noise-heavy-tail": Story(canary_noise=0.3, noise_tail=3.0),
        "noise-everywhere": Story(canary_noise=0.3, shared_noise=0.35, pod_noise=0.2),
        "long-incident": shared_incident(8.0, 12.0, 6.0),
        "restarts": Story(restart_every=4.0),
        "incident-and-noise": shared_incident(canary_noise=0.3, shared_noise=0.2),
        "warm-up-noisy": Story(warm_up=3.0, canary_noise=0.3),
        "restarts-10x": _bad(errors=10.0, restart_every=4.0),
        "ar1-and-10x": _bad(errors=10.0, canary_noise=0.4, noise_memory=0.7),
        "both-4x": _bad(errors=4.0, slow=4.0),
        "late-4x": _bad(errors=4.0, since=10.0),
    }
)


@dataclass(frozen=True, eq=False)
class Trace:
    """One table: `requests`, `errors` and `slow` have a row per interval and a column per pod, `arms` and `pods` name the columns.

    `present` is False where a row is missing, `numbers` False where it holds NaN instead of counts. `start` is the first `t`.
    """

    name: str
    story: Story
    rps: float
    seed: int
    interval: int
    weight: float
    requests: Counts
    errors: Counts
    slow: Counts
    present: NDArray[np.bool_]
    numbers: NDArray[np.bool_]
    arms: tuple[str, ...]
    pods: tuple[str, ...]
    start: float = 0.0
    renamed: Mapping[tuple[int, int], str] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """What a just judge ends with."""
        return self.story.verdict

    @property
    def attribution(self) -> str:
        """Whose fault a just judge says it is."""
        return self.story.attribution

    @property
    def told(self) -> tuple[float, float]:
        """Seconds from the start within which the attribution must be said."""
        first, last = self.story.told or (0.0, len(self.requests) * self.interval / 60)
        return first * 60, last * 60

    @property
    def bad_since(self) -> float:
        """Seconds from the start at which the canary's fault begins."""
        return self.story.since * 60

    def arm(self, name: str) -> NDArray[np.float64]:
        """Return requests, errors and slow ones of an arm as (3, intervals); NaN where a row is missing or holds NaN."""
        mine = np.array([arm == name for arm in self.arms])
        whole = (self.present & self.numbers)[:, mine].all(axis=1)
        found = np.array([table[:, mine].sum(axis=1) for table in (self.requests, self.errors, self.slow)], float)
        found[:, ~whole] = np.nan
        return found

    def rows(self) -> Iterator[tuple[float, str, str, int | str, int | str, int | str]]:
        """Yield the rows that are there, in the order of time."""
        times = [self.start + index * self.interval for index in range(len(self.requests))]
        tables = tuple(table.tolist() for table in (self.requests, self.errors, self.slow))
        for index, t in enumerate(times):
            for column, arm in enumerate(self.arms):
                if self.present[index, column]:
                    pod = self.renamed.get((index, column), self.pods[column])
                    if self.numbers[index, column]:
                        yield (t, arm, pod, tables[0][index][column], tables[1][index][column], tables[2][index][column])
                    else:
                        yield (t, arm, pod, "NaN", "NaN", "NaN")

    def csv(self) -> str:
        """Return the table as CSV with a header."""
        lines = [",".join(COLUMNS)]
        lines += [
            f"{int(t) if t == int(t) else t},{arm},{pod},{requests},{errors},{slow}" for t, arm, pod, requests, errors, slow in self.rows()
        ]
        return "\n".join(lines) + "\n"

    def write_csv(self, path: Path) -> Path:
        """Write the table to `path` and return it."""
        path.write_text(self.csv(), encoding="utf-8")
        return path


def trace(
    family: str | Story,
    rps: float,
    seed: int,
    minutes: int = 30,
    weight: float = 10.0,
    base: float = 0.005,
    interval: int = 10,
    pods: tuple[int, int] = (5, 5),
    start: float = 0.0,
    base_slow: float | None = None,
) -> Trace:
    """Draw one trace of a family (a name of `FAMILIES` or `UNSEEN`, or a story of one's own).

    `rps` is the traffic of both arms together, `weight` the canary's percent of it, `base` the ratio of failed requests and
    (without `base_slow`) of slow ones, `interval` in seconds, `pods` of stable and of the canary. The same arguments give the
    same trace on every machine.

    Raises:
        KeyError: no family has this name.
        ValueError: `interval` does not divide a minute.
    """
    if 60 % interval:
        raise ValueError(f"an interval of {interval} s does not divide a minute")
    story, name = (family, "") if isinstance(family, Story) else ({**FAMILIES, **UNSEEN}[family], family)
    rng = np.random.default_rng([seed, *name.encode(), round(rps * 1000), interval])
    arms = (STABLE,) * pods[0] + (CANARY,) * pods[1]
    is_canary = np.array([arm == CANARY for arm in arms])
    steps = minutes * 60 // interval
    minute = np.arange(steps) * interval / 60.0
    share = np.full(steps, weight / 100)
    if story.drift_to:
        share += (story.drift_to - weight / 100) * np.linspace(0, 1, steps)
    per_pod = np.where(is_canary, share[:, None] / pods[1], (1 - share)[:, None] / pods[0])
    requests = rng.poisson(rps * interval * per_pod)
    if story.outage and story.outage[0] == "untouched":
        requests[:, is_canary] = 0
    metrics = {"errors": (story.errors, base, story.ramp), "slow": (story.slow, base if base_slow is None else base_slow, 0.0)}
    pod_level = np.exp(story.pod_noise * rng.standard_normal(len(arms)))
    counts = {
        metric: rng.binomial(requests, _ratio(story, metric, *knobs, minute, is_canary, pod_level, rng))
        for metric, knobs in metrics.items()
    }
    present, numbers = np.ones(requests.shape, bool), np.ones(requests.shape, bool)
    if story.outage:
        _lose(story.outage, minute, is_canary, requests, counts, present, numbers)
    return Trace(
        name,
        story,
        rps,
        seed,
        interval,
        weight,
        requests,
        counts["errors"],
        counts["slow"],
        present,
        numbers,
        arms,
        tuple(f"{arm}-{index}" for arm, number in zip((STABLE, CANARY), pods, strict=True) for index in range(number)),
        start,
        _renamed(story, minute, pods, arms),
    )


def _ratio(
    story: Story,
    metric: str,
    factor: float,
    base: float,
    ramp: float,
    minute: NDArray[np.float64],
    is_canary: NDArray[np.bool_],
    pod_level: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the probability of a bad request per interval and pod."""
    which = minute.astype(int)
    minutes = int(which[-1]) + 1
    both = np.exp(story.shared_noise * rng.standard_normal(minutes))[which]
    own = np.exp(_noise(story, minutes, rng))[which]
    if story.incident:
        since, lasts, times = story.incident
        both = both * np.where((minute >= since) & (minute < since + lasts), times, 1.0)
    regressed = np.where(minute >= story.since, factor, 1.0)
    if story.warm_up:
        first = {"errors": 2.0, "slow": 4.0}[metric]
        regressed = regressed * (1 + (first - 1) * np.clip(1 - minute / story.warm_up, 0, None))
    canary = base * both * own * regressed + ramp * minute
    ratio: NDArray[np.float64] = np.where(is_canary, canary[:, None], base * story.stable_factor * both[:, None]) * pod_level
    if story.bad_pod:
        arm, times = story.bad_pod
        first_pod = int(np.argmax(is_canary == (arm == CANARY)))
        ratio[:, first_pod] *= times
    return np.clip(ratio, 0.0, _WORST)


def _noise(story: Story, minutes: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the canary's own log noise per minute; its standard deviation is `canary_noise`, memory or not."""
    pieces = math.ceil(minutes / story.noise_minutes)
    if story.noise_tail:
        drawn = rng.standard_t(story.noise_tail, pieces) / math.sqrt(story.noise_tail / (story.noise_tail - 2))
    else:
        drawn = rng.standard_normal(pieces)
    for index in range(1, pieces):
        drawn[index] = story.noise_memory * drawn[index - 1] + math.sqrt(1 - story.noise_memory**2) * drawn[index]
    return story.canary_noise * np.repeat(drawn, story.noise_minutes)[:minutes]


def _lose(
    outage: tuple[str, float, float],
    minute: NDArray[np.float64],
    is_canary: NDArray[np.bool_],
    requests: Counts,
    counts: Mapping[str, Counts],
    present: NDArray[np.bool_],
    numbers: NDArray[np.bool_],
) -> None:
    """Take away what the outage takes, in place."""
    what, since, lasts = outage
    during = (minute >= since) & (minute < since + lasts)
    if what == "all":
        present[during] = False
    elif what == "canary":
        present[np.ix_(during, is_canary)] = False
    elif what == "pod":
        present[during, int(np.argmax(is_canary))] = False
    elif what == "nan":
        numbers[np.ix_(during, is_canary)] = False
    elif what == "zero":
        for table in (requests, *counts.values()):
            table[np.ix_(during, is_canary)] = 0
    elif what != "untouched":
        raise ValueError(f"no outage is called {what}")


def _renamed(story: Story, minute: NDArray[np.float64], pods: tuple[int, int], arms: Sequence[str]) -> dict[tuple[int, int], str]:
    """Return the names of pods that were restarted, by interval and column."""
    if not story.restart_every:
        return {}
    found = {}
    for index, now in enumerate(minute):
        restarts = int(now / story.restart_every)
        for column, arm in enumerate(arms):
            own, of = (column, pods[0]) if arm == STABLE else (column - pods[0], pods[1])
            times = (restarts + of - 1 - own) // of
            if times:
                found[index, column] = f"{arm}-{own}-{times}"
    return found
