"""False pages and time to detect at low traffic: our tiers against plain multi-window alerts, simulated.

    .venv/bin/python benchmarks/false_pages.py --out benchmarks/results/false-pages.md

Requests and failures arrive independently (Poisson), rules are evaluated once a minute on exact counts, windows above an hour
add up 5-minute counts as the recorded ones do. Two questions: how many pages come in 30 days while the error ratio is exactly
what the objective allows, and how long does a total outage last before a page. "Plain" is the same tiers without evidence: both
windows above the threshold. The predicted column is the formula the compiler decides by.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from mlops_obs.slo.low_traffic import Evidence, false_alerts
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.spec_document import parse_slos
from mlops_obs.slo.tiers import Tier, Z, bound_is_on, least_bad_events, plan_tiers

MINUTES, WARM_UP = 30 * 24 * 60, 24 * 60  # a young service has short windows; counted is what comes after the first day
OBJECTIVES = ("0.90", "0.95", "0.99", "0.995", "0.999", "0.9995")
PER_HOUR = (6, 60, 600, 6_000)
MOST_FALSE, MOST_LATER = 0.5, 300.0


@dataclass(frozen=True, slots=True)
class Row:
    """One objective at one traffic: pages in 30 days at the objective, and mean seconds until an outage pages."""

    objective: str
    per_hour: int
    plain_false: float
    ours_false: float
    predicted: float
    plain_seconds: float
    ours_seconds: float
    evidence: str


def spec(objective: str, traffic: str | None) -> SLO:
    """Return an availability SLO over 30 days; `traffic` as in `600/h`, None if the spec does not say."""
    (slo,) = parse_slos(
        {
            "service": "s",
            "team": "t",
            "slos": [
                {
                    "name": "a",
                    "description": "d",
                    "objective": Decimal(objective),
                    "period": "30d",
                    "indicator": {"type": "availability"},
                    "severities": ["page"],
                    "replan": True,
                }
                | ({"expected_traffic": traffic} if traffic else {})
            ],
        },
        lambda _: "bench",
    )
    return slo


def counts(cumulative: np.ndarray, window: int) -> np.ndarray:
    """Return what fell into `window` seconds at each minute, per month, as the recording rules see it."""
    minutes = window // 60
    if window <= 3_600:
        return _over(cumulative, minutes)
    at = np.arange(cumulative.shape[1] - 1) // 5 * 5  # the newest count on the 5-minute grid
    began = np.maximum(at - minutes, 0)
    return np.maximum(cumulative[:, at] - cumulative[:, began], _over(cumulative, 60))


def _over(cumulative: np.ndarray, minutes: int) -> np.ndarray:
    end = cumulative[:, 1:]
    began = np.concatenate([np.zeros((cumulative.shape[0], min(minutes - 1, end.shape[1])), cumulative.dtype), cumulative], axis=1)
    return end - began[:, : end.shape[1]]


def firing(bad: np.ndarray, total: np.ndarray, tiers: list[Tier], evidence: list[Evidence]) -> np.ndarray:
    """Return per month and minute whether any of `tiers` fires, given events per minute."""
    sums = [np.concatenate([np.zeros((one.shape[0], 1), np.int32), np.cumsum(one, axis=1, dtype=np.int32)], axis=1) for one in (bad, total)]
    found = np.zeros(bad.shape, bool)
    for tier, asked in zip(tiers, evidence, strict=True):
        threshold = float(tier.threshold)
        short_bad, short_total = (counts(one, tier.short) for one in sums)
        burns = short_bad > threshold * short_total
        b, n = (counts(one, tier.long).astype(np.float32) for one in sums)
        burns &= (b >= asked.least_bad_events) & (n > 0)
        if asked.bound:
            z = float(Z)
            with np.errstate(divide="ignore", invalid="ignore"):
                margin = z * np.sqrt(np.maximum(b * (n - b) / n, 0) + z * z / 4)
            burns &= b + z * z / 2 - margin > threshold * (n + z * z)
        else:
            burns &= b > threshold * n
        found |= burns
    return found


def pages(is_firing: np.ndarray) -> float:
    """Return how often firing begins, per 30 days."""
    settled = is_firing[:, WARM_UP:]
    begins = settled[:, 1:] & ~settled[:, :-1]
    return float(begins.sum()) / begins.size * MINUTES


def detection(
    rng: np.random.Generator, per_hour: int, budget: float, tiers: list[Tier], rules: list[list[Evidence]], runs: int
) -> list[float]:
    """Return per rule the mean seconds from a total outage until a page; the outages are the same for all rules."""
    before = max(tier.long for tier in tiers) // 60
    after = max(int(tier.seconds_to_fire) // 60 for tier in tiers) + 10 * 60 * 60 // max(per_hour, 1) + 60
    total = rng.poisson(per_hour / 60, (runs, before + after))
    bad = rng.binomial(total, budget)
    bad[:, before:] = total[:, before:]
    seconds = []
    for evidence in rules:
        fires = firing(bad, total, tiers, evidence)
        quiet = ~fires[:, before - 1]  # runs in which a false page was up already say nothing
        first = np.argmax(fires[:, before:], axis=1)
        assert fires[quiet][:, before:].any(axis=1).all(), "an outage never paged"
        seconds.append(float(first[quiet].mean() + 0.5) * 60)  # it began within the minute before
    return seconds


def measure(objective: str, per_hour: int, months: int, *, told: bool = True, seed: int = 0) -> Row:
    """Simulate one cell of the table. `told`: whether the spec says what traffic it expects."""
    slo = spec(objective, f"{per_hour}/h" if told else None)
    tiers, budget = plan_tiers(slo), float(slo.budget)
    plain = [Evidence(1, False)] * len(tiers)
    ours = [Evidence(least_bad_events(slo, tier), bound_is_on(slo, tier)) for tier in tiers]
    rng = np.random.default_rng([seed, per_hour, int(Decimal(objective) * 100_000)])
    found = np.zeros(2)
    for first in range(0, months, 20):
        size = (min(20, months - first), WARM_UP + MINUTES)
        total = rng.poisson(per_hour / 60, size).astype(np.int32)
        bad = rng.binomial(total, budget).astype(np.int32)
        found += [pages(firing(bad, total, tiers, one)) * size[0] / months for one in (plain, ours)]
    plain_seconds, ours_seconds = detection(rng, per_hour, budget, tiers, [plain, ours], 2_000)
    predicted = sum(
        false_alerts(one, float(tier.threshold), budget, tier.long, per_hour / 3_600) for one, tier in zip(ours, tiers, strict=True)
    )
    words = " ".join(f"{one.least_bad_events}{'+bound' if one.bound else ''}" for one in ours)
    return Row(objective, per_hour, float(found[0]), float(found[1]), predicted, plain_seconds, ours_seconds, words)


def earliest(per_hour: int, budget: float) -> float:
    """Return how many seconds later than at the first failure any rule must page, on average, to keep to the false pages.

    At a met SLO failures come `failures` times in 30 days. Until the next event an outage looks like each of them, so a rule pages
    before it with one probability q in both, and q <= MOST_FALSE / failures. If it pages after S seconds unless an event came first
    (rate r), q = E[exp(-rS)], and the mean time it takes is E[(1 - exp(-rS)) / r] = (1 - q) / r whatever S is.
    """
    failures = per_hour * budget * 720
    return 0.0 if failures <= MOST_FALSE else (1 - MOST_FALSE / failures) * 3_600 / per_hour


def table(objectives: Sequence[str], months: int, *, told: bool) -> tuple[list[str], int]:
    """Return the rows of a Markdown table, and how many bars are missed that a rule could meet."""
    rows, missed = [_HEAD, "|---|---|---|---|---|---|---|---|---|"], 0
    for objective in objectives:
        for per_hour in PER_HOUR:
            row = measure(objective, per_hour, months, told=told)
            later, least = row.ours_seconds - row.plain_seconds, earliest(per_hour, 1 - float(objective))
            bad = row.ours_false > MOST_FALSE or (later > MOST_LATER >= least)
            missed += bad
            note = "MISSED" if bad else f"no rule below {least:.0f}" if later > MOST_LATER else ""
            rows.append(
                f"| {float(objective) * 100:g} % | {per_hour} | {row.plain_false:.2f} | {row.ours_false:.2f} | {row.predicted:.3f} | "
                f"{row.plain_seconds:.0f} | {row.ours_seconds:.0f} | {later:+.0f} {note} | {row.evidence} |"
            )
            print(rows[-1], flush=True)
    return rows, missed


_HEAD = (
    "| objective | requests per hour | false pages in 30 days, plain | ours | ours by the formula | seconds from outage to page, plain | "
    "ours | later | bad events asked for, fast and slow page |"
)
_TEXT = """# False pages and time to detect at low traffic

