"""What is wrong with a rollout document beyond its grammar: steps that can decide nothing, gates that hold for ever, no way back.

A document can be valid and still be a trap: at two requests a second no test finds a doubled error rate in half an hour, and a
rollout that waits for labels of next week holds until its deadline. Told before the start it costs a minute, in the night an hour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from mlops_obs.durations import format_duration, humanize_duration
from mlops_obs.rollout.judging.power import least_useful_weight, time_to_see
from mlops_obs.rollout.spec.gates import CountingGate, DriftGate, GpuCostGate, PromqlGate, QualityGate, SloGate, counts
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.slo.spec import SLO

BASE_RATIO = 0.005  # share of bad requests of a healthy service, where no SLO says what is allowed
_LEAPS = 10  # a last step that is so many times the one before it has shown next to nothing
_SLOWEST_SCRAPE = 30.0  # seconds; what clusters usually scrape at (Prometheus' own default is a minute)
CODES = {
    "OBS-RLINT-001": "a step cannot decide anything at this traffic before the deadline",
    "OBS-RLINT-002": "the traffic is not known, so nobody can say what the tests would see",
    "OBS-RLINT-003": "the steps do not fit before the deadline",
    "OBS-RLINT-004": "the slices are narrower than the scrapes",
    "OBS-RLINT-005": "evidence goes stale between two scrapes",
    "OBS-RLINT-006": "there is no way back during the watch",
    "OBS-RLINT-007": "late harm is not looked for, or there is nothing to compare it with",
    "OBS-RLINT-008": "a gate can never pass, so the rollout would hold until its deadline",
    "OBS-RLINT-009": "a gate can never fail",
    "OBS-RLINT-010": "a threshold rolls back without proof",
    "OBS-RLINT-011": "a gate names an SLO that the service does not have",
    "OBS-RLINT-012": "a margin lets more through than the SLO allows",
    "OBS-RLINT-013": "slow means something else than in the SLO",
    "OBS-RLINT-014": "almost all the traffic comes at the last step",
    "OBS-RLINT-015": "noise would be taken for harm",
    "OBS-RLINT-016": "a step is shorter than a block",
    "OBS-RLINT-017": "a bad package under a new name is not recognised",
    "OBS-RLINT-018": "what the target cannot do",
    "OBS-RLINT-019": "the traffic is never touched",
    "OBS-RLINT-020": "a key means nothing here",
    "OBS-RLINT-021": "a gate has no data now, so it would hold the rollout",
}
"""Every code, in a clause."""
Level = Literal["error", "warning", "note"]
Locate = Callable[[tuple[int | str, ...]], str]


class States(Protocol):
    """What an adapter of a target says of itself, without asking the platform."""

    keeps_the_way_back: bool
    least_watch_weight: int

    def limits(self) -> tuple[str, ...]:
        """Return what it cannot do, a sentence each."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing: an `error` keeps the rollout from its work, a `warning` disappoints, a `note` is good to know; `keys` lead to it."""

    code: str
    level: Level
    keys: tuple[int | str, ...]
    what: str
    todo: str = ""
    where: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.level}: {self.what}{f'; {self.todo}' if self.todo else ''} [{self.code}]"

    def document(self) -> dict[str, str]:
        """Return the finding as a mapping of texts."""
        key = ".".join(map(str, self.keys))
        return {"code": self.code, "level": self.level, "key": key, "what": self.what, "todo": self.todo, "where": self.where}


