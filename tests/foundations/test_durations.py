"""Durations mean what Prometheus means by them, exactly, and survive being written and read again."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.durations import format_duration, humanize_duration, parse_duration
from mlops_obs.errors import SpecError

UNITS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}


@pytest.mark.parametrize(
    ("text", "seconds"),
    {"250ms": "0.25", "5m": "300", "1h30m": "5400", "30d": "2592000", "4w": "2419200", "1m1ms": "60.001", "90s": "90"}.items(),
)
def test_a_duration_is_read_exactly(text, seconds):
    assert parse_duration(text) == Decimal(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "m",
        "5 m",
        "-5m",
        "1.5h",
        "5M",
        "5m ",
        "\n5m",
        "5m\n",
        "5y",
        "1s1h",
        "5m5m",
        "30m1h",
        "٣s",
        "five minutes",
        "0s",
        "0d0ms",
        "9" * 40 + "d",
    ],
)
def test_what_prometheus_would_refuse_or_never_wait_for_is_refused_with_an_example(text):
    with pytest.raises(SpecError, match=r"write for example .* \[OBS-DUR-001\]$"):
        parse_duration(text)


@given(st.integers(1, 9 * 10**12))
def test_whole_milliseconds_survive_being_written_and_read(milliseconds):
    seconds = Decimal(milliseconds) / 1000

    assert parse_duration(format_duration(seconds)) == seconds


@given(st.dictionaries(st.sampled_from(list(UNITS)), st.integers(0, 10_000), min_size=1))
def test_units_in_falling_order_add_up(counts):
    ordered = [unit for unit in UNITS if unit in counts]
    milliseconds = sum(counts[unit] * UNITS[unit] for unit in ordered)
    text = "".join(f"{counts[unit]}{unit}" for unit in ordered)

    if milliseconds:
        assert parse_duration(text) * 1000 == milliseconds
    else:
        with pytest.raises(SpecError):
            parse_duration(text)


@given(st.text(alphabet="0123456789wdhms ٣", max_size=8))
def test_any_text_is_a_positive_duration_or_a_clear_refusal(text):
    try:
        seconds = parse_duration(text)
    except SpecError:
        return
    assert seconds > 0


@pytest.mark.parametrize(
    ("seconds", "text"), {3600: "1h", 90: "90s", 0.25: "250ms", 86_400: "1d", 604_800: "7d", 5_400: "90m", 0.1: "100ms"}.items()
)
def test_a_duration_is_written_in_the_largest_unit_that_divides_it(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    {
        0: "0 ms", 0.85: "850 ms", 0.9994: "999 ms", 0.9996: "1 s", 59.7: "1 min", 200: "3 min 20 s", 3_599: "59 min 59 s",
        3_600: "1 h", 187_200: "2 d 4 h", 86_459: "1 d",
    }.items(),
)  # fmt: skip
def test_a_tired_reader_gets_two_units_at_most(seconds, text):
    assert humanize_duration(seconds) == text


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_a_longer_time_never_reads_as_a_shorter_one(one, other):
    sizes = {"d": 86_400.0, "h": 3_600.0, "min": 60.0, "s": 1.0, "ms": 0.001}

    def read(text: str) -> float:
        words = text.split()
        return sum(float(number) * sizes[unit] for number, unit in zip(words[::2], words[1::2], strict=True))

    shorter, longer = sorted((one, other))

    assert read(humanize_duration(shorter)) <= read(humanize_duration(longer))
