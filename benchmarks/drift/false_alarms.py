"""How often does a comparison of two samples of one population alarm, and how often does it see a change?

False alarms: 25 families (see `families`) x sizes of reference and window, every trial two fresh samples; ours at a level of 5 % (its
default is 1 %), beside what others do by default: Evidently's ValueDrift (0.7, defaults), and three rules of thumb (Kolmogorov-Smirnov
p < 0.05, PSI of the reference's deciles > 0.2, chi-square against the reference's shares p < 0.05). The band is the 99 % range of a
binomial at 5 %: more alarms than its upper end are no chance. Autocorrelated and seasonal rows break the assumption of all tests; ours
has the section `natural` for them, made from the reference sample.

Power: the share of trials in which a change is found, at the default level of 1 % for a comparison, by size of the window.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable

import numpy as np

from benchmarks.drift.families import CHANGES, DEPENDENT, FAMILIES, NAME_CHANGES, NAMES, block_of, schema_of
from mlops_obs.collectors.drift import joint
from mlops_obs.collectors.drift.alarms.natural import section_from_blocks
from mlops_obs.collectors.drift.compare import Settings, compare
from mlops_obs.collectors.drift.reference import ReferenceProfile

LEVEL = 0.05
SIZES = ((1_000, 60), (1_000, 500), (1_000, 1_000), (10_000, 500), (10_000, 10_000))
_PEER_TRIALS = 100  # columns of one Evidently report
_POWER_FAMILIES = ("normal", "lognormal", "exponential", "poisson(3)", "t(3)")

Sample = list[np.ndarray]
Rule = Callable[[str, Sample, Sample], list[bool]]


def ours(family: str, before: Sample, now: Sample) -> list[bool]:
    """Compare sketches, a pair of samples at a time."""
    schema, settings = schema_of(family), Settings(alpha=LEVEL)
    found = []
    for first, second in zip(before, now, strict=True):
        reference = ReferenceProfile.from_block(block_of(family, first), schema)
        if family in DEPENDENT:
            natural = section_from_blocks(reference, [block_of(family, first)], by_time=True)
            reference = reference.with_section("natural", natural) if natural else reference
        current = ReferenceProfile.from_block(block_of(family, second), schema)
        found.append(compare(reference, current, settings).alarm)
    return found


def ks_rule(family: str, before: Sample, now: Sample) -> list[bool]:
    """scipy's two-sample test, p < 0.05."""
    from scipy.stats import ks_2samp

    if family in NAMES:
        return []
    drop = [(a[~np.isnan(a)], b[~np.isnan(b)]) for a, b in zip(before, now, strict=True)]
    return [bool(ks_2samp(a, b, method="asymp").pvalue < LEVEL) for a, b in drop]


def psi_rule(family: str, before: Sample, now: Sample) -> list[bool]:
    """PSI of the reference's deciles (or names) above 0.2; empty cells count as 0.0001."""
    found = []
    for a, b in zip(before, now, strict=True):
        deciles = [] if family in NAMES else np.nanquantile(a, np.arange(1, 10) / 10)
        edges = np.arange(502) - 0.5 if family in NAMES else np.unique([-np.inf, *deciles, np.inf])
        p, q = (np.maximum(np.histogram(one, edges)[0] / one.size, 1e-4) for one in (a, b))
        found.append(bool(np.sum((q - p) * np.log(q / p)) > 0.2))
    return found


def one_sample_rule(family: str, before: Sample, now: Sample) -> list[bool]:
    """Chi-square of the window against the reference's shares as if they were exact, p < 0.05; names only."""
    from scipy.stats import chisquare

    if family not in NAMES:
        return []
    found = []
    for a, b in zip(before, now, strict=True):
        p, q = (np.bincount(one.astype(int), minlength=501) for one in (a, b))
        seen = p > 0
        if q[~seen].any():
            found.append(True)  # an expected count of 0: infinite
            continue
        found.append(bool(chisquare(q[seen], p[seen] / p.sum() * q.sum()).pvalue < LEVEL))
    return found


def evidently_rule(family: str, before: Sample, now: Sample) -> list[bool]:
    """Evidently's ValueDrift with its defaults; the verdict of its own test."""
    os.environ["DO_NOT_TRACK"] = "1"
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    before, now = before[:_PEER_TRIALS], now[:_PEER_TRIALS]
    names = [f"x{place}" for place in range(len(before))]
    kinds = {"categorical_columns": names} if family in NAMES else {"numerical_columns": names}

    def frame(sample: Sample) -> object:
        columns = {name: [f"n{int(one)}" for one in data] if family in NAMES else data for name, data in zip(names, sample, strict=True)}
        return Dataset.from_pandas(pd.DataFrame(columns), data_definition=DataDefinition(**kinds))

    run = Report([ValueDrift(column=name) for name in names], include_tests=True).run(frame(now), frame(before))
    return [test["status"] == "FAIL" for test in run.dict()["tests"]]


RULES: dict[str, Rule] = {
    "ours": ours,
    "Evidently": evidently_rule,
    "KS p < .05": ks_rule,
    "PSI > .2": psi_rule,
    "one-sample chi-square": one_sample_rule,
}


