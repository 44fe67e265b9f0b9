"""References of a segment and of an hour of the week: in the cells of the whole, only where there is something to match."""

import numpy as np
import pytest

from mlops_obs.collectors.drift.columns import Categories, Column, ColumnKind, Schema
from mlops_obs.collectors.drift.matched import (
    OTHER,
    SEASONS,
    SEGMENTS,
    hour_of_week,
    profiles_by_segment,
    seasons_of,
    segment_column,
    segments_of,
    segments_section,
    values_of,
)
from mlops_obs.collectors.drift.partition import cells_of
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.sketches import categories
from mlops_obs.errors import SpecError

WEEK = 7 * 86_400
SCHEMA = Schema((Column("x"), Column("channel", ColumnKind.CATEGORY)))


def table(rows=4_000, seed=0, values=4):
    random = np.random.default_rng(seed)
    channel = random.integers(0, values, rows)
    return {"x": random.normal(0, 1, rows) + 3 * channel, "channel": Categories(channel, [f"c{place}" for place in range(values)])}


def taken(block, rows):
    return {"x": block["x"][rows], "channel": Categories(block["channel"].codes[rows], block["channel"].names)}


def with_segments(block, **options):
    whole = ReferenceProfile.from_block(block, SCHEMA)
    content = segments_section(whole, [block], "channel", **options)
    return whole if content is None else ReferenceProfile.from_bytes(whole.with_section(SEGMENTS, content).to_bytes())


def test_a_segments_reference_is_the_profile_of_its_rows_in_the_cells_of_the_whole():
    block = table()
    reference = with_segments(block)
    rows = block["channel"].codes == 2
    alone = ReferenceProfile.from_block(
        {"x": block["x"][rows], "channel": Categories(block["channel"].codes[rows], block["channel"].names)}, SCHEMA
    )

    found = reference.for_segment("c2")

    assert found.to_bytes() == alone.to_bytes()
    assert found.partition("x").labels == reference.partition("x").labels
    assert found.partition("x").expected.sum() == rows.sum()
    assert (
        sum(one.partition("x").expected for one in segments_of(reference).values()).tolist() == reference.partition("x").expected.tolist()
    )
    assert segment_column(reference) == "channel"


def test_a_segment_without_a_reference_of_its_own_gets_the_others_or_the_whole():
    many = with_segments(table(values=40))

    assert len(segments_of(many)) == 33
    assert many.for_segment("never heard of").rows == segments_of(many)[OTHER].rows > 0
    assert with_segments(table(values=1)).for_segment("c0").rows == 4_000


def test_shards_give_the_segments_of_the_whole_table():
    block, values = table(), ["c0", "c3"]
    shards = [
        {"x": block["x"][cut], "channel": Categories(block["channel"].codes[cut], block["channel"].names)}
        for cut in (slice(999), slice(999, None))
    ]

    assert {value: one.to_bytes() for value, one in profiles_by_segment(shards, SCHEMA, "channel", values).items()} == {
        value: one.to_bytes() for value, one in profiles_by_segment([block], SCHEMA, "channel", values).items()
    }


def test_rare_names_are_no_segments_and_not_named_in_one():
    block = table()
    block["channel"] = Categories(np.append(block["channel"].codes[:-2], [4, 4]), [*block["channel"].names, "ann@example.org"])

    reference = with_segments(block, least_rows=5)

    assert b"ann@example.org" not in reference.sections[SEGMENTS]
    assert segments_of(reference)[OTHER].rows == 2


def test_a_column_without_names_cannot_be_the_segment():
    with pytest.raises(SpecError, match="x holds no names.*OBS-DRF-011"):
        values_of(ReferenceProfile.from_block(table(), SCHEMA), "x")


@pytest.mark.parametrize("name", [SEGMENTS, SEASONS])
def test_a_damaged_section_is_said(name):
    reference = with_segments(table()).with_section(name, b'{"columns": {"x": 5}, "values": ["a"]}\n\xff')

    with pytest.raises(SpecError, match=f"{name} of the reference is damaged.*OBS-DRF-012"):
        (reference.for_segment if name == SEGMENTS else reference.for_hour_of_week)("a" if name == SEGMENTS else 0)


