"""All the evidence of one rollout as it comes, slice by slice; a look costs the new slices, whatever the history.

The trap: memory that changes a verdict. Nothing here depends on when somebody looked: the same slices give the same
numbers, told one by one or all at once, and a restarted controller that tells them again ends at the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mlops_obs.rollout.evidence.slices import Counts, Slice
from mlops_obs.rollout.judging.acceptance import Acceptance, StepEvidence
from mlops_obs.rollout.judging.attribution import SharedIncident
from mlops_obs.rollout.judging.calibration import Calibration, SelfTest, pod_spread, spare
from mlops_obs.rollout.judging.engine import Row, block_index
from mlops_obs.rollout.judging.harm import HarmTest, Null
from mlops_obs.rollout.judging.questions import Question, pairs, questions
from mlops_obs.rollout.judging.traffic_check import TrafficTest
from mlops_obs.rollout.spec.rollout import Rollout

_DURING_INCIDENT = 1.5  # an incident need not hit both arms alike: so much more noise is tolerated while it lasts
_STABLE_GONE = 2.0  # the same where stable's past stands in for stable
_GROSS_SPARE = 1.1  # and ln of the extra ratio
_PAST = 4.0  # requests of stable's past for each of the canary's, where it stands in
_PODS = ("errors", "slow")  # the questions that are told by pod


@dataclass(slots=True)
class Track:
    """One question's tests and sums."""

    question: Question
    tests: list[HarmTest] = field(default_factory=list)
    step: StepEvidence | None = None
    counts: list[int] = field(default_factory=lambda: [0, 0, 0, 0])  # canary bad, all, stable bad, all
    value: float = 0.0
    peak: float = 0.0
    told_at: float = -math.inf
    pods: dict[str, dict[str, tuple[float, float]]] = field(default_factory=lambda: {"canary": {}, "stable": {}})
    incident: SharedIncident | None = None
    spread: float = 0.0
    pods_test: SelfTest | None = None


