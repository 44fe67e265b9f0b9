"""Charts tell the truth about gaps, and do not lose a label."""

from __future__ import annotations

import re

import pytest

from mlops_obs.dashboards.catalogue import DASHBOARDS, dashboard
from mlops_obs.dashboards.charts import Frame, Line, Mark, lanes, strip, time_chart
from mlops_obs.dashboards.figures import format_tick, format_value, nice_step, time_ticks, value_ticks
from mlops_obs.dashboards.preview import missing_data, render_preview, scrape_interval, tone_of
from mlops_obs.errors import TelemetryUnavailable
from mlops_obs.slo.counters import Series

FRAME = Frame(0, 100)


def test_an_outage_is_a_gap_and_not_a_line_across_it() -> None:
    line = Line("v1", [(0, 1.0), (10, 1.0), (20, None), (30, 1.0), (40, 1.0)])

    assert len(re.findall('<path class="data', time_chart([line], FRAME))) == 2


def test_a_value_that_is_not_a_number_is_a_gap() -> None:
    line = Line("v1", [(0, 1.0), (10, 1.0), (20, float("nan")), (30, 1.0), (40, 1.0)])

    assert "nan" not in time_chart([line], FRAME)


def test_labels_of_equal_values_do_not_cover_each_other() -> None:
    lines = [Line(f"v{number}", [(0, 1.0), (100, 1.0)]) for number in range(4)]

    heights = [float(y) for y in re.findall(r'<text class="s0" x="[\d.]+" y="([\d.]+)"', time_chart(lines, FRAME))]

    assert len(heights) == 4
    assert all(b - a >= 13.9 for a, b in zip(sorted(heights), sorted(heights)[1:], strict=False))


def test_a_line_that_ends_early_is_named_where_it_ends() -> None:
    svg = time_chart([Line("v1", [(0, 1.0), (50, 1.0)])], FRAME)

    assert float(re.search(r'<text class="s0" x="([\d.]+)"', svg)[1]) == pytest.approx(FRAME.x(50) + 6, abs=0.1)  # type: ignore[index]


def test_marks_outside_the_frame_are_not_drawn() -> None:
    assert "late" not in time_chart([], FRAME, marks=[Mark(200, "late")])


def test_names_are_escaped_everywhere() -> None:
    name = "<b>&"
    drawn = (
        time_chart([Line(name, [(0, 1.0), (9, 2.0)])], FRAME)
        + lanes([(name, 0, 1, "s0", name)], FRAME)
        + strip([(0, 90, "s0", name)], FRAME)
    )

    assert "<b>" not in drawn


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.4186, "percentunit", "41.9 %"),
        (1.0, "percentunit", "100 %"),
        (0.00123, "percentunit", "0.12 %"),
        (0.25, "s", "250 ms"),
        (0.0042, "s", "4.2 ms"),
        (95.0, "s", "1 min 35 s"),
        (8.0, "log10", "10⁸"),
        (2.30103, "log10", "200"),
        (12345.0, "short", "12.3 k"),
        (30.0, "reqps", "30/s"),
        (None, "s", "\u2013"),
        (float("nan"), "s", "\u2013"),
    ],
)
def test_numbers_are_written_for_people(value: float | None, unit: str, text: str) -> None:
    assert format_value(value, unit) == text


def test_axes_have_round_ticks_that_hold_all_values() -> None:
    low, high, ticks = value_ticks([0.03, 0.47], "percentunit", 0, None)

    assert low == 0
    assert high >= 0.47
    assert ticks == pytest.approx([0, 0.2, 0.4, 0.6])
    assert nice_step(0.013) == pytest.approx(0.02)
    assert [text for _, text in time_ticks(0, 120, 4)] == ["00:00:00", "00:00:30", "00:01:00", "00:01:30", "00:02:00"]


def test_a_prometheus_that_does_not_answer_is_asked_once_and_said_on_top() -> None:
    asked = []

    def away(promql: str, start: float, end: float, step: float) -> list[Series]:
        asked.append(promql)
        raise TelemetryUnavailable("OBS-PROM-001", "connection refused")

    page = render_preview(DASHBOARDS[0], away, {}, 0, 900)

    assert len(asked) == 1
    assert "The metrics did not answer" in page
    assert "no traffic" not in page
    assert "unknown: the metrics did not answer" in page
    with pytest.raises(TelemetryUnavailable):
        missing_data(DASHBOARDS, away, {}, 0, 900)


def test_hardware_that_a_machine_lacks_is_not_missing_data() -> None:
    nothing = missing_data(DASHBOARDS, lambda *_: [], {}, 0, 900, without=frozenset({"gpu"}))

    assert nothing
    assert not any("GPU" in one for one in nothing if "mlops-obs-gpu-training / GPU" in one)


def test_the_scrape_interval_is_learnt_from_the_data() -> None:
    assert scrape_interval([Series({}, [(0, 300.0)])]) == 1
    assert scrape_interval([]) == 15


def test_thresholds_give_a_value_its_tone() -> None:
    steps = ("bad", ((0.0, "warn"), (0.25, "good")))

    assert [tone_of(value, steps) for value in (-0.1, 0.0, 0.25)] == ["bad", "warn", "good"]  # type: ignore[arg-type]


def test_lines_that_end_early_together_are_named_one_above_the_other() -> None:
    svg = time_chart([Line(name, [(0, 0.0), (50, 0.0)]) for name in ("errors", "slow")], FRAME)

    low, high = sorted(float(y) for y in re.findall(r'<text class="s0" x="[\d.]+" y="([\d.]+)"', svg))

    assert high - low >= 13.9


def test_ticks_close_to_each_other_are_written_apart() -> None:
    assert [format_tick(value, "percentunit", 0.0005) for value in (0.9985, 0.999, 1.0)] == ["99.85 %", "99.90 %", "100.00 %"]
    assert [format_tick(value, "percentunit", 0.25) for value in (0, 0.25, 1.0)] == ["0 %", "25 %", "100 %"]
    assert format_tick(0.025, "percentunit", 0.025) == "2.5 %"


def test_text_beside_a_bar_stays_inside_the_chart() -> None:
    name, note = "a stage with a name that goes on and on", "why it took so long, told at length and without mercy " * 3
    svg = lanes([(name, 0, 20, "s0", "4 s"), (name, 90, 100, "s0", "12 s, then the page came"), ("b", 90, 100, "s0", note)], FRAME)

    texts = re.findall(r'<text[^>]*?x="([\d.]+)"([^>]*)>([^<]*)', svg)
    assert len(texts) >= 6
    for x, attributes, shown in texts:
        wide, at = 6.2 * len(shown), float(x)
        start = at - wide if "end" in attributes else at - wide / 2 if "middle" in attributes else at
        assert start >= -7
        assert start + wide <= FRAME.width + 7
    assert f"<title>{name}</title>" in svg


def test_every_band_of_a_stack_is_named_even_if_it_is_thin() -> None:
    def answer(promql: str, start: float, end: float, step: float) -> list[Series]:
        found = {"v1": 0.999, "v2": 0.001} if "rollout_weight" in promql else {}
        return [Series({"revision": name}, [(at, value) for at in (0.0, 450.0, 900.0)]) for name, value in found.items()]

    page = render_preview(dashboard("mlops-obs-rollout"), answer, {}, 0, 900)

    assert re.search(r'class="keys"><span class="s\d">v1</span><span class="s\d">v2</span>', page)