@dataclass(frozen=True, slots=True)
class StepPower:
    """Seconds until a regression of `ratio` would typically be condemned with the canary at `weight` percent; None: not in a week."""

    weight: int
    ratio: float
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known beside the document.

    Args:
        requests: requests per second of the service, as measured; the document's `expected_requests` if None.
        scrape: seconds between two samples; None if not known.
        base_ratio: stable's share of bad requests; None: what the SLO allows, or 0.5 %.
        target: what the adapter says of itself.
        slos: the SLOs of all services.
        silent: gates that have no data now, by name, and why.
    """

    requests: float | None = None
    scrape: float | None = None
    base_ratio: float | None = None
    target: States | None = None
    slos: Sequence[SLO] = ()
    silent: Mapping[str, str] = field(default_factory=dict)


def lint(spec: Rollout, setting: Setting | None = None, locate: Locate = lambda _: "") -> list[Finding]:
    """Return what is wrong with `spec` in `setting`, errors first; `locate` tells where a path of keys stands."""
    known = setting or Setting()
    found = [*_power(spec, known), *_time(spec, known), *_way_back(spec, known), *_gates(spec, known), *_margins(spec, known), *_rest(spec)]
    placed = [Finding(one.code, one.level, one.keys, one.what, one.todo, locate(one.keys)) for one in found]
    return sorted(placed, key=lambda one: ("error", "warning", "note").index(one.level))


def step_power(spec: Rollout, requests: float, base_ratio: float = BASE_RATIO, ratio: float | None = None) -> list[StepPower]:
    """Return for each step how long a regression of `ratio` (default: the least detectable one) takes at `requests` per second.

    At 100 % nothing can be compared, unless stable keeps a share for a watch.
    """
    looked_for = ratio or spec.least_detectable_ratio
    return [StepPower(weight, looked_for, _time_to_see(spec, weight, requests, base_ratio, looked_for)) for weight in spec.steps]


def deciding_tests(spec: Rollout) -> int:
    """Return how many tests share the error rate: errors, slow requests, and every counting gate that decides."""
    return 2 + sum(1 for gate in spec.gates if counts(gate) and not gate.dry_run)


def _time_to_see(spec: Rollout, weight: int, requests: float, base: float, ratio: float) -> float | None:
    # At 100 % nothing is left to compare with, but what stable keeps during a watch.
    share = min(weight, 100 - (spec.watch_weight if spec.watch is not None else 0)) / 100
    return time_to_see(
        ratio, base, requests * share, requests * (1 - share), alpha=spec.alpha, tests=deciding_tests(spec), block=spec.block,
        tolerated=spec.tolerated, largest_noise=spec.noise_log_sd,
    )  # fmt: skip


def _allowed(spec: Rollout, known: Setting) -> float | None:
    """Return the share of failed requests that the service's availability SLO allows."""
    mine = [float(slo.budget) for slo in known.slos if slo.service == spec.service and slo.indicator.type == "availability"]
    return min(mine, default=None)


def _power(spec: Rollout, known: Setting) -> Iterator[Finding]:
    requests = known.requests or spec.requests_per_second
    if requests is None:
        yield Finding(
            "OBS-RLINT-002", "warning", ("expected_requests",), "the traffic is not known, so nobody can say what the tests would see",
            "write for example expected_requests: 20/s",
        )  # fmt: skip
        return
    base = known.base_ratio or _allowed(spec, known) or BASE_RATIO
    looked_for, tests = spec.least_detectable_ratio, deciding_tests(spec)
    powers = [one for one in step_power(spec, requests, base) if one.weight < 100]  # what comes at 100 % is not decided there
    blind = [one for one in powers if one.seconds is None or one.seconds > spec.deadline]
    if not blind:
        return
    steps = ", ".join(f"{one.weight} %" for one in blind)
    assumed = f"at {requests:g} requests/s of which {base:.2%} fail, with alpha {spec.alpha:g} over {tests} tests"
    worst = blind[0]
    better = next((ratio for ratio in (4.0, 10.0, 30.0) if ratio > looked_for and _seen(spec, worst.weight, requests, base, ratio)), None)
    seen = f"; {better:g} times as many would be" if better else ""
    useful = least_useful_weight(
        looked_for, base, requests, spec.deadline, alpha=spec.alpha, tests=tests, block=spec.block,
        tolerated=spec.tolerated, largest_noise=spec.noise_log_sd,
    )  # fmt: skip
    todo = f"begin at {useful} %" if useful is not None and useful > worst.weight else "raise least_detectable_ratio or the deadline"
    level: Level = "error" if len(blind) == len(powers) and better is None else "warning"
    what = f"at {steps} {looked_for:g} times as many bad requests are not seen within {humanize_duration(spec.deadline)} ({assumed}){seen}"
    yield Finding("OBS-RLINT-001", level, ("steps",), what, todo)