def test_hours_of_the_week_begin_on_monday_in_utc():
    moments = np.array([0.0, -3 * 86_400.0, 4 * 86_400.0 - 1, np.nan])

    assert hour_of_week(moments).tolist() == [72, 0, 167, -1]


def traffic(kind, weeks=6, seed=0):
    random = np.random.default_rng(seed)
    time = np.sort(random.uniform(0, weeks * WEEK, 30_000))
    hour = np.sin(2 * np.pi * time / 86_400)
    noise = random.normal(0, 1, time.size)
    knots = np.arange(0, weeks * WEEK, 3600 * 5)
    slow = np.interp(time, knots, np.cumsum(random.normal(0, 0.3, knots.size)))
    x = {"seasonal": noise + hour, "still": noise, "trend": noise + time / WEEK, "wandering": noise + slow}[kind]
    missing = random.random(time.size) < np.where((hour > 0.9) & (kind == "seasonal"), 0.3, 0.05)
    return {"x": np.where(missing, np.nan, x), "channel": Categories(np.zeros(time.size, dtype=np.int64), ["web"]), "time": time}


def test_a_season_is_kept_and_an_hours_reference_has_the_rows_of_that_hour():
    block = traffic("seasonal")
    whole = ReferenceProfile.from_block(block, SCHEMA)
    content, seasonal = seasons_of(whole, [block], "time")
    reference = ReferenceProfile.from_bytes(whole.with_section(SEASONS, content).to_bytes())

    by_hour = [reference.for_hour_of_week(hour).partition("x").expected for hour in range(168)]

    assert seasonal == ["x"]
    assert sum(by_hour).tolist() == whole.partition("x").expected.tolist()
    morning, evening = (one[:-2] @ np.arange(one.size - 2) / one[:-2].sum() for one in (by_hour[6], by_hour[18]))
    assert morning - evening > 3
    assert reference.for_hour_of_week(6).partition("channel").expected.tolist() == whole.partition("channel").expected.tolist()


@pytest.mark.parametrize(("names", "kept"), [(3, 20_000), (60, 20_000), (300, 100)])
def test_an_hour_of_a_column_of_many_names_has_every_row_in_its_cell(monkeypatch, names, kept):
    monkeypatch.setattr(categories, "NAMES", kept)
    block = traffic("seasonal")
    random = np.random.default_rng(2)
    night = (block["time"] % 86_400 < 20_000).astype(np.int64)
    drawn = (random.integers(0, names, night.size) * np.where(random.random(night.size) < 0.7, night, 1)).astype(np.int64)
    block["channel"] = Categories(np.where(random.random(night.size) < 0.05, -1, drawn), [f"name {place}" for place in range(names)])
    whole = ReferenceProfile.from_block(block, SCHEMA)
    content, seasonal = seasons_of(whole, [block], "time")
    reference = whole.with_section(SEASONS, content)
    cells = cells_of(whole.partition("channel"), block["channel"])

    for hour in (2, 12):
        rows = hour_of_week(block["time"]) == hour
        expected = np.bincount(cells[rows], minlength=whole.partition("channel").expected.size)
        assert reference.for_hour_of_week(hour).partition("channel").expected.tolist() == expected.tolist()
    assert "channel" in seasonal


@pytest.mark.parametrize("kind", ["still", "trend", "wandering"])
def test_noise_trend_and_wandering_are_no_season(kind):
    for seed in range(5):
        block = traffic(kind, seed=seed)
        assert seasons_of(ReferenceProfile.from_block(block, SCHEMA), [block], "time") == (None, [])


def test_less_than_three_weeks_say_nothing_about_a_week():
    block = traffic("seasonal", weeks=2)

    assert seasons_of(ReferenceProfile.from_block(block, SCHEMA), [block], "time") == (None, [])