def rates(
    trials: int, sizes: tuple[tuple[int, int], ...], rules: tuple[str, ...], families: tuple[str, ...] = tuple(FAMILIES)
) -> list[dict[str, object]]:
    """Return for each size and family the share of trials in which each rule alarmed; None where a rule does not apply or fails."""
    found = []
    for n, m in sizes:
        count = max(20, trials // (4 if n * m >= 10**8 else 1))
        for family in families:
            random = np.random.default_rng([n, m, len(family)])
            draw = FAMILIES[family]
            before, now = ([draw(random, rows) for _ in range(count)] for rows in (n, m))
            row: dict[str, object] = {"size": f"{n:,} x {m:,}", "family": family, "trials": count}
            for name in rules:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        alarms = RULES[name](family, before, now)
                    except Exception:  # noqa: BLE001 - a peer that fails on a family has no rate there
                        alarms = []
                row[name] = (sum(alarms), len(alarms)) if alarms else None
            found.append(row)
    return found


def power(trials: int) -> list[str]:
    """Return the table of what is found."""
    lines = ["| change | " + " | ".join(f"{rows:,} rows" for rows in (200, 500, 1_000, 2_000)) + " |", "|---|---|---|---|---|"]
    for change in (*CHANGES, *NAME_CHANGES):
        cells = []
        families = NAMES if change in NAME_CHANGES else _POWER_FAMILIES
        for rows in (200, 500, 1_000, 2_000):
            random = np.random.default_rng(rows)
            alarms = []
            for family in families:
                draw, schema = FAMILIES[family], schema_of(family)
                reference = ReferenceProfile.from_block(block_of(family, draw(random, 10_000)), schema)
                inject = (NAME_CHANGES if change in NAME_CHANGES else CHANGES)[change]
                for _ in range(max(2, trials // 10)):
                    now = block_of(family, inject(draw(random, rows), random))
                    alarms.append(compare(reference, ReferenceProfile.from_block(now, schema)).alarm)
            cells.append(f"{np.mean(alarms):.0%}")
        lines.append(f"| {change} | {' | '.join(cells)} |")
    flips = [_flips(rows, max(5, trials // 20)) for rows in (200, 500, 1_000, 2_000)]
    lines.append(f"| correlation .5 -> -.5, 8 columns | {' | '.join(f'{share:.0%}' for share in flips)} |")
    return lines


def _flips(rows: int, trials: int) -> float:
    random = np.random.default_rng(rows)

    def table(count: int, correlation: float) -> dict[str, np.ndarray]:
        columns = {f"x{place}": random.normal(size=count) for place in range(8)}
        columns["x1"] = correlation * columns["x0"] + np.sqrt(1 - correlation**2) * columns["x1"]
        return columns

    before = table(10_000, 0.5)
    reference = ReferenceProfile.from_block(before)
    reference = reference.with_section("joint", joint.section_from_blocks(reference, [before]) or b"")
    found = 0
    for _ in range(trials):
        now = table(rows, -0.5)
        current = ReferenceProfile.from_block(now, reference.schema)
        found += compare(reference, current.with_section("joint", joint.current_section(reference, [now]) or b"")).alarm
    return found / trials


def upper_band(trials: int) -> float:
    """Return the share of alarms that a rule with a true rate of 5 % exceeds in 0.5 % of cases."""
    from scipy.stats import binom

    return float(binom.ppf(0.995, trials, LEVEL)) / trials


def measure(trials: int = 200, rules: tuple[str, ...] = tuple(RULES)) -> str:
    """Return the tables: false alarms by family at 1,000 x 1,000 rows, worst families at every size, power."""
    results = rates(trials, SIZES, rules)
    names = list(rules)
    lines = [f"False alarms on identical populations, at a nominal {LEVEL:.0%}; bold: above the 99 % band of chance.", ""]
    lines += ["| 1,000 x 1,000 rows | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for row in results:
        if row["size"] == "1,000 x 1,000":
            lines.append(f"| {row['family']} | " + " | ".join(_cell(row[name]) for name in names) + " |")
    lines += ["", "Families above the band, of those to which the rule applies, and the worst one:", ""]
    lines += ["| reference x window | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for n, m in SIZES:
        mine = [row for row in results if row["size"] == f"{n:,} x {m:,}"]
        lines.append(f"| {n:,} x {m:,} | " + " | ".join(_worst(mine, name) for name in names) + " |")
    lines += ["", "Found changes (numbers: normal, lognormal, exponential, poisson, t; reference of 10,000 rows; level 1 %):", ""]
    return "\n".join([*lines, *power(trials)])


def _cell(rate: object) -> str:
    if not isinstance(rate, tuple):
        return ""
    share = rate[0] / rate[1]
    return f"**{share:.3f}**" if share > upper_band(rate[1]) else f"{share:.3f}"


def _worst(rows: list[dict[str, object]], name: str) -> str:
    rated = [(rate[0] / rate[1], rate[1], row["family"]) for row in rows if isinstance(rate := row[name], tuple)]
    if not rated:
        return ""
    above = sum(share > upper_band(trials) for share, trials, _ in rated)
    share, _, family = max(rated, key=lambda one: one[0])
    return f"{above} of {len(rated)}; {share:.2f} ({family})"


if __name__ == "__main__":
    print(measure())
