"""Features still, errors up: is a score still worth what it was, however its inputs move?

The test looks at labels given scores. If the world's law of good and bad is as it was, a row with the calibrated probability p is bad
with probability p, whatever the mix of rows is today; a shift of the population alone cannot raise this alarm. Each mature cohort bets
against that with likelihood ratios: risks higher or lower at all scores, or scores that separate less (Dawid 1984 on prequential
testing; Shafer 2021 and Gruenwald et al. 2024 on e-values). The bets of all cohorts add up as a Shiryaev-Roberts e-detector (Shin,
Ramdas and Rinaldo 2023): with a share w for each cohort, the mean number of false alarms is at most the sum of the shares, however
often one looks.

Two traps. Among the labels that are in, those that arrive early are too many: the probability that a row is bad *given that its label is
in* is p F1 / (p F1 + (1 - p) F0), and that is what is tested. And no score is calibrated to the last digit: log odds may be off by
a tolerance, within which nothing is evidence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

TOLERANCE = 0.2  # log odds; a risk 20 % higher than said at low risks
_BETS = ((0.4, 1.0), (-0.4, 1.0), (0.8, 1.0), (-0.8, 1.0), (1.5, 1.0), (-1.5, 1.0), (0.0, 0.6), (0.0, 0.2), (0.0, -0.3))
"""(shift, slope) of the log odds about their middle: what each bet says the law has become (Cox 1958, calibration)."""


@dataclass(frozen=True, slots=True, eq=False)
class MatureCohort:
    """The labels of a cohort at the moment at which it became mature.

    Args:
        start: Unix seconds.
        probability: (rows,) calibrated probabilities of a bad label.
        label: (rows,) 1 for bad.
        in_if_good, in_if_bad: (rows,) chance that the label was in by that moment, if it is good and if it is bad.
    """

    start: float
    probability: Numbers
    label: Numbers
    in_if_good: Numbers
    in_if_bad: Numbers

    @property
    def expected(self) -> Numbers:
        """(rows,) probability of a bad label, given that the label is in."""
        bad, good = self.probability * self.in_if_bad, (1 - self.probability) * self.in_if_good
        found: Numbers = bad / np.maximum(bad + good, 1e-300)
        return found


@dataclass(frozen=True, slots=True)
class ConceptFinding:
    """The law has changed: found in the cohort that began at `cohort`, and there since that of `since` (Unix seconds), without a break.

    `observed` and `expected` are shares of bad labels among those that are in, of these cohorts.
    """

    cohort: float
    since: float
    observed: float
    expected: float
    labels: int
    slope: bool

    @property
    def words(self) -> str:
        """One line for people."""
        shares = f"{self.observed:.1%} bad labels where the scores say {self.expected:.1%}"
        if self.slope:
            return f"the scores no longer separate good from bad as they did ({shares}, {self.labels} labels)"
        more = self.observed / self.expected if self.expected > 0 else float("inf")
        return f"{shares}: {more:.2g} times as many ({self.labels} labels)"


@dataclass(frozen=True, slots=True)
class ConceptState:
    """What all cohorts say: `evidence` reaches 1 at an alarm and starts anew; `findings`, the oldest first."""

    evidence: float
    findings: tuple[ConceptFinding, ...]


def watch(cohorts: Iterable[MatureCohort], share: float, tolerance: float = TOLERANCE, design_effect: float = 1.0) -> ConceptState:
    """Look at mature cohorts in order of time.

    Args:
        cohorts: each once; what is looked at again later must be looked at with the same labels.
        share: mean number of false alarms that a cohort may cause, for example 1 / 52 for one a year with weekly cohorts.
        tolerance: by how much log odds may be off.
        design_effect: how many rows one independent row was counted as.
    """
    level = np.zeros(len(_BETS))
    kept: list[tuple[MatureCohort, Numbers]] = []
    findings: list[ConceptFinding] = []
    for cohort in sorted(cohorts, key=lambda one: one.start):
        gain = log_evidence(cohort, tolerance) / max(design_effect, 1.0)
        kept.append((cohort, gain))
        level = np.exp(np.minimum(gain + np.log(level + share / len(_BETS)), 700))
        if level.sum() >= 1:
            found, lasting = _finding(kept, int(np.argmax(level)))
            findings.append(replace(found, since=findings[-1].since) if lasting and findings else found)
            kept, level = [], np.zeros(len(_BETS))
    return ConceptState(float(level.sum()), tuple(findings))


def log_evidence(cohort: MatureCohort, tolerance: float = TOLERANCE) -> Numbers:
    """Return the logarithm of each bet's e-value.

    The null of a row is an interval of probabilities; the bet is divided by its end that is nearest to it, which makes the ratio an
    e-value for every law within (reverse information projection, Gruenwald et al. 2024). Bets within the interval are 1.
    """
    odds = _log_odds(cohort.expected)
    if not odds.size:
        return np.zeros(len(_BETS))
    middle = float(odds.mean())
    found = []
    for shift, slope in _BETS:
        bet = middle + shift + slope * (odds - middle)
        null = np.clip(bet, odds - tolerance, odds + tolerance)
        ratio = cohort.label * (bet - null) - np.logaddexp(0, bet) + np.logaddexp(0, null)  # log of p^y (1 - p)^(1 - y), both
        found.append(float(ratio.sum()))
    return np.array(found)


def _finding(kept: list[tuple[MatureCohort, Numbers]], bet: int) -> tuple[ConceptFinding, bool]:
    """Return the finding, and whether all of these cohorts carry it: then what was found before them goes on."""
    gains = np.array([gain[bet] for _, gain in kept])
    first = int(np.argmax(np.cumsum(gains[::-1])[::-1]))  # from here on the bet won most
    cohorts = [cohort for cohort, _ in kept[first:]]
    labels, expected = (np.concatenate(parts) for parts in ([one.label for one in cohorts], [one.expected for one in cohorts]))
    slope = _BETS[bet][1] != 1.0
    found = ConceptFinding(kept[-1][0].start, cohorts[0].start, float(labels.mean()), float(expected.mean()), labels.size, slope)
    return found, first == 0


def _log_odds(probability: Numbers) -> Numbers:
    inside = np.clip(probability, 1e-6, 1 - 1e-6)
    found: Numbers = np.log(inside / (1 - inside))
    return found