class Hearing:
    """Hears the slices of a rollout of `spec` since `began_at` (Unix seconds), when the canary first got traffic."""

    def __init__(self, spec: Rollout, began_at: float) -> None:
        self.spec, self.began_at = spec, began_at
        self.forget()

    def forget(self) -> None:
        """Begin anew, as if nothing had been heard."""
        spec, began_at = self.spec, self.began_at
        self.slices: list[Slice] = []
        self.seconds = 0.0  # of the slices that were judged
        self.judged = 0
        self.shared = ""
        self.traffic = TrafficTest(began_at, spec.block)
        self.tracks = [Track(question) for question in questions(spec)]
        for track in self.tracks:
            if track.question.name in _PODS:
                track.incident = SharedIncident(began_at, spec.block)
        null = self._null = Null(spec.tolerated, spec.noise_log_sd, spec.block, spec.warm_up_seconds, max(spec.gross_ratio, 1.0))
        self._null_of_errors = replace(null, stall=0.25)
        for track in self.tracks:
            if track.question.name in _PODS:
                track.pods_test = SelfTest(replace(null, warm_up=0.0), began_at, self.bound)
        self._step_at: float | None = None
        self._block = -1
        self._pods = [0, 0]  # of the canary and of stable, at most at once

    def hear(self, slices: Sequence[Slice], step_started_at: float | None) -> bool:
        """Add what is new in `slices` (all since `began_at`); return False if they contradict those heard before."""
        known = len(self.slices)
        if list(slices[:known]) != self.slices:
            return False
        self.begin_step(step_started_at)
        for one in slices[known:]:
            self.add(one)
        return True

    def begin_step(self, step_started_at: float | None) -> None:
        """Ask for acceptance of what comes after `step_started_at` (Unix seconds)."""
        if step_started_at != self._step_at:
            self._step_at = step_started_at
            for track in self.tracks:
                if not track.question.whole or track.step is None:
                    track.step = self._new_step()
                    for one in self.slices:
                        self._tell_step(track, one)

    @property
    def deciding(self) -> int:
        """How many tests share the error rate."""
        return sum(not track.question.dry_run for track in self.tracks)

    @property
    def bound(self) -> float:
        """Return ln of the e-value that condemns."""
        return math.log(self.deciding / self.spec.alpha)

    def acceptance(self, track: Track) -> Acceptance:
        """Return what the step has shown of one question."""
        margin = track.question.margin
        told = self._step_at is not None and track.told_at > self._step_at
        if margin is None:  # any difference will do, but a question that is not answered any more acquits nobody
            return Acceptance(0.0 if told else 1.0, track.counts[1] if told else 0, 0.0, 0.0)
        if track.step is None:  # the step has not begun yet: what came before it shows nothing of it
            return Acceptance(1.0, 0, 0.0, 0.0)
        steps = max(len(self.spec.steps), 1)
        horizon = max(self.spec.step_duration_min, min(self.spec.deadline / steps, 20 * self.spec.step_duration_min))
        alpha = self.spec.alpha_accept
        return track.step.look(alpha, margin, (float(track.counts[2]), float(track.counts[3])), horizon, self._spare(track))

    def calibration(self) -> Calibration | None:
        """Return the false alarms among stable's own pods, over all questions; None if no pods are told."""
        found = [track.pods_test.look(track.spread) for track in self.tracks if track.pods_test is not None]
        splits = sum(one.splits for one in found)
        return Calibration(splits, sum(one.false_alarms for one in found), max(one.spread for one in found)) if splits else None

    def bad_pod(self, track: Track) -> str:
        """Return in words which pod of the canary has most of its bad requests; empty if none stands out."""
        pods = track.pods["canary"]
        bad, total = sum(one for one, _ in pods.values()), sum(every for _, every in pods.values())
        if len(pods) < 2 or not bad:
            return ""
        name, (worst, its) = max(sorted(pods.items()), key=lambda one: one[1][0])
        rest = (bad - worst) / (total - its) if total > its else 0.0
        if worst < 0.5 * bad or worst / its < 3 * max(rest, 0.5 / total):
            return ""
        return f"most of them in pod {name}: {worst / its:.1%} ({worst:.0f}/{its:.0f}), the others {rest:.1%}"

    def _new_step(self) -> StepEvidence:
        spec = self.spec
        lap = max(spec.step_duration_min, spec.slice)
        return StepEvidence(self.began_at, spec.block, spec.noise_log_sd, spec.least_detectable_ratio, lap)

    def add(self, one: Slice) -> None:
        """Hear the next slice, later than all before."""
        self.slices.append(one)
        if one.missing:
            return
        self.seconds += one.end - one.start
        self.judged += 1
        self.traffic.push(one.start, one.end, one.canary.total, one.stable.total, one.weight)
        self._learn_pods(one)
        shared = [words for track in self.tracks if (words := self._incident(track, one))]
        self.shared = shared[0] if shared else ""
        for track in self.tracks:
            self._tell_harm(track, one)
            self._tell_step(track, one)

    def _incident(self, track: Track, one: Slice) -> str:
        found = pairs(track.question, one)
        if track.incident is None or not found:
            return ""
        return track.incident.words if track.incident.push(Row(one.start, one.end, *found[0])) else ""

    def _tell_harm(self, track: Track, one: Slice) -> None:
        found = pairs(track.question, one)
        if not found:
            return
        if not track.tests:
            null = self._null_of_errors if track.question.name == "errors" else self._null
            track.tests = [HarmTest(null, self.began_at) for _ in found]
        if len(track.tests) != len(found):
            return  # the histogram got other bounds
        start = self._told_since(track, one)
        wide, extra = (_DURING_INCIDENT if self.shared else 1.0), self._spare(track)
        if not found[0][3] and self.spec.watch is not None and track.counts[3]:
            wide, extra = _STABLE_GONE, _GROSS_SPARE
            found = tuple((*pair[:2], *self._past(track, pair[1])) for pair in found)  # type: ignore[misc]
        else:
            for index, part in enumerate(found[0]):
                track.counts[index] += part
        values = [test.push(Row(start, one.end, *pair), wide, extra) for test, pair in zip(track.tests, found, strict=True)]
        top = max(values)
        track.value = top + math.log(sum(math.exp(value - top) for value in values) / len(values))
        track.peak = max(track.peak, track.value)
        track.told_at = one.end

    def _spare(self, track: Track) -> float:
        return spare(track.spread, self._pods[0], self._pods[1])

    def _told_since(self, track: Track, one: Slice) -> float:
        """Return since when the counts of a slice were gathered: its own start, or earlier where a gate speaks rarely."""
        if track.question.whole:
            return one.end - self.spec.block
        if track.question.sparse:
            return max(min(one.start, max(track.told_at, self.began_at)), one.end - self.spec.block)
        return one.start

    @staticmethod
    def _past(track: Track, canary: int) -> tuple[float, float]:
        every = min(float(track.counts[3]), _PAST * canary)
        return track.counts[2] / track.counts[3] * every, every

    def _tell_step(self, track: Track, one: Slice) -> None:
        inside = self._step_at is not None and one.start >= self._step_at - 1e-9
        if one.missing or track.step is None or not (inside or track.question.whole):
            return
        found = pairs(track.question, one)
        if len(found) == 1:
            start = one.end - self.spec.block if track.question.whole else one.start
            track.step.push(Row(start, one.end, *found[0]))

    def _learn_pods(self, one: Slice) -> None:
        if not one.canary.pods and not one.stable.pods:
            return
        for index, of_arm in enumerate((one.canary, one.stable)):
            self._pods[index] = max(self._pods[index], sum(1 for pod in of_arm.pods.values() if pod[0]))
        block = block_index(one.end, self.began_at, self.spec.block)
        for track in self.tracks:
            if track.question.name not in _PODS:
                continue
            which = 1 + _PODS.index(track.question.name)
            if block != self._block:
                track.spread = pod_spread(track.pods["stable"])
            for arm, counts in (("canary", one.canary), ("stable", one.stable)):
                _add(track.pods[arm], counts, which)
            if track.pods_test is not None:
                track.pods_test.push(one.end, {name: (pod[which], pod[0]) for name, pod in one.stable.pods.items()}, track.spread)
        self._block = block


def _add(sums: dict[str, tuple[float, float]], counts: Counts, which: int) -> None:
    pods: Mapping[str, tuple[int, int, int]] = counts.pods
    for name, one in pods.items():
        bad, every = sums.get(name, (0.0, 0.0))
        sums[name] = (bad + one[which], every + one[0])
