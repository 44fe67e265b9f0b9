"""Which segment a change is in: "only channel=web", "all", or none of them, because only their mix has changed.

Each segment is compared with itself in the reference, so that segments may differ from each other as they like. A segment carries
the change if its counts differ by more than chance and by an effect of the order of the strongest one's.

The trap: if each segment is as it was and one of them has grown, the whole has drifted and no segment has (Simpson's paradox). Who
looks for a broken feature then looks in vain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.statistics.divergences import psi, total_variation
from mlops_obs.collectors.drift.statistics.homogeneity import homogeneity

Counts = NDArray[np.int64]

_ALPHA = 0.01  # over all segments
_SHARE_OF_STRONGEST = 0.2  # PSI of a segment, for it to carry the same change as the strongest
_NAMED = 3
_PLAIN = 6  # times what PSI is by chance: a segment that had changed as the strongest would then have been seen


@dataclass(frozen=True, slots=True)
class Carriers:
    """`carrying`: the segments in which the feature changed, the strongest first; `silent`: those in which it plainly did not.

    `unclear`: too few rows. `grown`: the segment whose share of the rows rose most, if nothing but the mix has changed.
    """

    carrying: tuple[str, ...]
    silent: tuple[str, ...]
    unclear: tuple[str, ...]
    grown: str = ""

    @property
    def words(self) -> str:
        """For the line about a change: "only web", "all segments", "only the mix of segments: more partner"."""
        if self.grown:
            return f"only the mix of segments: more {self.grown}"
        if not self.carrying:
            return "no segment in particular"
        if not self.silent:
            return "all segments" if len(self.carrying) > 1 or not self.unclear else f"{self.carrying[0]}, others too small to say"
        if len(self.carrying) > _NAMED:
            few = len(self.silent) <= _NAMED
            return f"all segments but {', '.join(self.silent)}" if few else f"{len(self.carrying)} of {self.known} segments"
        return f"only {', '.join(self.carrying)}"

    @property
    def known(self) -> int:
        """How many segments have rows enough to say."""
        return len(self.carrying) + len(self.silent)


def carriers(reference: Mapping[str, Counts], current: Mapping[str, Counts]) -> Carriers:
    """Return which segments carry the change of a feature.

    Args:
        reference: by segment, (cells,) rows of the reference by cell.
        current: the same for the current rows, in the same cells. Segments that the reference lacks are unclear.
    """
    names = [name for name in current if name in reference and reference[name].sum() and current[name].sum()]
    effects, chance, resolved = {}, {}, {}
    for name in names:
        before, now = reference[name], current[name]
        effects[name] = float(psi(before, now))
        chance[name], degrees = homogeneity(before, now)
        # what PSI is by chance: it is a chi-square with `degrees` degrees, times (n + m) / nm
        n, m = float(before.sum()), float(now.sum())
        resolved[name] = max(degrees, 1) * (n + m) / (n * m)
    changed = [name for name in names if chance[name] < _ALPHA / len(names)]
    strongest = max((effects[name] - resolved[name] for name in changed), default=0.0)
    carrying = sorted(
        (name for name in changed if effects[name] - resolved[name] >= _SHARE_OF_STRONGEST * strongest), key=lambda name: -effects[name]
    )
    rest = [name for name in names if name not in carrying]
    silent = [name for name in rest if _PLAIN * resolved[name] < max(strongest, 0.02)]
    unclear = [name for name in current if name not in carrying and name not in silent]
    grown = "" if carrying else _grown(reference, current)
    return Carriers(tuple(carrying), tuple(silent), tuple(unclear), grown)


def _grown(reference: Mapping[str, Counts], current: Mapping[str, Counts]) -> str:
    names = sorted({*reference, *current})
    before, now = (
        np.array([int(side[name].sum()) if name in side else 0 for name in names], dtype=np.int64) for side in (reference, current)
    )
    if not before.sum() or not now.sum() or homogeneity(before, now)[0] >= _ALPHA or total_variation(before, now) < 0.02:
        return ""
    return names[int(np.argmax(now / now.sum() - before / before.sum()))]
