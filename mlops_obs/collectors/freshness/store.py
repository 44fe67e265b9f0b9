"""How far a feature store lags behind its events, from what the store says of itself.

The meter in the predictor sees only views that are being read. A store that nobody reads at night still has to be fed
before the morning, so this collector asks it directly.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from mlops_obs.metric_names import FEATURE_AGE, FEATURE_VIEW, SERVICE, Reading


class StoreConfig(BaseModel):
    """`collector.yaml` of the freshness collector.

    `query` returns rows of (feature view, Unix seconds up to which the view is complete). Only the `views` listed
    become label values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    service: str
    store: str
    views: tuple[str, ...] = Field(min_length=1)
    query: str


def ages_from(config: StoreConfig, rows: Iterable[tuple[str, float | None]], now: float) -> list[Reading]:
    """Return the age in seconds of each listed view that the store knows; `now` is in Unix seconds."""
    ages = {view: max(0.0, now - newest) for view, newest in rows if newest is not None and view in config.views}
    return [Reading(FEATURE_AGE, {SERVICE: config.service, FEATURE_VIEW: view}, ages[view]) for view in config.views if view in ages]
