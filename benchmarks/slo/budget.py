"""Is the error ratio of the period the one that happened? Rules of three shapes, evaluated by Prometheus' engine, against the closed form.

promtool evaluates the rules every five minutes for 31 days, in order, as a server would: what a rule reads of another one's
recording is what was recorded. The trap of the idle hour needs just that: one NaN in a recording lives as long as the period.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from benchmarks.slo.history import DAY, Values, traffic
from benchmarks.slo.shapes import SERIES

STEP = 300  # seconds between scrapes and between evaluations: one sample for each 5-minute count
DAYS, PERIOD_DAYS = 31, 30
_NOON = 12 * 3_600 + 35 * 60  # the time of the day at the end: no full hour, so that a window's edges show


@dataclass(frozen=True)
class Story:
    """What happened: an outage, or an hour in which nobody called; hours before the end, from and to."""

    name: str
    outage: tuple[float, float] | None = None
    idle: tuple[float, float] | None = None


STORIES = (
    Story("no outage"),
    Story("2 h outage by day", outage=(98, 96)),
    Story("2 h outage at night", outage=(106, 104)),
    Story("an idle hour by day", idle=(98, 97)),
)


def counters(story: Story) -> tuple[Values, Values]:
    """Return all and bad requests of `story`, one value for each step of 31 days."""
    end = DAYS * DAY + _NOON
    times = np.arange(_NOON, end + 1, STEP)

    def span(hours: tuple[float, float]) -> tuple[int, int]:
        return end - int(hours[0] * 3600), end - int(hours[1] * 3600)

    total, bad = traffic(times, outage=span(story.outage) if story.outage else None)
    if story.idle:
        begin, over = span(story.idle)
        quiet = (times > begin) & (times <= over)
        total, bad = (np.cumsum(np.where(quiet, 0, np.diff(one, prepend=0.0))) for one in (total, bad))
    return total, bad


def closed_form(total: Values, bad: Values) -> float:
    """Return the error ratio of the period, from the counts themselves."""
    back = PERIOD_DAYS * DAY // STEP
    return float((bad[-1] - bad[-1 - back]) / (total[-1] - total[-1 - back]))


def measured(folder: Path, rules: str, ratio: str, total: Values, bad: Values) -> float:
    """Return the error ratio of the period that `ratio`, a recorded name or PromQL, gives at the end; NaN if it has none."""
    needed = _needed(rules, ratio)
    # promtool's clock begins at 0, so the series begin with the gap that puts the end at the right time of the day.
    gap = f"_x{_NOON // STEP} "
    name, outcomes = SERIES
    series = [
        {"series": name % ("s0", outcome), "values": gap + " ".join(f"{value:.0f}" for value in (total - bad if outcome == "ok" else bad))}
        for outcome in outcomes
    ]
    end = f"{(DAYS * DAY + _NOON) // 60}m"
    test = {"interval": f"{STEP}s", "input_series": series, "promql_expr_test": [{"expr": f"({ratio}) * 1e9", "eval_time": end}]}
    (folder / "rules.yaml").write_text(json.dumps({"groups": [{"name": "all", "rules": needed}]}), encoding="utf-8")
    case = {"rule_files": ["rules.yaml"], "evaluation_interval": f"{STEP}s", "tests": [test]}
    (folder / "case.yaml").write_text(json.dumps(case), encoding="utf-8")
    # Nothing is expected, so promtool says what it got.
    done = subprocess.run(["promtool", "test", "rules", str(folder / "case.yaml")], capture_output=True, text=True, check=False)
    got = re.search(r"got:.*?} ([-+.\deE]+|NaN)", done.stdout + done.stderr, re.DOTALL)
    if got is None and "got:" not in done.stdout + done.stderr:
        raise RuntimeError(done.stdout + done.stderr)
    return float(got[1]) / 1e9 if got else math.nan


def _needed(rules: str, ratio: str) -> list[object]:
    """Return the recordings that `ratio` reads, directly or not, in the order of the file."""
    records = [rule for group in yaml.load(rules, yaml.CSafeLoader)["groups"] for rule in group["rules"] if "record" in rule]
    names, wanted = {rule["record"] for rule in records}, {ratio}
    while True:
        texts = [ratio, *(rule["expr"] for rule in records if rule["record"] in wanted)]
        found = wanted | {name for text in texts for name in re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", text) if name in names}
        if found == wanted:
            return [rule for rule in records if rule["record"] in wanted]
        wanted = found
