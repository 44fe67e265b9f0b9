"""Dashboards as plain data, before any Grafana.

The same value is rendered three times: to Grafana JSON, to the preview that needs no Grafana, and to the list of queries
that a test runs against Prometheus. The trap it avoids: the vendor's builders give panels no id and targets no refId, so
links into a dashboard break when a panel is inserted. Here an id is a hash of the panel's slug.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["timeseries", "stat", "table", "state-timeline"]
# Grafana's unit ids that we use.
Unit = Literal["percentunit", "s", "reqps", "short", "bytes", "watt", "celsius", "rowsps", "none", "joule", "dtdurations"]
Tone = Literal["good", "warn", "bad", "info"]
# Thresholds: the tone from minus infinity, then (value, tone from there).
Steps = tuple[Tone, tuple[tuple[float, Tone], ...]]


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression. `legend` is Grafana's `{{label}}` template; `instant` asks for the last value only.

    `limit` marks a line to stay under or over (an SLO): drawn dashed.
    """

    expr: str
    legend: str = ""
    instant: bool = False
    limit: bool = False
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """Where a click leads. The shown time range travels along."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: `width` of 24 columns, `height` in grid rows. `needs` names what a machine or service may lack: `gpu`, `skew` ..."""

    slug: str
    title: str
    description: str
    unit: Unit
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 12
    height: int = 8
    minimum: float | None = 0
    maximum: float | None = None
    decimals: int | None = None
    steps: Steps | None = None
    stacked: bool = False
    stepped: bool = False
    links: tuple[Link, ...] = ()
    no_value: str = "no data"
    columns: tuple[tuple[str, str], ...] = ()
    needs: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A titled band of panels; a closed row is folded and costs no queries until opened."""

    title: str
    panels: tuple[Panel, ...]
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Marker:
    """A vertical mark on every time chart: `expr` yields the time of the act in milliseconds."""

    name: str
    expr: str
    tone: Tone
    text: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A template variable filled by a query."""

    name: str
    label: str
    query: str
    all_values: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard: what it answers (`description`), its variables, marks and rows."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()
    markers: tuple[Marker, ...] = ()
    tags: tuple[str, ...] = field(default=("mlops-obs",))

    def panels(self) -> Iterator[Panel]:
        """Yield every panel in reading order, those of closed rows included."""
        for row in self.rows:
            yield from row.panels


def panel_id(dashboard_uid: str, slug: str) -> int:
    """Return a stable id: it survives every edit of the dashboard but a change of the slug. 1 .. 2^31-1, as Grafana wants it."""
    return zlib.crc32(f"{dashboard_uid}/{slug}".encode()) % (2**31 - 1) + 1


def ref_id(index: int) -> str:
    """Return A, B, C ... for the queries of a panel."""
    return chr(ord("A") + index)
