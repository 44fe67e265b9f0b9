"""Drift, or something that only looks like it: a stale source, code that differs between training and serving, broken data.

All of them move the same distributions, and each has another person who repairs it. So an alarm of a feature is asked first what else is
known about that feature at that time. The answers come from other collectors, as words: this module knows none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from mlops_obs.collectors.drift.results import Change

_BROKEN = frozenset({Change.MISSING, Change.INVALID, Change.GONE, Change.TYPE})


class Cause(StrEnum):
    """What is behind an alarm, as far as is known."""

    SKEW = "skew"  # the same value is computed differently in two places
    STALE = "stale"  # its source has not been brought up to date
    BROKEN = "broken"  # values are missing, of another type, or not what was agreed
    DRIFT = "drift"  # nothing else explains it: the world, or the customers, have changed


def cause_of(
    feature: str,
    kind: Change | None,
    *,
    stale: Mapping[str, str] | None = None,
    skewed: Mapping[str, str] | None = None,
    failed: Mapping[str, str] | None = None,
) -> tuple[Cause, str]:
    """Return the cause of an alarm of `feature` and the words for it; empty words where drift is all that is known.

    Args:
        feature: its name.
        kind: the kind of change, if known.
        stale: {feature: words} of features whose source is too old (`collectors.freshness.stale.stale_features`).
        skewed: {feature: words} of features that differ between sides (`collectors.skew.SkewWatch.findings`).
        failed: {feature: words} of expectations that do not hold (`collectors.drift.expectations`).
    """
    if words := (skewed or {}).get(feature):
        return Cause.SKEW, words
    if words := (stale or {}).get(feature):
        return Cause.STALE, words
    if words := (failed or {}).get(feature):
        return Cause.BROKEN, words
    if kind in _BROKEN:
        return Cause.BROKEN, ""
    return Cause.DRIFT, ""
