"""Random histories of counters, and what promtool says fires on them, minute by minute.

promtool answers one number per alert for 25 evaluations: bit i is set if the alert fired at the i-th. So every minute is compared,
and not one is left out because it is near a threshold.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlops_obs.slo.raw_samples import RawSeries

NAN = float("nan")
BITS = 25  # a float64 holds whole numbers up to 2^53 exactly, and promtool loads 10,000 samples at most


@dataclass(frozen=True)
class History:
    """A raw series: a value per scrape from 0 on; None is no sample, NaN is the end of the series."""

    metric: str
    labels: Mapping[str, str]
    values: Sequence[float | None]


Expected = Mapping[frozenset[tuple[str, str]], np.ndarray]


def random_counts(rng: random.Random, minutes: int, scale: float, errors: Sequence[float]) -> tuple[list[float | None], list[float | None]]:
    """Return bad and good counters, a value per minute: bursts, idle stretches, resets, missed scrapes, births and ends."""
    bad: list[float | None] = []
    good: list[float | None] = []
    levels, minute, alive = [0, 0], 0, True
    late = rng.random() < 0.3
    bad_born = rng.random() < 0.6  # else its counter appears with the first failure
    while len(good) < minutes:
        length = rng.randint(3, max(4, minutes // 4))
        rate = rng.choice([0, 0.4, 3, 40, 700, scale])
        ratio = rng.choice([0, 0, *errors]) * rng.uniform(0.5, 1.5)
        kind = rng.random()
        if (late and minute == 0) or kind < 0.06:
            bad += [None] * length  # not born yet, or not scraped for a while
            good += [None] * length
        elif kind < 0.13 and alive and good and good[-1] is not None:
            bad += [NAN, *[None] * (length - 1)]  # the process ends, and Prometheus notices
            good += [NAN, *[None] * (length - 1)]
            levels = [0, 0]
        else:
            if kind < 0.30:
                levels = [0, 0]  # a restart between two scrapes
            noise = np.random.default_rng(rng.randrange(2**32))
            for failed, passed in zip(
                noise.poisson(rate * min(ratio, 1), length), noise.poisson(rate * max(0.0, 1 - ratio), length), strict=True
            ):
                levels = [levels[0] + int(failed), levels[1] + int(passed)]
                bad_born = bad_born or levels[0] > 0
                missed = rng.random() < 0.02
                bad.append(None if missed or not bad_born else float(levels[0]))
                good.append(None if missed else float(levels[1]))
        minute += length
    return bad[:minutes], good[:minutes]


def random_gauge(rng: random.Random, minutes: int) -> list[float | None]:
    """Return a gauge of 0 and 1, a value per minute: outages, flapping, missed scrapes and ends."""
    found: list[float | None] = [None] * rng.choice([0, 0, rng.randint(1, minutes // 3)])
    while len(found) < minutes:
        length, up = rng.randint(2, max(3, minutes // 4)), rng.choice([0, 0.3, 0.9, 0.99, 1, 1])
        if rng.random() < 0.1:
            found += [NAN, *[None] * length]
        else:
            found += [None if rng.random() < 0.02 else float(rng.random() < up) for _ in range(length)]
    return found[:minutes]


def random_cohorts(rng: random.Random, minutes: int, every: int) -> list[tuple[int, list[float | None], list[float | None]]]:
    """Return (start in seconds, labelled, wrong) of cohorts that begin every `every` minutes; labels come late and change the past."""
    found = []
    for start in range(0, minutes, every):
        total, ratio, delay = rng.choice([0, 3, 40, 900]), rng.choice([0, 0.02, 0.15, 0.5, 1]), rng.uniform(1, 40)
        events: list[float | None] = []
        for minute in range(minutes):
            age = minute - start - every
            missing = age < 0 or rng.random() < 0.02
            events.append(None if missing else float(round(total * min(1.0, age / delay))))
        wrong = [None if value is None else float(round(value * ratio)) for value in events]
        if rng.random() < 0.1:
            cut = rng.randint(0, minutes - 1)
            events[cut:], wrong[cut:] = [NAN, *[None] * (minutes - cut - 1)], [NAN, *[None] * (minutes - cut - 1)]
        found.append((start * 60, events, wrong))
    return found


def samples(history: Sequence[History], step: int = 60) -> list[RawSeries]:
    """Return histories as raw samples."""
    out = []
    for one in history:
        there = [(index * step * 1000, value) for index, value in enumerate(one.values) if value is not None]
        if there:
            at, values = zip(*there, strict=True)
            out.append(RawSeries({"__name__": one.metric, **one.labels}, np.array(at, dtype=np.int64), np.array(values, dtype=np.float64)))
    return out


def promtool_cases(rule_files: Sequence[str], history: Sequence[History], expected: Expected, at: np.ndarray, *, scrape: str = "1m") -> str:
    """Return a promtool test that wants exactly the alerts of `expected` (labels -> firing at each of `at`) and no other."""
    step = int(at[1] - at[0])
    tests = []
    for begin in range(0, len(at), BITS):
        chunk = at[begin : begin + BITS]
        span = f"[{int(chunk[-1] - chunk[0])}s:{step}s]" if len(chunk) > 1 else f"[1s:{step}s]"
        bits = f'ALERTS{{alertstate="firing"}} * 2 ^ ((time() - {int(chunk[0])}) / {step})'
        wanted = []
        for labels, firing in expected.items():
            value = sum(1 << i for i, on in enumerate(firing[begin : begin + BITS]) if on)
            if value:
                text = ", ".join(f"{key}={json.dumps(one)}" for key, one in sorted(labels))
                wanted.append({"labels": "{" + text + "}", "value": value})
        tests.append(
            {"expr": f"sum without (alertstate) (sum_over_time(({bits}){span}))", "eval_time": f"{int(chunk[-1])}s", "exp_samples": wanted}
        )
    series = [
        {
            "series": f"{one.metric}{{{', '.join(f'{key}={json.dumps(value)}' for key, value in one.labels.items())}}}",
            "values": " ".join("_" if value is None else "stale" if value != value else f"{value:.0f}" for value in one.values),
        }
        for one in history
    ]
    return json.dumps(
        {
            "rule_files": list(rule_files),
            "evaluation_interval": f"{step}s",
            "tests": [{"interval": scrape, "input_series": series, "promql_expr_test": tests}],
        }
    )


def write(folder: Path, **files: str) -> None:
    """Write `files` as YAML files into `folder`."""
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
