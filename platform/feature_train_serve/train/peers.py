"""Peer groups: the default rate of training customers of the same channel and the same order of spending.

The groups are published to the online store, so that they can be refreshed without a new model. A group that is not there may be one
that is still being published, so a reader waits for it a little before it falls back to all channels. That is sound while the keys
are right. With keys in the wrong unit, waiting is what a caller sees as a slow model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LEAST_SHARE = 0.008
"""A group is published if it has this share of the training rows; smaller ones say little and could identify people."""

WAITS_SECONDS = (0.1, 0.1, 0.1)
ANY_CHANNEL = "any"


class PeerGroupMissing(LookupError):
    """No peer group of this spending was ever published."""


@dataclass(frozen=True, slots=True)
class PeerGroups:
    """Default rates by key, and the rate of everybody."""

    rates: dict[str, float]
    overall: float

    @classmethod
    def of(cls, channel: np.ndarray, spend: np.ndarray, label: np.ndarray) -> PeerGroups:
        """Build the groups from training rows: `channel` codes, `spend` in currency units, `label` 0 or 1."""
        rates = {}
        codes = spending_band(spend)
        for keys in (_keys(channel, codes), _keys(None, codes)):
            for key in np.unique(keys):
                members = keys == key
                if members.sum() >= LEAST_SHARE * label.size:
                    rates[str(key)] = float(label[members].mean())
        return cls(rates, float(label.mean()))

    def offline(self, channel: np.ndarray, spend: np.ndarray) -> np.ndarray:
        """Join the rates to a table; a row without a group gets the overall rate, as a left join with a fill does."""
        codes = spending_band(spend)
        wide = [self.rates.get(key, self.overall) for key in _keys(None, codes)]
        return np.array([self.rates.get(key, rate) for key, rate in zip(_keys(channel, codes), wide, strict=True)])


def online_rate(lookup: Callable[[str], float | None], channel: float, spend: float, wait: Callable[[float], None]) -> float:
    """Look up one customer's peer rate. May wait for a group that is being published; raises PeerGroupMissing if there is none."""
    codes = spending_band(np.array([spend]))
    wide = lookup(_keys(None, codes)[0])
    if wide is None:
        raise PeerGroupMissing(f"no peer group for a monthly spending of {abs(spend):.2f}")
    key = _keys(np.array([channel]), codes)[0]
    for pause in (*WAITS_SECONDS, None):
        rate = lookup(key)
        if rate is not None:
            return rate
        if pause is not None:
            wait(pause)
    return wide


def spending_band(spend: np.ndarray) -> np.ndarray:
    """Return the order of magnitude of spending in powers of two; 0 stands for no spending."""
    return np.where(spend == 0, 0, np.maximum(np.frexp(np.abs(spend))[1], 1))


def _keys(channel: np.ndarray | None, band: np.ndarray) -> np.ndarray:
    names = np.full(band.size, ANY_CHANNEL) if channel is None else np.nan_to_num(channel, nan=-1).astype(int).astype(str)
    return np.char.add(np.char.add(names, ":"), band.astype(str))
