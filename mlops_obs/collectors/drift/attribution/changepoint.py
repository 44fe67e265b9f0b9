"""Since when: the moment at which a feature's cell counts turned from the reference's shares to others, with an interval that holds it.

A Bayesian change point of multinomial counts: before the change the shares are the reference's (give or take what the reference
cannot know), after it they are near those or anything (Dirichlet priors, Jeffreys' among them), and every moment is as likely as any
other beforehand. The evidence of both parts is the Dirichlet-multinomial likelihood in closed form (Barry and Hartigan 1993; Fearnhead
2006), so nothing is simulated. Within a block of rows the change may lie anywhere: the block is then a mixture of both.

The trap: the best split alone is no answer. A small shift is located badly, and who reads one minute believes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_obs.collectors.drift.results import Since

Numbers = NDArray[np.float64]

MOST_BLOCKS = 1000
_STRENGTH = 1000.0  # rows: live data may differ from the reference from the start; more rows than that would call it a change
_NEAR = (10.0, 100.0)  # rows: how near to the reference's shares those after the change may be, beside "anything"
_PARTS = 8  # places within a block
_INTERVAL = (0.05, 0.95)
_COARSENING = 0.005  # a block may be as long as this share of its age


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Rows by time: `start` and `end` (blocks,) in seconds, `counts` (blocks, cells); in order, gaps are allowed."""

    start: Numbers
    end: Numbers
    counts: Numbers

    @classmethod
    def of(cls, start: ArrayLike, end: ArrayLike, counts: ArrayLike) -> Blocks:
        """Take any arrays; blocks are put in order of time and those without rows are left out."""
        begin, stop, rows = (np.asarray(one, dtype=np.float64) for one in (start, end, counts))
        kept = np.argsort(begin, kind="stable")
        kept = kept[rows[kept].sum(axis=1) > 0]
        return cls(begin[kept], stop[kept], rows[kept])

    def thinned(self, most: int = MOST_BLOCKS) -> Blocks:
        """Return at most `most` blocks: old ones are merged first, the resolution of an age stays a share of that age."""
        blocks, share = self, _COARSENING
        while len(blocks.start) > most:
            now = blocks.end[-1]
            group = [0]
            first = 0
            for place in range(1, len(blocks.start)):
                age = now - blocks.end[place]
                if blocks.end[place] - blocks.start[first] > share * max(age, 0.0):
                    first = place
                group.append(first)
            firsts, index = np.unique(group, return_inverse=True)
            counts = np.zeros((firsts.size, blocks.counts.shape[1]))
            np.add.at(counts, index, blocks.counts)
            lasts = np.append(firsts[1:], len(blocks.start)) - 1
            blocks = Blocks(blocks.start[firsts], blocks.end[lasts], counts)
            share *= 1.5
            if share > 1e6:  # all blocks are of one moment
                break
        return blocks


def since(blocks: Blocks, expected: Sequence[float] | NDArray[np.int64] | Numbers, design_effect: float = 1.0) -> Since | None:
    """Return when the shares changed, taking it for granted that they did: ask after an alarm.

    Args:
        blocks: counts by time, those of the change included; more than `MOST_BLOCKS` are merged first.
        expected: (cells,) the reference's rows by cell.
        design_effect: how many rows one independent row was counted as.

    Returns:
        The median of the moments, weighed by how likely they are, and the interval that holds it with 90 %; None if there are no rows.
    """
    blocks = blocks.thinned()
    if not len(blocks.start):
        return None
    counts = blocks.counts / max(design_effect, 1.0)
    reference = np.asarray(expected, dtype=np.float64)
    cells = reference.size
    reference = reference * min(1.0, _STRENGTH / max(reference.sum(), 1.0)) + 0.5
    places = len(blocks.start)

    below = np.vstack([np.zeros(cells), np.cumsum(counts, axis=0)])  # rows in the first k blocks
    total = below[-1]
    left = _evidence(below, reference)
    share = reference / reference.sum()
    beliefs = [np.full(cells, 0.5), *(0.1 + strength * share for strength in _NEAR)]
    right = np.logaddexp.reduce([_evidence(total - below, one) for one in beliefs], axis=0)
    # A change within block b: its rows are a mixture of the shares before and after it.
    first = below[:-1] + reference
    first /= first.sum(axis=1, keepdims=True)
    later = total - below[1:] + 0.1 + _NEAR[0] * share  # without the block's own rows, which would fit themselves
    later /= later.sum(axis=1, keepdims=True)
    at = (np.arange(_PARTS) + 0.5) / _PARTS  # share of the block's rows before the change
    mixed = at[:, None, None] * first + (1 - at[:, None, None]) * later
    inside = (counts * np.log(mixed)).sum(axis=2)  # (parts, blocks)
    log = (left[:-1] + right[1:])[None, :] + inside
    log = log.T.reshape(-1)  # blocks in order, parts in order within
    span = np.maximum(blocks.end - blocks.start, 1e-9)
    moments = (blocks.start[:, None] + at[None, :] * span[:, None]).reshape(-1)
    prior = np.repeat(span / span.sum() / _PARTS, _PARTS)
    # the change may have come before all that is kept
    log = np.append(log, right[0])
    moments = np.append(moments, blocks.start[0])
    prior = np.append(prior, 1 / (places + 1))
    weight = np.exp(log - log.max()) * prior
    posterior = weight / weight.sum()
    order = np.argsort(moments, kind="stable")
    moments, posterior = moments[order], posterior[order]
    cumulated = np.cumsum(posterior)
    half = np.append(np.repeat(span / (2 * _PARTS), _PARTS), 0.0)[order]
    low, high = (int(np.searchsorted(cumulated, level)) for level in _INTERVAL)
    earliest = float(moments[low] - half[low])
    latest = float(moments[min(high, moments.size - 1)] + half[min(high, moments.size - 1)])
    best = float(moments[int(np.searchsorted(cumulated, 0.5))])  # of all moments the one with the smallest mean error
    return Since(min(max(best, earliest), latest), earliest, latest)


def _evidence(counts: Numbers, prior: Numbers) -> Numbers:
    """Return the log Dirichlet-multinomial likelihood of each row of `counts`, up to what all ways to cut have in common."""
    found: Numbers = (
        _log_gamma(prior.sum())
        - _log_gamma(counts.sum(axis=1) + prior.sum())
        + (_log_gamma(counts + prior) - _log_gamma(prior)).sum(axis=1)
    )
    return found


def _log_gamma(x: ArrayLike) -> Numbers:
    """Return ln Gamma(x), x > 0: Stirling's series after x was raised above 8; exact to 1e-12."""
    value = np.array(x, dtype=np.float64)
    shift = np.zeros_like(value)
    for _ in range(8):
        small = value < 8
        shift = np.where(small, shift - np.log(np.where(small, value, 1.0)), shift)
        value = np.where(small, value + 1, value)
    inverse = 1 / value
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
    return (value - 0.5) * np.log(value) - value + 0.9189385332046727 + series + shift
