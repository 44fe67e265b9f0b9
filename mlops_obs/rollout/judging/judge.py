"""The verdict on a canary: condemned, accepted, not decided yet, or unknown. Pure, and a function of the whole evidence.

Three questions, three answers that a single threshold mixes up. *Is it worse?* is asked by e-processes over every slice
since the rollout began (`judging/harm.py`); `alpha` is shared by all tests and all looks. *Is it good enough?* is asked at
each step (`judging/acceptance.py`). *Whose fault is it?* is asked before anything is done: an incident of both arms holds,
and so does evidence that cannot be trusted (`judging/attribution.py`, `judging/traffic_check.py`).

The trap: silence. No data, no traffic and no difference look alike in a ratio; here each has its own verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

from mlops_obs.rollout.evidence.slices import Evidence, Unknown
from mlops_obs.rollout.judging.calibration import Calibration
from mlops_obs.rollout.judging.hearing import Hearing, Track
from mlops_obs.rollout.judging.power import TYPICAL_NOISE, time_to_see
from mlops_obs.rollout.judging.questions import Question
from mlops_obs.rollout.judging.traffic_check import Traffic
from mlops_obs.rollout.spec.rollout import Rollout

__all__ = ["Attribution", "Finding", "Power", "Question", "Traffic", "Verdict", "judge"]

_Z = 1.96  # two-sided 95 %


@dataclass(frozen=True, slots=True)
class Finding:
    """One test's numbers: counts since the rollout began, the evidence against its bound, the difference against its margin.

    `ratio` is the canary's share of bad requests over stable's, with a 95 % interval (None: nothing to divide by).
    `log10_alike` says how clearly this step looks like a canary that is no worse, of `log10_alike_bound` asked for.
    """

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
    log10_alike: float = 0.0
    log10_alike_bound: float = 0.0
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    dry_run: bool = False

    @property
    def condemned(self) -> bool:
        """The evidence that the canary is worse has crossed its bound, now or earlier; never by a test that only measures."""
        return self.log10_e_peak >= self.log10_bound and not self.dry_run

    @property
    def accepted(self) -> bool:
        """The canary is at most `margin` worse than stable at this step, and does not look like one that is clearly worse."""
        alike = self.log10_alike >= self.log10_alike_bound
        return self.dry_run or (self.step_requests > 0 and self.difference_upper <= self.margin and alike)


Attribution = Literal["none", "canary", "shared", "telemetry"]


@dataclass(frozen=True, slots=True)
class Power:
    """How long until a regression of the declared size would be seen by a test at this traffic; `seconds` None: never."""

    test: str
    ratio: float
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the evidence says now; `until` is the newest sample's time, `slices` how many were judged.

    `attribution` says whose fault it is: the canary's (condemned), both arms' (a shared incident: hold, extend the deadline),
    or the metrics' and the routing's (kind "unknown": hold, page).
    """

    kind: Literal["condemned", "accepted", "undecided", "unknown"]
    reason: str
    findings: tuple[Finding, ...] = ()
    until: float | None = None
    slices: int = 0
    attribution: Attribution = "none"
    power: tuple[Power, ...] = ()
    traffic: Traffic | None = None
    calibration: Calibration | None = None
    """The test of harm on stable's own pods, which are known to be good; None where pods are not told."""

    def numbers(self) -> dict[str, Any]:
        """Return the evidence as plain numbers for a record: one entry per test."""
        out: dict[str, Any] = {"verdict": self.kind, "attribution": self.attribution}
        if self.kind == "unknown":
            out["unknown"] = self.reason
        if not self.findings and self.kind == "unknown":
            return out
        out |= {"until": self.until, "slices": self.slices}
        out["tests"] = {one.test: {**_rounded(asdict(one)), "condemned": one.condemned, "accepted": one.accepted} for one in self.findings}
        if self.power:
            out["power"] = [_rounded(asdict(one)) for one in self.power]
        if self.traffic is not None:
            out["traffic"] = _rounded(asdict(self.traffic))
        if self.calibration is not None:
            out["calibration"] = _rounded(asdict(self.calibration))
        return out


def judge(evidence: Evidence | Unknown, rollout: Rollout, stable: str, began_at: float | None, step_started_at: float | None) -> Verdict:
    """Judge all slices since `began_at`; acceptance looks only at slices since `step_started_at` (Unix seconds).

    What was heard of the same rollout before is not computed again; the answer is the same with and without that memory.
    """
    if isinstance(evidence, Unknown):
        return Verdict("unknown", evidence.reason, attribution="telemetry")
    if began_at is None:
        return Verdict("undecided", "the canary has no traffic yet", until=evidence.until)
    hearing = _hearing(rollout, began_at)
    if not hearing.hear(evidence.slices, step_started_at):
        hearing.forget()
        hearing.hear(evidence.slices, step_started_at)
    return conclude(hearing, stable, evidence.until)


@lru_cache(maxsize=2048)
def _hearing(rollout: Rollout, began_at: float) -> Hearing:
    return Hearing(rollout, began_at)


def conclude(hearing: Hearing, stable: str, until: float | None) -> Verdict:
    """Return the verdict on what was heard so far."""
    findings = tuple(_find(track, hearing) for track in hearing.tracks)
    traffic = hearing.traffic.look()
    kind, attribution, reason = _conclude(findings, traffic, hearing, stable)
    return Verdict(
        kind, reason, findings, until, hearing.judged, attribution, _power(hearing), traffic=traffic, calibration=hearing.calibration()
    )