Generated by `benchmarks/false_pages.py`, do not edit; the method stands at its top. {months} months of each row, 2,000 outages.

The error ratio is exactly what the objective allows, and "plain" is the multi-window alert without evidence. The bars: at most 0.5
false pages in 30 days, and a total outage at most 300 s later than plain. At 6 requests an hour no rule can meet the second: until
the second request fails, an outage looks like one of the single failures of a met objective, which come more often than every
second month; a rule that pages on the share q of them has q <= 0.5 / failures, and waits (1 - q) x 10 minutes longer on average.

## The spec says what traffic it expects

{told}

## The spec says nothing

{untold}
"""


def main() -> int:
    """Print both tables and write them; 1 if a bar is missed that can be met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--months", type=int, default=100)
    parser.add_argument("--objectives", nargs="*", default=OBJECTIVES)
    parser.add_argument("--out", type=Path, help="where the tables go; default: printed only")
    options = parser.parse_args()
    print(_HEAD)
    (told, missed), (untold, more) = (table(options.objectives, options.months, told=one) for one in (True, False))
    if options.out:
        options.out.write_text(_TEXT.format(months=options.months, told="\n".join(told), untold="\n".join(untold)), encoding="utf-8")
    return 1 if missed + more else 0


if __name__ == "__main__":
    sys.exit(main())
