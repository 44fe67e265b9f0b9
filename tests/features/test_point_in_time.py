"""A feature sees what had happened by then, all of it, and nothing else. Batch and stream are both held to a naive reading."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from event_tables import GRID, START, Row, rows, table
from feature_train_serve.config import DAY_MS, HORIZON_DAYS
from feature_train_serve.features.batch import History, Snapshots, evaluate, snapshots
from feature_train_serve.features.definitions import FEATURE_NAMES, FEATURES, RATIOS
from feature_train_serve.features.events import CODES, KINDS, events_of
from feature_train_serve.features.state import CustomerState
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.errors import SpecError

moments = st.integers(0, 26).map(lambda step: START + step * GRID)


def naive(events: list[Row], customer: str, as_of: int) -> dict[str, float]:
    """Read the definitions word for word, one event at a time."""
    known = sorted((row for row in events if row[0] == customer and START + row[1] <= as_of), key=lambda row: row[1])
    values = {}
    for feature in FEATURES:
        mine = [row for row in known if row[2] in feature.kinds]
        window = [row for row in mine if as_of - feature.days * DAY_MS < START + row[1]]
        newest = mine[-1] if mine else None
        values[feature.name] = {
            "sum": lambda window=window: sum(row[3] for row in window) / 100,
            "count": lambda window=window: float(len(window)),
            "last_amount": lambda newest=newest: newest[3] / 100 if newest else math.nan,
            "last_score": lambda newest=newest: newest[4] if newest and newest[4] is not None else math.nan,
            "last_kind": lambda newest=newest: float(newest[2]) if newest else math.nan,
            "age": lambda newest=newest: (as_of - START - newest[1]) / DAY_MS if newest else math.nan,
        }[feature.aggregate]()
    for ratio in RATIOS:
        values[ratio.name] = values[ratio.numerator] / values[ratio.denominator] if values[ratio.denominator] else 0.0
    return values


def bits(values: dict[str, float]) -> list[int]:
    return np.array([values[name] for name in FEATURE_NAMES]).view(np.int64).tolist()


def batch_features(events: pa.Table, customer: str, as_of: int) -> dict[str, float]:
    history = History(events)
    index = np.flatnonzero(history.names == customer)
    columns = history.features(index, np.full(index.size, as_of))
    return {name: float(values[0]) for name, values in columns.items()}


def stream_features(events: pa.Table, customer: str, as_of: int) -> dict[str, float]:
    state = CustomerState()
    for event in events_of(events):
        if event.customer_id == customer and event.time <= as_of:
            state.observe(event)
    return state.features(as_of)


@settings(max_examples=300, deadline=None)
@given(st.lists(rows, min_size=1, max_size=40), moments)
def test_batch_and_stream_both_equal_a_naive_reading_of_the_definitions_bit_for_bit(events: list[Row], as_of: int) -> None:
    customer = events[0][0]

    expected = bits(naive(events, customer, as_of))

    assert bits(batch_features(table(events), customer, as_of)) == expected
    assert bits(stream_features(table(events), customer, as_of)) == expected


@settings(max_examples=200, deadline=None)
@given(st.lists(rows, min_size=1, max_size=30), st.lists(rows, min_size=1, max_size=30), moments)
def test_a_feature_never_sees_the_future(events: list[Row], future: list[Row], as_of: int) -> None:
    past = [row for row in events if START + row[1] <= as_of]
    later = [(who, as_of - START + 1 + time, kind, cents, score) for who, time, kind, cents, score in future]
    if not past:
        return
    customer = past[0][0]

    with_future, without = table(past + later), table(past)

    assert bits(batch_features(with_future, customer, as_of)) == bits(batch_features(without, customer, as_of))
    assert bits(stream_features(with_future, customer, as_of)) == bits(stream_features(without, customer, as_of))


@settings(max_examples=150, deadline=None)
@given(st.lists(rows, min_size=1, max_size=30), st.integers(0, 10**6), moments)
def test_one_customers_features_do_not_depend_on_other_customers(events: list[Row], shift: int, as_of: int) -> None:
    customer = events[0][0]
    mine = [row for row in events if row[0] == customer]
    strangers = [("zz" + who, time + shift, kind, cents, score) for who, time, kind, cents, score in events]

    assert bits(batch_features(table(events + strangers), customer, as_of)) == bits(batch_features(table(mine), customer, as_of))


@settings(max_examples=150, deadline=None)
@given(st.lists(rows, min_size=1, max_size=30, unique_by=lambda row: (row[0], row[1])), st.randoms())
def test_the_stream_forgets_the_order_of_arrival(events: list[Row], chance: object) -> None:
    arrived = events_of(table(events))
    shuffled = list(arrived)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    customer, as_of = arrived[0].customer_id, arrived[-1].time

    in_order, as_it_came = CustomerState(), CustomerState()
    for state, order in ((in_order, arrived), (as_it_came, shuffled)):
        for event in order:
            if event.customer_id == customer:
                state.observe(event)

    assert bits(as_it_came.features(as_of)) == bits(in_order.features(as_of))
    assert CustomerState.from_text(as_it_came.to_text()) == as_it_came or any(math.isnan(value[3]) for value in as_it_came.newest.values())


SPEND = CODES["transaction", "shopping"]


@pytest.mark.parametrize(
    ("days_ago_ms", "counted"),
    [(0, True), (1, True), (30 * DAY_MS - 1, True), (30 * DAY_MS, False)],
    ids=["at as_of", "a millisecond before", "just inside the window", "on the far border"],
)
def test_a_window_is_open_at_its_far_end_and_closed_at_as_of(days_ago_ms: int, counted: bool) -> None:
    events = table([("a", 100 * DAY_MS - days_ago_ms, SPEND, -500, None)])

    assert batch_features(events, "a", START + 100 * DAY_MS)["spend_30d"] == (-5.0 if counted else 0.0)
    assert stream_features(events, "a", START + 100 * DAY_MS)["spend_30d"] == (-5.0 if counted else 0.0)


def test_a_label_sees_only_the_horizon_after_its_row() -> None:
    missed = CODES["repayment", "missed"]
    as_of = START + 10 * DAY_MS
    at = {"at": 10 * DAY_MS, "after": 10 * DAY_MS + 1, "end": (10 + HORIZON_DAYS) * DAY_MS, "beyond": (10 + HORIZON_DAYS) * DAY_MS + 1}
    events = table([(who, 0, SPEND, -1, None) for who in at] + [(who, time, missed, 0, 30.0) for who, time in at.items()])

    rows_of = evaluate(events, Snapshots(train=(as_of,), test=as_of, live=as_of)).filter(pc.field("split") == "test")

    assert dict(zip(rows_of["customer_id"].to_pylist(), rows_of["label"].to_pylist(), strict=True)) == {
        "at": 0,
        "after": 1,
        "end": 1,
        "beyond": 0,
    }


def test_labels_of_the_train_slices_end_before_the_test_slice_begins() -> None:
    placed = snapshots(START, START + 360 * DAY_MS)

    assert max(placed.train) + HORIZON_DAYS * DAY_MS <= placed.test
    assert placed.test + HORIZON_DAYS * DAY_MS <= placed.live


def test_a_history_too_short_for_labels_is_refused_with_what_is_needed() -> None:
    with pytest.raises(SpecError, match=r"the events span 100 days; give at least 240 days.*OBS-DATA-007"):
        snapshots(START, START + 100 * DAY_MS)


def test_every_event_kind_of_a_type_belongs_to_exactly_one_code() -> None:
    assert sorted(CODES.values()) == list(range(len(KINDS)))


def test_of_two_events_in_the_same_millisecond_the_later_in_the_stream_is_the_newest() -> None:
    pull = CODES["bureau", "pull"]
    events = table([("a", 5, pull, 0, 600.0), ("a", 5, pull, 0, 700.0)])

    assert batch_features(events, "a", START + 5)["bureau_score"] == 700.0
    assert stream_features(events, "a", START + 5)["bureau_score"] == 700.0