_Kind = Literal["condemned", "accepted", "undecided", "unknown"]


def _conclude(findings: Sequence[Finding], traffic: Traffic, hearing: Hearing, stable: str) -> tuple[_Kind, Attribution, str]:
    """Return the kind, whose fault it is, and why. A proven harm outlives every other trouble."""
    last = hearing.slices[-1] if hearing.slices else None
    for one, track in zip(findings, hearing.tracks, strict=True):
        if one.condemned:
            return "condemned", "canary", _condemned(one, track, hearing, stable)
    if last is not None and last.missing:
        return "unknown", "telemetry", last.missing
    if traffic.problem:
        return "unknown", "telemetry", traffic.problem
    if hearing.shared:
        return "undecided", "shared", f"a shared incident: {hearing.shared}"
    kind, reason = _accepted(findings, hearing.spec)
    return kind, "none", reason


def _find(track: Track, hearing: Hearing) -> Finding:
    shown = hearing.acceptance(track)
    ratio, low, high = _ratio(track.counts, hearing)
    return Finding(
        test=track.question.name,
        canary_bad=track.counts[0],
        canary_total=track.counts[1],
        stable_bad=track.counts[2],
        stable_total=track.counts[3],
        log10_e=track.value / math.log(10),
        log10_e_peak=track.peak / math.log(10),
        log10_bound=hearing.bound / math.log(10),
        difference_upper=shown.upper,
        margin=1.0 if track.question.margin is None else track.question.margin,
        step_requests=shown.requests,
        log10_alike=(shown.alike - max(track.value, 0.0)) / math.log(10),  # a suspicion of harm counts against it
        log10_alike_bound=shown.required / math.log(10),
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        dry_run=track.question.dry_run,
    )


def _ratio(counts: Sequence[int], hearing: Hearing) -> tuple[float | None, float | None, float | None]:
    bad, total, stable_bad, stable_total = counts
    if not total or not stable_total or not bad + stable_bad:
        return None, None, None
    middle = math.log((bad + 0.5) / (total + 0.5)) - math.log((stable_bad + 0.5) / (stable_total + 0.5))
    noise = TYPICAL_NOISE**2 * hearing.spec.block / max(hearing.seconds, 1.0)
    half = _Z * math.sqrt(1 / (bad + 0.5) + 1 / (stable_bad + 0.5) + noise)
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def _power(hearing: Hearing) -> tuple[Power, ...]:
    out, spec = [], hearing.spec
    seconds = max(hearing.seconds, 1e-3)
    for track in hearing.tracks:
        if track.question.dry_run:
            continue
        _, total, bad, stable_total = track.counts
        found = None
        if total and stable_total:
            found = time_to_see(
                spec.least_detectable_ratio,
                (bad + 0.5) / (stable_total + 1),
                total / seconds,
                stable_total / seconds,
                tau=min(TYPICAL_NOISE, spec.noise_log_sd),
                alpha=spec.alpha,
                tests=hearing.deciding,
                block=spec.block,
                tolerated=spec.tolerated,
                largest_noise=spec.noise_log_sd,
            )
        out.append(Power(track.question.name, spec.least_detectable_ratio, None if found is None else float(round(found))))
    return tuple(out)


def _condemned(one: Finding, track: Track, hearing: Hearing, stable: str) -> str:
    canary, peers = _share(one.canary_bad, one.canary_total), _share(one.stable_bad, one.stable_total)
    odds = f"evidence {_odds(one.log10_e_peak)} >= {_odds(one.log10_bound)}"
    pod = hearing.bad_pod(track)
    what = f"{canary} of {hearing.spec.canary}'s requests {track.question.words} against {peers} of {stable}'s"
    return f"{what}{f', {pod}' if pod else ''}; {odds}"


def _accepted(findings: Sequence[Finding], spec: Rollout) -> tuple[Literal["accepted", "undecided"], str]:
    open_ = [one for one in findings if not one.accepted]
    if not open_:
        worst = max((one for one in findings if not one.dry_run), key=lambda one: one.difference_upper / one.margin)
        return "accepted", f"{spec.canary} is {at_most_worse(worst.difference_upper)} ({worst.test}, margin {worst.margin:.1%})"
    first = open_[0]
    if not first.step_requests:
        return "undecided", f"{first.test}: nothing was counted of {spec.canary} at this step yet"
    at = f"{first.test}: after {first.step_requests} requests at this step"
    if first.difference_upper <= first.margin:
        worse = f"{spec.canary} cannot be told from one that is {spec.least_detectable_ratio:g} times as bad"
        return "undecided", f"{at} {worse} (evidence {_odds(first.log10_alike)}, must be {_odds(first.log10_alike_bound)})"
    could = f"{at} {spec.canary} could be {first.difference_upper:.1%} worse"
    return "undecided", f"{could} (must be under {first.margin:.1%})"


def at_most_worse(upper: float) -> str:
    """Return the upper bound of a difference of shares in words; below zero the canary is better."""
    return f"at most {upper:.1%} worse" if upper > -5e-4 else f"at least {-upper:.1%} better"


def _share(bad: int, total: int) -> str:
    return f"{bad / total:.1%} ({bad}/{total})" if total else "none (0/0)"


def _odds(log10: float) -> str:
    if log10 < 0.5:
        return f"{10**log10:,.1f}:1"
    return f"{10**log10:,.0f}:1" if log10 < 6 else f"10^{log10:.0f}:1"


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in values.items()}
