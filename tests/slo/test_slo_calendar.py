"""A calendar period begins at midnight of its zone, also across a change of clocks."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.slo.calendar import FIRST_YEAR, LAST_YEAR, known_zone, next_period_start, period_start, whole_hours, zone_offsets

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Pacific/Apia",
    "Asia/Kathmandu",
]
FIRST = int(datetime(FIRST_YEAR, 2, 1, tzinfo=UTC).timestamp())
LAST = int(datetime(LAST_YEAR, 12, 1, tzinfo=UTC).timestamp())


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


@pytest.mark.parametrize(
    ("kind", "zone", "now", "start"),
    [
        ("week", "UTC", "2026-11-22T23:59:59+00:00", "2026-11-16T00:00:00+00:00"),
        ("week", "UTC", "2026-11-23T00:00:00+00:00", "2026-11-23T00:00:00+00:00"),
        ("week", "Europe/Berlin", "2026-11-22T23:30:00+00:00", "2026-11-23T00:00:00+01:00"),
        ("month", "Europe/Berlin", "2026-03-31T12:00:00+00:00", "2026-03-01T00:00:00+01:00"),
        ("month", "Europe/Berlin", "2026-04-01T00:00:00+02:00", "2026-04-01T00:00:00+02:00"),
        ("month", "America/New_York", "2026-01-01T04:59:59+00:00", "2025-12-01T00:00:00-05:00"),
        ("quarter", "Asia/Kolkata", "2026-12-31T18:00:00+00:00", "2026-10-01T00:00:00+05:30"),
        ("quarter", "Asia/Kolkata", "2026-12-31T18:30:00+00:00", "2027-01-01T00:00:00+05:30"),
    ],
)
def test_a_period_begins_at_midnight_of_its_zone(kind, zone, now, start):
    assert period_start(kind, zone, at(now)) == at(start)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["week", "month", "quarter"]), st.sampled_from(ZONES), st.integers(FIRST, LAST))
def test_periods_follow_each_other_without_a_gap(kind, zone, now):
    start, following = period_start(kind, zone, now), next_period_start(kind, zone, now)

    assert start <= now < following
    assert period_start(kind, zone, following) == following
    assert period_start(kind, zone, following - 1) == start
    local = datetime.fromtimestamp(start, ZoneInfo(zone))
    assert (local.hour, local.minute, local.second) == (0, 0, 0)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["week", "month", "quarter"]), st.sampled_from(ZONES), st.integers(FIRST, LAST))
def test_the_start_can_be_told_from_the_changes_of_offset_alone(kind, zone, now):
    offsets = zone_offsets(zone)

    def offset(when: int) -> int:
        return [offsets[0][1], *(shift for since, shift in offsets if since <= when)][-1]

    day = datetime.fromtimestamp(now + offset(now), UTC).replace(hour=0, minute=0, second=0)
    wall = day - timedelta(days=day.weekday()) if kind == "week" else day.replace(day=1)
    if kind == "quarter":
        wall = wall.replace(month=(wall.month - 1) // 3 * 3 + 1)
    guess = int(wall.timestamp()) - offset(now)

    assert int(wall.timestamp()) - offset(guess) == period_start(kind, zone, now)


def test_a_zone_without_summer_time_changes_never_and_one_with_it_twice_a_year():
    assert zone_offsets("Asia/Kolkata") == ((at("2024-01-01T00:00:00+00:00"), 19_800),)
    assert zone_offsets("Europe/Berlin")[:3] == (
        (at("2024-01-01T00:00:00+00:00"), 3_600),
        (at("2024-03-31T01:00:00+00:00"), 7_200),
        (at("2024-10-27T01:00:00+00:00"), 3_600),
    )
    assert len(zone_offsets("Europe/Berlin")) == 1 + 2 * (LAST_YEAR - FIRST_YEAR + 1)


def test_only_zones_of_whole_hours_may_add_up_hours():
    assert [zone for zone in ZONES if whole_hours(zone)] == ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia"]


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../etc/passwd", "/etc/localtime", "localtime", "Europe", "a\0b", "right/UTC", "x" * 5_000]
)
def test_what_is_no_zone_on_every_machine_is_none(name):
    assert not known_zone(name)
