"""Which features are stale because something they are made from is: said before anybody calls it drift.

A table that stops being filled makes windows shrink to zero and ages grow: every detector calls that drift, and the person who is paged
looks for a change in the world. The cause is one late table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlops_obs.durations import humanize_duration


@dataclass(frozen=True, slots=True)
class Stale:
    """A feature whose source is too old.

    Args:
        feature: its name.
        source: the view or table that is behind; of several the oldest, measured by its own limit.
        since: up to when the source is complete (Unix seconds).
        late_since: when its age passed its limit.
        age: seconds.
        limit: seconds.
        words: one line for people.
    """

    feature: str
    source: str
    since: float
    late_since: float
    age: float
    limit: float
    words: str


def stale_features(
    lineage: Mapping[str, Sequence[str]], ages: Mapping[str, float | None], limits: Mapping[str, float], now: float
) -> dict[str, Stale]:
    """Return the features that have a source older than its limit.

    Args:
        lineage: {feature: the views and tables that it is made from}.
        ages: {source: seconds since it was complete}; None where unknown: what is unknown is not called stale.
        limits: {source: seconds up to which it is fresh}; a source without a limit is never stale.
        now: Unix seconds.
    """
    found = {}
    for feature, sources in lineage.items():
        behind = [
            (age / limits[one], one, age) for one in sources if (age := ages.get(one)) is not None and one in limits and age > limits[one]
        ]
        if behind:
            _, source, age = max(behind)
            limit = limits[source]
            words = (
                f"{feature} is stale: {source} is {humanize_duration(age)} old and may be {humanize_duration(limit)} old; "
                "what changed is its source, not the world"
            )
            found[feature] = Stale(feature, source, now - age, now - age + limit, age, limit, words)
    return found
