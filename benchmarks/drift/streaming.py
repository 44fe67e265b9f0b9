"""False alarms and delay in the stream: is the promise on the mean kept, and what does it cost in rows?

1. Quarters: 200 correlated features of one model, looks every hour, 90 days, budget 1. Hours are drawn from a pool of simulated hours,
   so that a thousand quarters take minutes. Once with an exactly known reference and no tolerance (the worst case of the promise), once
   as it comes, with references of 10,000 rows that are drawn anew. Also 20 features with a look at every scrape (15 s).
2. Finite references: 12 columns of all families, references of 500 to 10,000 rows, streams of 100,000 rows, budget 1 per 100,000 rows.
3. Dependent rows: AR(1) and hour-of-week cycles, with and without the section `natural`.
4. Delay of a change at a guaranteed average run length of 10,000 rows (a false alarm is any alarm on normal rows), beside river's
   detectors as they come. Average run length and delay, never F1: a detector that always fires has the best recall.
5. River's annotated series: the first alarm beside the annotators' first change (median); the reference is the part before it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.drift.batch import CACHE
from mlops_obs.collectors.drift.alarms import Budget, Detector, Normal, Watched
from mlops_obs.collectors.drift.alarms.natural import SECTION, section_from_blocks
from mlops_obs.collectors.drift.columns import Block, Categories
from mlops_obs.collectors.drift.partition import Partition, cells_of
from mlops_obs.collectors.drift.reference import ReferenceProfile

Floats = NDArray[np.float64]
PEER = Path(__file__).with_name("streaming_river.py")
RIVER = "river==0.26.1"
HOURS = 90 * 24


def interval(hits: int, trials: float) -> str:
    """Write a Poisson mean with its 95 % interval (square-root approximation)."""
    low, high = max(0.0, hits**0.5 - 0.98) ** 2 / trials, (((hits + 1) ** 0.5) + 0.98) ** 2 / trials
    return f"{hits / trials:.3f} ({low:.3f} to {high:.3f})"


def quarters(rng: np.random.Generator, count: int, features: int, looks: int, rows: int, reference: int, normal: Normal) -> str:
    """Return the mean number of false alarms a quarter.

    Args:
        looks: a quarter's.
        rows: of a look.
        reference: rows of the reference; 0: the cells' shares are known exactly.
    """
    exact = ReferenceProfile.from_columns({"x": rng.normal(size=200_000)}).partition("x")
    shares = exact.expected / exact.expected.sum()
    edges = np.cumsum(shares)
    groups = 1 if not reference else 5
    alarms = 0
    for _ in range(groups):
        partitions: list[Partition] = [exact] * features
        if reference:
            partitions = [_redrawn(exact, rng.multinomial(reference, shares)) for _ in range(features)]
        detector = Detector([Watched(f"x{place}", one) for place, one in enumerate(partitions)], Budget(1, seconds=90 * 86_400.0), normal)
        pool = 600
        e_values = np.empty((pool, detector._prior.size), dtype=np.float32)
        for place in range(pool):
            common = rng.normal(size=(rows, 1))
            values = 0.6 * common + 0.8 * rng.normal(size=(rows, features))  # correlation 0.36
            ranks = _normal_cdf(values)
            cells = np.minimum(np.searchsorted(edges, ranks), shares.size - 1)
            flat = np.bincount((cells + shares.size * np.arange(features)).ravel(), minlength=features * shares.size)
            e_values[place] = np.exp(np.clip(detector._log_e(flat.reshape(1, features, -1).astype(np.float64))[0], -80, 80))
        alarms += _run(rng, e_values, detector._owner, (detector._prior / looks).astype(np.float32), count // groups, looks)
    return interval(alarms, count)


def _run(
    rng: np.random.Generator, e_values: NDArray[np.float32], owner: NDArray[np.int64], spend: NDArray[np.float32], count: int, looks: int
) -> int:
    alarms = 0
    for first in range(0, count, 50):
        many = min(50, count - first)
        wealth = np.zeros((many, spend.size), dtype=np.float32)
        for _ in range(looks):
            wealth += spend
            wealth *= e_values[rng.integers(0, len(e_values), many)]
            total = wealth.sum(axis=1)
            for place in np.flatnonzero(total >= 1).tolist():
                while wealth[place].sum() >= 1:  # as the detector does: what an alarm used is taken away
                    alarms += 1
                    by_feature = np.bincount(owner, weights=wealth[place])
                    taken = 0.0
                    for feature in np.argsort(-by_feature).tolist():
                        if taken >= 1:
                            break
                        taken += by_feature[feature]
                        wealth[place, owner == feature] = 0
    return alarms


def _redrawn(partition: Partition, counts: NDArray[np.int64]) -> Partition:
    from dataclasses import replace

    return replace(partition, expected=counts)


def _normal_cdf(values: Floats) -> Floats:
    from scipy.special import ndtr

    found: Floats = ndtr(values)
    return found


def mixed(rng: np.random.Generator, rows: int) -> Block:
    """Return 12 columns of all families."""
    zipf = [1 / np.arange(1, size + 1) for size in (5, 30, 500)]
    names = {
        f"names_{len(one)}": Categories(rng.choice(len(one), rows, p=one / one.sum()), [str(n) for n in range(len(one))]) for one in zipf
    }
    return {
        **{f"normal_{place}": rng.normal(size=rows) for place in range(3)},
        "lognormal": rng.lognormal(10, 1, rows),
        "pareto": rng.pareto(1.2, rows),
        "zeros": np.where(rng.random(rows) < 0.9, 0.0, rng.exponential(size=rows)),
        "counts": rng.poisson(3, rows).astype(np.float64),
        "gaps": np.where(rng.random(rows) < 0.03, np.nan, rng.normal(size=rows)),
        "rare": Categories((rng.random(rows) < 0.003).astype(np.int64), ["a", "b"]),
        **names,
    }


def streamed(reference: ReferenceProfile, block: Block, budget: Budget, step: int = 4) -> list[int]:
    """Return the rows of the alarms on a block."""
    detector = Detector.of(reference, budget)
    cells = np.stack([cells_of(reference.partition(name), block[name]) for name in detector.names], axis=1)
    return [one.row for one in detector.update_cells(cells, step=step)]


def finite(rng: np.random.Generator, sizes: tuple[int, ...], trials: int) -> list[str]:
    """Return table rows: false alarms with small references."""
    lines = []
    for size in sizes:
        alarms = sum(
            len(streamed(ReferenceProfile.from_block(mixed(rng, size)), mixed(rng, 100_000), Budget(1, rows=100_000)))
            for _ in range(trials)
        )
        lines.append(f"| {size:,} | {trials * 100_000:,} | {interval(alarms, trials)} |")
    return lines


def ar1(rng: np.random.Generator, rows: int, keep: float) -> Floats:
    """Return an autocorrelated series with mean 0 and standard deviation 1."""
    from scipy.signal import lfilter

    found: Floats = lfilter([1], [1, -keep], rng.normal(size=rows + 1000) * (1 - keep**2) ** 0.5)[1000:]
    return found


def week(rng: np.random.Generator, rows: int) -> Floats:
    """Return 10 rows an hour of a feature that follows the day and the weekend by up to 0.6 standard deviations."""
    hour = np.arange(rows) // 10
    cycle: Floats = 0.4 * np.sin(2 * np.pi * hour / 24) + 0.2 * (hour % 168 >= 120)
    return cycle + rng.normal(size=rows)


def dependent(rng: np.random.Generator, trials: int) -> list[str]:
    """Return table rows: autocorrelated and seasonal streams, with references that know of it and that do not."""
    lines = []
    cases: list[tuple[str, Callable[[int], Floats], int]] = [
        ("AR(1) 0.5", lambda rows: ar1(rng, rows, 0.5), 10_000),
        ("AR(1) 0.9", lambda rows: ar1(rng, rows, 0.9), 10_000),
        ("AR(1) 0.98", lambda rows: ar1(rng, rows, 0.98), 50_000),
        ("hour of week", lambda rows: week(rng, rows), 8 * 1680),
    ]
    for name, draw, size in cases:
        found = {}
        for knows in (False, True):
            alarms, delays = 0, []
            for _ in range(trials):
                block = {"x": draw(size)}
                reference = ReferenceProfile.from_block(block)
                if knows and (section := section_from_blocks(reference, [block], by_time=True)):
                    reference = reference.with_section(SECTION, section)
                alarms += len(streamed(reference, {"x": draw(50_000)}, Budget(1, rows=100_000)))
                delays.append(next(iter(streamed(reference, {"x": draw(20_000) + 1.0}, Budget(1, rows=100_000))), 20_000))
            found[knows] = f"{interval(alarms, trials / 2)} | {np.median(delays):.0f}"
        lines.append(f"| {name} | {found[False]} | {found[True]} |")
    return lines


FAMILIES: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "normal": lambda rng, rows: rng.normal(size=rows),
    "beta(2, 5)": lambda rng, rows: rng.beta(2, 5, rows),
    "lognormal(0, 1)": lambda rng, rows: rng.lognormal(size=rows),
}
CHANGES: dict[str, Callable[[np.random.Generator, Floats, float], Floats]] = {
    "+0.5 sd": lambda _, x, sd: x + 0.5 * sd,
    "+1 sd": lambda _, x, sd: x + sd,
    "x1.5": lambda _, x, __: x * 1.5,
    "5 % missing": lambda rng, x, _: np.where(rng.random(x.size) < 0.05, np.nan, x),
}


def delays(rng: np.random.Generator, runs: int, null_rows: int, river: str) -> list[str]:
    """Return table rows: rows between false alarms, and mean delay of changes after 200 normal rows."""
    lines = []
    budget = Budget(1, rows=10_000)
    for family, draw in FAMILIES.items():
        spread = float(draw(rng, 200_000).std())
        null = draw(rng, null_rows)
        before = draw(rng, 200 * runs).reshape(runs, 200)
        after = draw(rng, 3000 * runs).reshape(runs, 3000)
        changed = {name: np.hstack([before, np.stack([change(rng, one, spread) for one in after])]) for name, change in CHANGES.items()}
        for size, exact in ((200_000, True), (5_000, False)):
            normal = Normal(1.0, 0.0) if exact else Normal()
            partition = ReferenceProfile.from_columns({"x": draw(rng, size)}).partition("x")

            def ours(values: Floats, partition: Partition = partition, normal: Normal = normal, whole: bool = False) -> list[int]:
                detector, alarms = Detector([Watched("x", partition)], budget, normal), []
                for first in range(0, values.size, 250):
                    cells = cells_of(partition, np.ascontiguousarray(values[first : first + 250]))[:, None]
                    alarms += [one.row for one in detector.update_cells(cells, step=1)]
                    if alarms and not whole:
                        break
                return alarms

            told = [_mean_delay([ours(one) for one in streams]) for streams in changed.values()]
            label = "obs drift stream, reference known" if exact else f"obs drift stream, {size:,} reference rows"
            lines.append(f"| {family} | {label} | {len(ours(null, whole=True)) / null_rows * 10_000:.1f} | {' | '.join(told)} |")
        for name in ("ADWIN", "KSWIN", "PageHinkley") if river else ():
            few, quiet = (runs, null_rows) if name != "KSWIN" else (max(10, runs // 5), null_rows // 10)
            false = len(_river(river, name, null[None, :quiet])[0]) / quiet * 10_000
            told = [
                "-" if "missing" in change else _mean_delay(_river(river, name, streams[:few, :1200]))
                for change, streams in changed.items()
            ]
            lines.append(f"| {family} | river {name} | {false:.1f} | {' | '.join(told)} |")
    return lines


def _mean_delay(alarms: list[list[int]]) -> str:
    """Write the mean delay of streams that change at row 200; those with an alarm before do not count."""
    kept = [[row for row in rows if row > 200] for rows in alarms if not rows or rows[0] > 200]
    seen = [rows[0] - 200 for rows in kept if rows]
    missed = len(kept) - len(seen)
    return (f"{np.mean(seen):.0f}" if seen else "-") + (f" ({missed} of {len(kept)} missed)" if missed else "")


def annotated(river: str) -> list[str]:
    """Return table rows: first alarms on river's series beside the annotators' first change."""
    series = json.loads(subprocess.run([river, str(PEER), "--series"], capture_output=True, check=True, timeout=120).stdout)
    lines = []
    for name, one in series.items():
        values = np.array(one["values"])
        firsts = [min(row for row in rows if row > 10) for rows in one["annotations"] if any(row > 10 for row in rows)]
        change = int(np.median(firsts))
        block = {"x": values[: change * 9 // 10]}
        reference = ReferenceProfile.from_block(block)
        if section := section_from_blocks(reference, [block], by_time=True):
            reference = reference.with_section(SECTION, section)
        rows = [row + change * 9 // 10 for row in streamed(reference, {"x": values[change * 9 // 10 :]}, Budget(1, rows=10_000), step=1)]
        told = [_told(rows, change)]
        for peer in ("ADWIN", "KSWIN", "PageHinkley"):
            told.append(_told([row for row in _river(river, peer, values[None, :])[0] if row >= change * 9 // 10], change))
        lines.append(f"| {name} ({len(values):,} rows) | {change} | {' | '.join(told)} |")
    return lines


def _told(rows: list[int], change: int) -> str:
    early, late = [row for row in rows if row < change], [row for row in rows if row >= change]
    return (f"after {late[0] - change}" if late else "none") + (f"; {len(early)} before" if early else "")


def _river(python: str, name: str, streams: Floats) -> list[list[int]]:
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file.name, streams)
        done = subprocess.run([python, str(PEER), name, file.name], capture_output=True, check=True, timeout=1800)
    found: list[list[int]] = json.loads(done.stdout)
    return found


def river_python() -> str:
    """Return the interpreter of an environment with river, made if it is not there; empty if it cannot be made."""
    python = CACHE / "river" / "bin" / "python"
    if not python.exists():
        try:
            CACHE.mkdir(parents=True, exist_ok=True)
            subprocess.run([sys.executable, "-m", "venv", str(CACHE / "river")], check=True, capture_output=True, timeout=120)
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", RIVER], check=True, capture_output=True, timeout=600, cwd=CACHE)
        except (subprocess.SubprocessError, OSError):
            python.unlink(missing_ok=True)
            return ""
    return str(python)


def measure(*, quick: bool = False) -> str:
    """Measure and return the report."""
    rng = np.random.default_rng(5)
    exact, usual = Normal(0.0, 0.0), Normal()
    count, scraped = (20, 2) if quick else (1000, 20)
    every_scrape = 1000 if quick else 4 * 60 * 24 * 90
    river = "" if quick else river_python()
    changes = " | ".join(CHANGES)
    lines = [
        "Mean number of false alarms in 90 days at a budget of 1 (95 % interval):",
        "",
        "| features, looks, reference | quarters | false alarms |",
        "|---|---|---|",
        f"| 200, hourly, exact, no tolerance | {count} | {quarters(rng, count, 200, HOURS, 200, 0, exact)} |",
        f"| 200, hourly, 10,000 rows, defaults | {count} | {quarters(rng, count, 200, HOURS, 200, 10_000, usual)} |",
        f"| 20, every 15 s, exact, no tolerance | {scraped} | {quarters(rng, scraped, 20, every_scrape, 5, 0, exact)} |",
        "",
        "False alarms per 100,000 rows of 12 columns at a budget of 1:",
        "",
        "| reference rows | rows streamed | false alarms |",
        "|---|---|---|",
        *finite(rng, (500,) if quick else (500, 2_000, 10_000), 1 if quick else 15),
        "",
        "Dependent rows: false alarms per 100,000 rows at a budget of 1, and median delay of +1 sd, without and with section `natural`:",
        "",
        "| rows | without | delay | with | delay |",
        "|---|---|---|---|---|",
        *dependent(rng, 1 if quick else 20),
        "",
        "One column: false alarms per 10,000 rows (guaranteed for ours: at most 1) and mean delay in rows:",
        "",
        f"| rows | detector | false alarms | {changes} |",
        "|---|---|---|" + "---|" * len(CHANGES),
        *delays(rng, 10 if quick else 100, 5_000 if quick else 300_000, river),
    ]
    if river:
        head = "| series | first annotated change (median) | obs drift stream | river ADWIN | river KSWIN | river PageHinkley |"
        lines += [
            "",
            "River's annotated series, first alarm after the first annotated change:",
            "",
            head,
            "|---|---|---|---|---|---|",
            *annotated(river),
        ]
    return "\n".join(lines)
