"""The verdict on a canary: condemned, accepted, or not decided yet. Pure, and a function of the whole evidence.

Two questions, two answers that a single threshold mixes up. *Is it worse?* is asked by an e-process over every slice
since the rollout began; `alpha` is shared by the tests, so that the chance of ever rolling back a healthy canary stays
below it however often one looks. *Is it good enough?* is asked at each step: the upper confidence bound of the
difference in bad requests must lie below the margin. A stall at the start of a step must not be averaged away for
minutes, so the question is asked again from each lap of the step on (a lap is its shortest duration), with a share of
the error rate that shrinks with the lap's number. Silence answers neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mlops_obs.rollout.evidence import Counts, Evidence, Slice, Unknown
from mlops_obs.rollout.sequential import Table, confidence_bounds, log_e_path
from mlops_obs.rollout.spec import Rollout


@dataclass(frozen=True, slots=True)
class Question:
    """A question asked of every slice; `cap` is how much one slice may multiply the evidence."""

    name: str
    words: str
    bad: Callable[[Counts], int]
    total: Callable[[Counts], int]
    cap: float
    margin: Callable[[Rollout], float]


QUESTIONS = (
    # An error is the model's own; two or three bad slices are enough.
    Question(
        "errors",
        "failed",
        lambda counts: counts.errors,
        lambda counts: counts.total,
        cap=20.0,
        margin=lambda spec: spec.non_inferiority_margin,
    ),
    # One stall of one process makes a whole slice slow; only several slow slices are a slow revision.
    Question("slow", "were slow", lambda counts: counts.slow, lambda counts: counts.timed, cap=3.0, margin=lambda spec: spec.slow_margin),
)


_LAPS = 20  # how many of the newest laps are asked, beside the whole step


@dataclass(frozen=True, slots=True)
class Finding:
    """One test's numbers: counts since the rollout began, the evidence against its bound, the difference against its margin."""

    test: str
    canary_bad: int
    canary_total: int
    stable_bad: int
    stable_total: int
    log10_e: float
    log10_e_peak: float
    log10_bound: float
    difference_upper: float
    margin: float
    step_requests: int

    @property
    def condemned(self) -> bool:
        """The evidence that the canary is worse has crossed its bound, now or earlier."""
        return self.log10_e_peak >= self.log10_bound

    @property
    def accepted(self) -> bool:
        """The canary is at most `margin` worse than stable at this step."""
        return self.difference_upper <= self.margin


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the evidence says now; `until` is the newest sample's time, `slices` how many were judged."""

    kind: Literal["condemned", "accepted", "undecided", "unknown"]
    reason: str
    findings: tuple[Finding, ...] = ()
    until: float | None = None
    slices: int = 0

    def numbers(self) -> dict[str, Any]:
        """Return the evidence as plain numbers for a record: one entry per test."""
        if self.kind == "unknown":
            return {"verdict": self.kind, "unknown": self.reason}
        tests = {
            finding.test: {**_rounded(asdict(finding)), "condemned": finding.condemned, "accepted": finding.accepted}
            for finding in self.findings
        }
        return {"verdict": self.kind, "until": self.until, "slices": self.slices, "tests": tests}


def judge(evidence: Evidence | Unknown, rollout: Rollout, stable: str, began_at: float | None, step_started_at: float | None) -> Verdict:
    """Judge all slices since `began_at`; acceptance looks only at slices since `step_started_at` (Unix seconds)."""
    if isinstance(evidence, Unknown):
        return Verdict("unknown", evidence.reason)
    if began_at is None:
        return Verdict("undecided", "the canary has no traffic yet", until=evidence.until)
    first = began_at + (rollout.warm_up or 0.0)
    slices = [one for one in evidence.slices if one.start >= first - 1e-9]
    here = [one for one in slices if step_started_at is not None and one.start >= step_started_at - 1e-9]
    lap = rollout.step_duration_min
    count = 1 + int((here[-1].end - here[0].start) / lap) if here else 1
    laps = [(number, [one for one in here if one.start >= here[0].start + number * lap]) for number in range(max(1, count - _LAPS), count)]
    laps.insert(0, (0, here))
    findings = tuple(_find(test, slices, laps, rollout) for test in QUESTIONS)
    kind, reason = _conclude(findings, rollout, stable)
    return Verdict(kind, reason, findings, evidence.until, len(slices))


def _find(test: Question, slices: Sequence[Slice], laps: Sequence[tuple[int, Sequence[Slice]]], rollout: Rollout) -> Finding:
    tables = [Table(test.bad(one.canary), test.total(one.canary), test.bad(one.stable), test.total(one.stable)) for one in slices]
    path = list(log_e_path(tables, rollout.least_detectable_odds, test.cap)) or [0.0]
    upper, requests = min(_difference(test, slices, lap, number, rollout.alpha_accept) for number, lap in laps)
    return Finding(
        test=test.name,
        canary_bad=sum(table.canary_bad for table in tables),
        canary_total=sum(table.canary_total for table in tables),
        stable_bad=sum(table.stable_bad for table in tables),
        stable_total=sum(table.stable_total for table in tables),
        log10_e=path[-1] / math.log(10),
        log10_e_peak=max(path) / math.log(10),
        log10_bound=math.log10(len(QUESTIONS) / rollout.alpha),
        difference_upper=upper,
        margin=test.margin(rollout),
        step_requests=requests,
    )


def _difference(question: Question, slices: Sequence[Slice], lap: Sequence[Slice], number: int, alpha: float) -> tuple[float, int]:
    """Return the upper bound of canary's ratio minus stable's over a lap, and the canary's requests in it."""
    bad, total = sum(question.bad(one.canary) for one in lap), sum(question.total(one.canary) for one in lap)
    # At the last step nothing is left to compare with but what stable did before.
    peers = lap if any(question.total(one.stable) for one in lap) else slices
    stable_bad, stable_total = sum(question.bad(one.stable) for one in peers), sum(question.total(one.stable) for one in peers)
    share = alpha / ((number + 1) * (number + 2)) / 2  # sums to alpha over all laps; half for each arm's bound
    _, upper = confidence_bounds(bad, total, share)
    lower, _ = confidence_bounds(stable_bad, stable_total, share)
    return upper - lower, total


def _conclude(findings: Sequence[Finding], rollout: Rollout, stable: str) -> tuple[Literal["condemned", "accepted", "undecided"], str]:
    words = {test.name: test.words for test in QUESTIONS}
    for one in findings:
        if one.condemned:
            canary, peers = _share(one.canary_bad, one.canary_total), _share(one.stable_bad, one.stable_total)
            odds = f"evidence {_power(one.log10_e_peak)} >= {_power(one.log10_bound)}"
            return "condemned", f"{canary} of {rollout.canary}'s requests {words[one.test]} against {peers} of {stable}'s; {odds}"
    open_ = [one for one in findings if not one.accepted]
    if not open_:
        worst = max(findings, key=lambda one: one.difference_upper / one.margin)
        return "accepted", f"{rollout.canary} is at most {worst.difference_upper:.1%} worse ({worst.test}, margin {worst.margin:.1%})"
    first = open_[0]
    could = f"{first.test}: after {first.step_requests} requests at this step {rollout.canary} could be {first.difference_upper:.1%} worse"
    return "undecided", f"{could} (must be under {first.margin:.1%})"


def _share(bad: int, total: int) -> str:
    return f"{bad / total:.1%} ({bad}/{total})" if total else "none (0/0)"


def _power(log10: float) -> str:
    return f"{10**log10:,.0f}:1" if log10 < 6 else f"10^{log10:.0f}:1"


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in values.items()}
