"""The embedded engine's file: nothing counted is ever lost, and a file that cannot be read is not an empty one."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.adapters.exposition import Sample
from mlops_obs.adapters.sample_store import RAW_SECONDS, EmbeddedCounters, SampleStore
from mlops_obs.errors import StateError, TelemetryUnavailable
from mlops_obs.slo.counters import Series, increase


def _counter(value: float, **labels: str) -> Sample:
    return Sample("requests_total", labels, value, "counter")


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.one_of(st.integers(0, 5), st.just(-1)), min_size=1, max_size=120))
def test_thinning_keeps_every_count_across_resets(steps: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    store = SampleStore(tmp_path_factory.mktemp("thin") / "metrics.db")
    value, samples = 0, []
    for index, step in enumerate(steps):
        value = index % 4 if step < 0 else value + step  # -1: the process restarted and has counted a little
        samples.append((1000.0 + 15 * index, float(value)))
    store.append((_counter(value), at) for at, value in samples)
    end = samples[-1][0]

    store.thin(end + RAW_SECONDS + 600)

    [left] = EmbeddedCounters(store.path).series("requests_total", {}, 0, end)
    assert increase(samples, 0, end, from_zero_after=0) == increase(left.samples, 0, end, from_zero_after=0)
    store.close()


def test_thinning_drops_most_samples_and_is_the_same_when_done_twice(tmp_path: Path) -> None:
    store = SampleStore(tmp_path / "metrics.db")
    store.append((_counter(float(n)), 15.0 * n) for n in range(1000))

    store.thin(15_000 + RAW_SECONDS)
    once = EmbeddedCounters(store.path).series("requests_total", {}, -1, 20_000)
    store.thin(15_000 + RAW_SECONDS)

    assert len(once[0].samples) == 100
    assert once == EmbeddedCounters(store.path).series("requests_total", {}, -1, 20_000)


def test_recent_samples_stay_raw_and_very_old_series_are_forgotten(tmp_path: Path) -> None:
    store = SampleStore(tmp_path / "metrics.db")
    store.append([(_counter(1.0, revision="old"), 0.0)])
    store.append((_counter(float(n), revision="new"), 4e6 + n) for n in range(100))

    store.thin(4e6 + 100)

    [new] = EmbeddedCounters(store.path).series("requests_total", {}, -1, 5e6)
    assert (new.labels, len(new.samples)) == ({"revision": "new"}, 100)


def test_an_absent_label_equals_the_empty_string(tmp_path: Path) -> None:
    store = SampleStore(tmp_path / "metrics.db")
    store.append([(_counter(1.0, revision="v1"), 1.0), (_counter(2.0), 1.0)])

    assert [Series({}, [(1.0, 2.0)])] == EmbeddedCounters(store.path).series("requests_total", {"revision": ""}, 0, 2)


@pytest.mark.parametrize("content", [None, b"this is no database, and long enough to be looked at as one" * 20], ids=["missing", "damaged"])
def test_a_file_that_cannot_be_read_is_unavailable_and_not_empty(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "metrics.db"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(TelemetryUnavailable, match="OBS-STORE-002"):
        EmbeddedCounters(path).series("requests_total", {}, 0, 1)
    assert path.exists() == (content is not None)


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StateError, match="OBS-STORE-001"):
        SampleStore(tmp_path / "file" / "metrics.db")


def test_a_failed_append_stores_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    store = SampleStore(tmp_path / "metrics.db")

    with pytest.raises(StateError):
        store.append([(_counter(1.0, revision="v1"), 1.0), (_counter(None, revision="v2"), 1.0)])  # type: ignore[arg-type]
    store.append([(_counter(5.0, revision="v1"), 2.0)])

    assert [Series({"revision": "v1"}, [(2.0, 5.0)])] == EmbeddedCounters(store.path).series("requests_total", {}, 0, 9)
