from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.collectors.latency import Exemplar, OutcomeMeter
from mlops_obs.metric_names import LATENCY_BUCKETS

durations = st.floats(0, 100, allow_nan=False)


def _meter(bounds: tuple[float, ...] = LATENCY_BUCKETS) -> OutcomeMeter:
    return OutcomeMeter(bounds, threading.RLock())


def test_every_outcome_is_known_at_zero_before_the_first_request() -> None:
    assert _meter().snapshot().outcomes == {"ok": 0, "client_error": 0, "error": 0}


@given(st.lists(st.tuples(st.sampled_from(["ok", "client_error", "error"]), durations)))
def test_the_histogram_counts_exactly_what_was_observed(events: list[tuple[str, float]]) -> None:
    meter = _meter()
    for outcome, seconds in events:
        meter.begin()
        meter.finish(outcome, seconds)

    shot = meter.snapshot()

    assert [sum(seconds <= bound for _, seconds in events) for bound in LATENCY_BUCKETS] == list(shot.cumulative[:-1])
    assert len(events) == shot.cumulative[-1] == sum(shot.outcomes.values())
    assert sum(seconds for _, seconds in events) == shot.seconds
    assert shot.inflight == 0


def test_a_duration_equal_to_the_threshold_meets_it() -> None:
    meter = _meter((0.1, 0.25))
    meter.finish("ok", 0.25)

    assert meter.snapshot().cumulative == (0, 1, 1)


def test_a_clock_that_went_backwards_never_makes_a_counter_fall() -> None:
    meter = _meter()
    meter.finish("ok", -3.0)
    meter.add_rows(-5)

    shot = meter.snapshot()

    assert (shot.seconds, shot.cumulative[0], shot.rows) == (0.0, 1, 0)


def test_an_unknown_outcome_is_counted_as_an_error_and_makes_no_new_label() -> None:
    meter = _meter()
    meter.finish("odd", 0.1)

    assert meter.snapshot().outcomes == {"ok": 0, "client_error": 0, "error": 1}


def test_a_bucket_keeps_its_newest_exemplar() -> None:
    meter = _meter((1.0,))
    meter.finish("ok", 0.5, Exemplar("a" * 32, 0.5, 1.0))
    meter.finish("ok", 0.6, Exemplar("b" * 32, 0.6, 2.0))
    meter.finish("ok", 0.7)

    assert meter.snapshot().exemplars == (Exemplar("b" * 32, 0.6, 2.0), None)


def test_threads_lose_no_request_and_no_snapshot_is_torn() -> None:
    meter = _meter((0.5,))
    torn = []

    def work() -> None:
        for _ in range(2000):
            meter.begin()
            meter.finish("ok", 1.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        shot = meter.snapshot()
        torn += [shot] if shot.cumulative[-1] != sum(shot.outcomes.values()) or shot.seconds != shot.cumulative[-1] else []
    for thread in threads:
        thread.join()

    assert torn == []
    assert meter.snapshot().outcomes["ok"] == 8000