def _seen(spec: Rollout, weight: int, requests: float, base: float, ratio: float) -> bool:
    seconds = _time_to_see(spec, weight, requests, base, ratio)
    return seconds is not None and seconds <= spec.deadline


def _time(spec: Rollout, known: Setting) -> Iterator[Finding]:
    least = spec.step_duration_min * len(spec.steps)
    if spec.pace == "steps" and least > spec.deadline:
        what = f"{len(spec.steps)} steps of {format_duration(spec.step_duration_min)} last longer than the deadline"
        yield Finding("OBS-RLINT-003", "error", ("deadline",), what, f"write {format_duration(math.ceil(2 * least))} or more")
    elif spec.warm_up_seconds >= spec.deadline:
        what = f"the warm-up ({format_duration(spec.warm_up_seconds)}) lasts until the deadline, so only gross harm would ever count"
        yield Finding("OBS-RLINT-003", "error", ("deadline",), what, "raise the deadline")
    scrape = known.scrape
    if scrape is not None and scrape > spec.slice * 1.1:
        what = f"samples are {scrape:g} s apart and slices {spec.slice:g} s: canary and stable would fall into different ones"
        yield Finding("OBS-RLINT-004", "error", ("slice",), what, f"write slice: {2 * scrape:g}s and stale_after: {3 * scrape:g}s")
    elif scrape is None and spec.target and spec.target.kind != "ray_serve" and spec.slice < _SLOWEST_SCRAPE:
        what = f"slices of {spec.slice:g} s need a scrape as often, and clusters usually scrape every {_SLOWEST_SCRAPE:g} s to a minute"
        yield Finding(
            "OBS-RLINT-004", "warning", ("slice",), what, "scrape the service more often, or write slice: 60s and stale_after: 90s"
        )
    if spec.stale_after < max(2 * spec.slice, 2 * (scrape or 0.0)):
        what = f"evidence older than {spec.stale_after:g} s is unknown, so one late scrape holds the rollout"
        yield Finding("OBS-RLINT-005", "warning", ("stale_after",), what, f"write {max(3 * spec.slice, 3 * (scrape or 0.0)):g}s or more")
    if spec.step_duration_min < spec.block:
        what = (
            f"a step may be over in {format_duration(spec.step_duration_min)}, within one block of {format_duration(spec.block)}, which "
            "is one event to the tests: only what is much worse would be found there"
        )
        yield Finding("OBS-RLINT-016", "note", ("step_duration_min",), what)


def _way_back(spec: Rollout, known: Setting) -> Iterator[Finding]:
    if known.target is not None:
        yield from (Finding("OBS-RLINT-018", "note", ("target",), one.rstrip(".")) for one in known.target.limits())
    if spec.watch is None:
        yield Finding(
            "OBS-RLINT-007", "note", ("watch",), "nobody looks after 100 %: a regression that shows late stays", "write watch: 30m"
        )
        return
    target = known.target
    if target is not None and not target.keeps_the_way_back and spec.watch_weight < target.least_watch_weight:
        what = "at 100 % this target forgets the way back, so the watch could roll nothing back"
        yield Finding("OBS-RLINT-006", "error", ("watch_weight",), what, f"write watch_weight: {target.least_watch_weight}")
    elif spec.watch_weight == 0:
        what = (
            "during the watch stable answers nothing: the canary is compared with what stable did before, and a shared incident looks bad"
        )
        yield Finding("OBS-RLINT-007", "note", ("watch_weight",), what, "write watch_weight: 5")


