"""How far a feature store lags behind its events, from what the store says of itself.

The meter in the predictor sees only views that are being read. A store that nobody reads at night still has to be fed
before the morning, so this collector asks it directly.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mlops_obs.collectors.freshness.tables import TableConfig
from mlops_obs.metric_names import FEATURE_AGE, FEATURE_VIEW, SERVICE, Reading


class StoreConfig(BaseModel):
    """`collector.yaml` of the freshness collector.

    `query` returns rows of (feature view, Unix seconds up to which the view is complete), from the SQLite file `store`. Only the `views`
    listed become label values. `tables` are the upstream tables and their schedules. One of the two may be left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    service: str
    store: str = ""
    views: tuple[str, ...] = ()
    query: str = ""
    tables: tuple[TableConfig, ...] = Field(default=(), max_length=200)

    @model_validator(mode="after")
    def _something_to_ask(self) -> Self:
        if bool(self.views) != bool(self.query):
            raise ValueError("views and query belong together")
        if not self.views and not self.tables:
            raise ValueError("neither views nor tables are given")
        if len({one.name for one in self.tables}) < len(self.tables):
            raise ValueError("two tables have the same name")
        return self


def ages_from(config: StoreConfig, rows: Iterable[tuple[str, float | None]], now: float) -> list[Reading]:
    """Return the age in seconds of each listed view that the store knows; `now` is in Unix seconds."""
    ages = {view: max(0.0, now - newest) for view, newest in rows if newest is not None and view in config.views}
    return [Reading(FEATURE_AGE, {SERVICE: config.service, FEATURE_VIEW: view}, ages[view]) for view in config.views if view in ages]
