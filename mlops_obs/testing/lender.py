"""A small synthetic lender whose truth is known: what every feature is worth, and what every fault of it really costs.

Applicants have independent features; default follows a logistic law of what is *true*, and the model scores what it is *given*. A
change may therefore happen in the world (the labels follow it) or in the data alone (they do not): two things that look the same in
a histogram and cost differently. People and money are invented; all randomness comes from the generator that is passed in.

The trap: the model here knows the true law, so it is calibrated by construction. Nothing proven on it says that a trained model is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.columns import MISSING, Categories, Column, ColumnKind, Numbers, Role, Schema
from mlops_obs.collectors.drift.columns import ColumnData as Data

CHANNELS = ("branch", "web", "partner", "phone")
WEIGHTS = {
    "utilisation": 1.2,
    "late_payments": 0.9,
    "debt_ratio": 0.7,
    "income": -0.5,
    "months_employed": -0.35,
    "enquiries": 0.25,
    "age": -0.15,
    "channel": 0.3,
    "shoe_size": 0.0,
    "app_version": 0.0,
}
"""Log odds of default per standard deviation; 0: the model does not use it, and neither does the world."""

PREDICTION, LABEL, EXPOSURE = "probability", "defaulted", "exposure"
_BASE = -1.8  # log odds of default of an average applicant
_DRAW: Mapping[str, Callable[[np.random.Generator, int], Numbers]] = {
    "utilisation": lambda rng, n: rng.beta(2, 3, n),
    "late_payments": lambda rng, n: rng.poisson(0.8, n).astype(np.float64),
    "debt_ratio": lambda rng, n: rng.beta(2, 5, n),
    "income": lambda rng, n: rng.lognormal(8, 0.5, n),
    "months_employed": lambda rng, n: rng.gamma(2, 24, n),
    "enquiries": lambda rng, n: rng.poisson(2, n).astype(np.float64),
    "age": lambda rng, n: rng.normal(42, 11, n),
    "shoe_size": lambda rng, n: rng.normal(42, 2.5, n),
    "app_version": lambda rng, n: rng.integers(1, 30, n).astype(np.float64),
}
_CENTRE = {  # mean and standard deviation as the model standardises them; logarithms of income
    "utilisation": (0.4, 0.2),
    "late_payments": (0.8, 0.9),
    "debt_ratio": (0.286, 0.16),
    "income": (8.0, 0.5),
    "months_employed": (48.0, 34.0),
    "enquiries": (2.0, 1.41),
    "age": (42.0, 11.0),
    "shoe_size": (42.0, 2.5),
    "app_version": (15.0, 8.4),
}
_CHANNEL_RISK = np.array([-0.8, 0.0, 1.4, 0.3])

Change = Callable[[Data], Data]

SCHEMA = Schema(
    (
        *(Column(name) if name != "channel" else Column(name, ColumnKind.CATEGORY) for name in WEIGHTS),
        Column(PREDICTION, role=Role.PREDICTION),
        Column(LABEL, role=Role.LABEL),
    )
)


@dataclass(frozen=True, slots=True)
class Applicants:
    """What the model is given (`block`: features, `probability`, `defaulted`) and the money at stake in each row (`exposure`)."""

    block: dict[str, Data]
    exposure: Numbers

    @property
    def prediction(self) -> Numbers:
        """Probabilities of default, (rows,)."""
        return np.asarray(self.block[PREDICTION], dtype=np.float64)

    @property
    def label(self) -> Numbers:
        """1.0 for a default, (rows,)."""
        return np.asarray(self.block[LABEL], dtype=np.float64)


def applicants(
    rows: int,
    rng: np.random.Generator,
    *,
    world: Mapping[str, Change] | None = None,
    data: Mapping[str, Change] | None = None,
    concept: float = 0.0,
) -> Applicants:
    """Draw applicants.

    Args:
        rows: how many.
        rng: source of all randomness.
        world: changes of features before the labels are drawn: the labels follow.
        data: changes of features on their way to the model: the labels do not follow.
        concept: added to the log odds of default of those with high utilisation, without the model knowing it.
    """
    features: dict[str, Data] = {name: draw(rng, rows) for name, draw in _DRAW.items()}
    features["channel"] = Categories(rng.choice(4, rows, p=[0.4, 0.35, 0.15, 0.1]).astype(np.int64), CHANNELS)
    for name, change in (world or {}).items():
        features[name] = change(features[name])
    odds = log_odds(features)
    utilisation = np.asarray(features["utilisation"], dtype=np.float64)
    odds += concept * (utilisation > 0.4)
    label = (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.float64)
    for name, change in (data or {}).items():
        features[name] = change(features[name])
    block = {name: features[name] for name in WEIGHTS}
    return Applicants({**block, PREDICTION: predict(block), LABEL: label}, rng.lognormal(8.5, 0.6, rows))


def log_odds(features: Mapping[str, Data]) -> Numbers:
    """Return the log odds of default, (rows,); a missing value counts as an average one, an unknown channel as `web`."""
    total: Numbers = np.full(1, _BASE)
    for name, weight in WEIGHTS.items():
        data = features[name]
        if isinstance(data, Categories):
            table = np.array([_CHANNEL_RISK[CHANNELS.index(one)] if one in CHANNELS else 0.0 for one in (*data.names, "", "")])
            part: NDArray[np.float64] = table[data.codes]
        else:
            values = np.asarray(data, dtype=np.float64)
            with np.errstate(divide="ignore", invalid="ignore"):
                values = np.log(values) if name == "income" else values
            centre, spread = _CENTRE[name]
            part = np.clip(np.nan_to_num((values - centre) / spread, nan=0.0), -6, 6)
        total = total + weight * part
    return total


def predict(features: Mapping[str, Data]) -> Numbers:
    """Return what the model says of rows: probabilities of default, (rows,)."""
    scores: Numbers = 1 / (1 + np.exp(-log_odds(features)))
    return scores


def shifted(by: float) -> Change:
    """Return a change that moves numbers by that many of their standard deviations."""
    return lambda data: np.asarray(data, dtype=np.float64) + by * float(np.std(np.asarray(data, dtype=np.float64)))


def times(factor: float) -> Change:
    """Return a change that multiplies numbers: a unit change."""
    return lambda data: np.asarray(data, dtype=np.float64) * factor


def missing(share: float, rng: np.random.Generator) -> Change:
    """Return a change that loses a share of the values, whatever they are."""

    def lose(data: Data) -> Data:
        if isinstance(data, Categories):
            return Categories(np.where(rng.random(len(data.codes)) < share, -1, data.codes), data.names)
        return np.where(rng.random(len(data)) < share, MISSING, np.asarray(data, dtype=np.float64))

    return lose