def _gates(spec: Rollout, known: Setting) -> Iterator[Finding]:
    mine = [slo.name for slo in known.slos if slo.service == spec.service]
    for index, gate in enumerate(spec.gates):
        at = ("gates", index)
        if gate.name in known.silent:
            what = f"{gate.name} has no data now ({known.silent[gate.name]}); no data holds"
            yield Finding("OBS-RLINT-021", "note" if gate.dry_run else "warning", at, what, "look whether its metrics are scraped")
        if isinstance(gate, SloGate) and known.slos and gate.slo not in mine:
            todo = f"known: {', '.join(mine) or 'none'}"
            yield Finding("OBS-RLINT-011", "error", (*at, "slo"), f"{spec.service} has no SLO called {gate.slo}", todo)
        if isinstance(gate, QualityGate) and not gate.dry_run:
            first = gate.cohort + gate.maturity
            if first > spec.deadline:
                what = (
                    f"the first labels are mature after {humanize_duration(first)}, and the deadline is {humanize_duration(spec.deadline)}"
                )
                yield Finding("OBS-RLINT-008", "error", at, what, "raise the deadline, or write dry_run: true")
        if isinstance(gate, DriftGate | GpuCostGate | PromqlGate):
            if gate.for_ > spec.deadline + (spec.watch or 0.0):
                what = f"it must fail for {format_duration(gate.for_)}, longer than the rollout lasts"
                yield Finding("OBS-RLINT-009", "warning", (*at, "for"), what, "shorten it")
            if isinstance(gate, PromqlGate) and gate.on_fail == "rollback" and not gate.dry_run:
                what = "a number beyond a threshold proves nothing against the canary: a shared incident would roll back a healthy one"
                yield Finding("OBS-RLINT-010", "warning", (*at, "on_fail"), what, "write on_fail: hold, or count it: type: counters")
        elif isinstance(gate, CountingGate) and gate.dry_run:
            yield Finding("OBS-RLINT-019", "note", (*at, "dry_run"), f"{gate.name} is measured and decides nothing")


def _margins(spec: Rollout, known: Setting) -> Iterator[Finding]:
    allowed = _allowed(spec, known)
    if allowed is not None and spec.non_inferiority_margin > 20 * allowed:
        what = (
            f"a canary may fail {spec.non_inferiority_margin:.1%} more requests and still be accepted by this margin alone; the SLO "
            f"allows {allowed:.2%}"
        )
        yield Finding("OBS-RLINT-012", "warning", ("non_inferiority_margin",), what, f"write {float(f'{5 * allowed:.1g}'):g}")
    promised = sorted(
        {
            slo.indicator.threshold_seconds
            for slo in known.slos
            if slo.service == spec.service and slo.indicator.type == "latency" and slo.indicator.threshold_seconds is not None
        }
    )
    if promised and all(abs(float(one) - spec.latency_threshold) > 1e-9 for one in promised):
        words = ", ".join(format_duration(one) for one in promised)
        what = f"slower than {format_duration(spec.latency_threshold)} is slow here, and {words} in the SLO"
        yield Finding("OBS-RLINT-013", "warning", ("latency_threshold",), what, f"write {words.split(', ')[0]}")


def _rest(spec: Rollout) -> Iterator[Finding]:
    before = spec.steps[-2] if len(spec.steps) > 1 else 0
    if spec.pace == "steps" and before * _LEAPS <= 100:
        what = f"the last step goes from {before} % to 100 %: what {before or 'no'} % showed says little of all"
        yield Finding("OBS-RLINT-014", "warning", ("steps",), what, "put a step such as 50 between")
    if spec.noise_log_sd < 0.3:
        what = f"minutes that differ by more than {spec.noise_log_sd:g} (log standard deviation) would be taken for harm; services have 0.3"
        yield Finding("OBS-RLINT-015", "warning", ("noise_log_sd",), what, "write 0.6 or more, or measure it: obs rollout judge")
    if spec.tolerated < 1.1:
        what = f"{spec.tolerated:g} times as many bad requests are harm: two pods of one revision differ by more"
        yield Finding("OBS-RLINT-015", "warning", ("tolerated_ratio",), what, "write 1.2 or more")
    if spec.pace == "auto" and spec.steps != Rollout.model_fields["steps"].default:
        yield Finding(
            "OBS-RLINT-020", "note", ("steps",), "with pace: auto the steps are chosen by evidence and budget, not taken from here"
        )
    if not spec.digest:
        what = "without a digest a package that was rolled back is not recognised under another name"
        yield Finding("OBS-RLINT-017", "note", ("digest",), what, "write digest: sha256:...")
    if spec.dry_run:
        yield Finding("OBS-RLINT-019", "note", ("dry_run",), "everything is judged and recorded, and the traffic is never touched")
