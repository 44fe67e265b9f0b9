"""Thirty days of a Prometheus database, made in about a minute: counters by day and night, and what rules had recorded of them.

Prometheus itself would take weeks to record it. As the traffic is a formula, the count of any window is known to the event, and so
is every recorded sample. The trap is promtool: it reads its whole input once for each block, so each input here is one block.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DAY = 86_400
_BLOCK_DAYS = 3
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """One series: its name with labels, and one value for each step of `times` (NaN is no sample)."""

    series: str
    values: Values


def steps(end: int, days: int, step: int) -> NDArray[np.int64]:
    """Return the Unix seconds of every scrape in the `days` before `end`, one each `step` seconds."""
    return np.arange(end - days * DAY, end + 1, step)


def traffic(
    times: NDArray[np.int64], *, day: int = 200, night: int = 2, errors: float = 0.0005, outage: tuple[int, int] | None = None
) -> tuple[Values, Values]:
    """Return the counters of all and of bad requests: `day` requests a minute for 10 hours, `night` for 14, whole events only.

    `outage` (start, end in Unix seconds) fails every request.
    """
    minutes = (times[1] - times[0]) / 60
    rate = np.where((times % DAY >= 8 * 3600) & (times % DAY < 18 * 3600), day, night) * minutes
    failed = np.diff(np.floor(np.cumsum(rate * errors)), prepend=0.0)
    if outage is not None:
        failed = np.where((times > outage[0]) & (times <= outage[1]), rate, failed)
    return np.cumsum(rate).astype(float), np.cumsum(failed)


def window(counter: Values, back: int) -> Values:
    """Return the count of the last `back` steps at every step, as `increase()` would record it; less at the very start."""
    before = np.concatenate([np.full(min(back, len(counter)), counter[0]), counter[: max(len(counter) - back, 0)]])
    return counter - before


def write_blocks(folder: Path, times: NDArray[np.int64], columns: Sequence[Column]) -> None:
    """Write `columns` into `folder` as blocks of a Prometheus database."""
    folder.mkdir(parents=True, exist_ok=True)
    length = _BLOCK_DAYS * DAY // int(times[1] - times[0])
    parts = [(times[i : i + length], [(c.series, c.values[i : i + length]) for c in columns]) for i in range(0, len(times), length)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda part: _write_block(folder, *part), parts))


def _write_block(folder: Path, times: NDArray[np.int64], columns: Iterable[tuple[str, Values]]) -> None:
    source = folder / f"{times[0]}.txt"
    with source.open("w", encoding="utf-8") as stream:
        for chunk in _lines(times, columns):
            stream.write(chunk)
    command = [
        "promtool",
        "tsdb",
        "create-blocks-from",
        "--max-block-duration",
        f"{_BLOCK_DAYS * 24 * 2}h",
        "openmetrics",
        str(source),
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    source.unlink()


def _lines(times: NDArray[np.int64], columns: Iterable[tuple[str, Values]]) -> Iterator[str]:
    stamps = times.tolist()
    for series, values in columns:
        yield "".join(f"{series} {value:.17g} {at}\n" for at, value in zip(stamps, values.tolist(), strict=True) if value == value)
    yield "# EOF\n"
