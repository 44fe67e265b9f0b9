"""How many of a day's labels are in after k days, by label: without that clock, young cohorts lie.

A default is known after weeks, a repayment only at the end. Among the labels that are in, bad ones are therefore too many, and no
number of rows heals that. But each label's chance of being in by now, given what it says, can be learned from the past; weighing the
labels that are in by one over that chance gives what the cohort will say when all are in (Horvitz and Thompson 1952; Hajek's ratio).

The trap: delays of labels that are in are the short ones, because the long ones are still out (right truncation). Their plain
histogram is too early; time reversed, truncation becomes left truncation and the product-limit estimator is right again (Lagakos,
Barraj and De Gruttola, Biometrika 1988).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class DelayCurve:
    """`arrived[i]` is the share of the final labels that is in at age `ages[i]` (seconds, rising); `labels` made the curve."""

    ages: Numbers
    arrived: Numbers
    labels: int

    @classmethod
    def of_truncated(cls, delays: ArrayLike, windows: ArrayLike) -> DelayCurve:
        """Estimate from labels that are in, each seen only because its delay is not longer than its window.

        Reverse-time product limit: F(k) = product over delays d > k of 1 - n(d) / N(d), n(d) labels with that delay and N(d) labels with
        delay <= d <= window. What takes longer than the longest window is not known: F is a share of what arrives within it.

        Args:
            delays: (labels,) seconds from prediction to label.
            windows: (labels,) seconds from prediction to now.
        """
        delay, window = np.asarray(delays, dtype=np.float64), np.asarray(windows, dtype=np.float64)
        kept = (delay >= 0) & (delay <= window)
        delay, window = np.sort(delay[kept]), np.sort(window[kept])
        if not delay.size:
            return cls(np.zeros(0), np.zeros(0), 0)
        ages, counts = np.unique(delay, return_counts=True)
        at_risk = np.searchsorted(delay, ages, side="right") - np.searchsorted(window, ages, side="left")
        stay = 1 - counts / np.maximum(at_risk, 1)
        arrived = np.append(np.cumprod(stay[::-1])[::-1][1:], 1.0)
        return cls(ages, arrived, int(delay.size))

    @classmethod
    def of_censored(cls, ages: ArrayLike, labelled: ArrayLike) -> DelayCurve:
        """Estimate from all predictions, labelled or not, if each gets a label in the end (Kaplan and Meier 1958).

        Args:
            ages: (predictions,) seconds from prediction to label, or to now where there is none yet.
            labelled: (predictions,) whether the label is in.
        """
        age, known = np.asarray(ages, dtype=np.float64), np.asarray(labelled, dtype=bool)
        times, counts = np.unique(age[known], return_counts=True)
        at_risk = age.size - np.searchsorted(np.sort(age), times, side="left")
        arrived: Numbers = (1 - np.cumprod(1 - counts / np.maximum(at_risk, 1))).astype(np.float64)
        return cls(times, arrived, int(known.sum()))

    def at(self, ages: ArrayLike) -> Numbers:
        """Return the share that is in at each age; 0 below the first."""
        place = np.searchsorted(self.ages, np.asarray(ages, dtype=np.float64), side="right")
        found: Numbers = np.append(0.0, self.arrived)[place]
        return found

    def age_of(self, share: float) -> float:
        """Return the age (seconds) at which that share is in; infinity if it never is."""
        place = int(np.searchsorted(self.arrived, share - 1e-12))
        return float(self.ages[place]) if place < self.ages.size else float("inf")


@dataclass(frozen=True, slots=True, eq=False)
class Maturation:
    """The label clock of a service: a delay curve for each label."""

    curves: Mapping[int, DelayCurve] = field(default_factory=dict)

    @classmethod
    def of(cls, made_at: ArrayLike, labelled_at: ArrayLike, label: ArrayLike, now: float) -> Maturation:
        """Learn the clock from a history of labelled predictions.

        Args:
            made_at: (predictions,) Unix seconds.
            labelled_at: (predictions,) Unix seconds; NaN where the label is not in by `now`.
            label: (predictions,) 0 or 1; ignored where it is not in.
            now: Unix seconds; labels of later are not looked at.
        """
        made, came, said = (np.asarray(one, dtype=np.float64) for one in (made_at, labelled_at, label))
        curves = {}
        for value in (0, 1):
            mine = (came <= now) & (said == value)
            curves[value] = DelayCurve.of_truncated((came - made)[mine], (now - made)[mine])
        return cls(curves)

    def at(self, label: ArrayLike, ages: ArrayLike) -> Numbers:
        """Return the chance that a label of that value is in at that age."""
        value, age = np.asarray(label), np.asarray(ages, dtype=np.float64)
        chance = np.zeros(np.broadcast(value, age).shape)
        for one, curve in self.curves.items():
            chance = np.where(value == one, curve.at(age), chance)
        return chance

    def least(self, age: float) -> float:
        """Return the share of the labels that is in at that age, for the label that comes last."""
        return min((float(curve.at(age)) for curve in self.curves.values() if curve.labels), default=0.0)

    def age_of(self, share: float) -> float:
        """Return the age (seconds) at which that share of every label is in; infinity if there is no label to learn from."""
        return max((curve.age_of(share) for curve in self.curves.values() if curve.labels), default=float("inf"))
