"""Labels that come late: young cohorts never page, and the budget of mature ones is the one an all-knowing oracle has."""

import random
from collections.abc import Mapping

from mlops_obs.collectors.quality.cohorts import Cohorts
from mlops_obs.slo.counters import Series
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.verdict import firing_alerts, slo_status

HOUR, DAY = 3_600, 86_400
MATURITY = 2 * DAY
BEGIN = 20_000 * DAY

QUALITY = SLO(
    service="shop",
    team="web",
    name="quality",
    objective="0.9",
    period="7d",
    replan=True,
    indicator={"type": "quality", "maturity": "2d", "cohort": "1h"},
)


class Gauges:
    """What a Prometheus that scraped the collector at `now` would answer; the last hour of scrapes said the same."""

    def __init__(self, table: Cohorts, now: float) -> None:
        self._readings = table.readings(now)
        self._now = now

    def series(self, metric: str, matchers: Mapping[str, str], start: float, end: float) -> list[Series]:
        times = [at for at in (self._now - step * 60 for step in range(60, -1, -1)) if start < at <= end]
        return [
            Series(one.labels, [(at, one.value) for at in times])
            for one in self._readings
            if times and one.metric.name == metric and all(one.labels.get(key, "") == value for key, value in matchers.items())
        ]


def stream(bad_from: float, bad_until: float) -> list[tuple[float, float, bool]]:
    """Ten days of predictions as (label arrives, prediction made, wrong): wrong ones are known within hours, right ones after a day."""
    chance = random.Random(7)
    found = []
    for made in range(BEGIN, BEGIN + 10 * DAY, 120):
        wrong = chance.random() < (0.8 if bad_from <= made < bad_until else 0.05)
        found.append((made + (chance.uniform(0, 3 * HOUR) if wrong else chance.uniform(DAY, MATURITY)), float(made), wrong))
    return sorted(found)


def told(labels: list[tuple[float, float, bool]], now: float) -> Gauges:
    table = Cohorts("shop")
    for arrives, made, wrong in labels:
        if arrives <= now:
            table.add("v1", made, 1, int(wrong))
    return Gauges(table, now)


def test_young_cohorts_whose_bad_labels_come_first_never_page():
    labels = stream(0, 0)

    for hour in range(8, 10 * 24, 5):
        now = float(BEGIN + hour * HOUR)
        assert firing_alerts([QUALITY], told(labels, now), now) == [], f"after {hour} h"


def test_the_first_labels_of_a_cohort_are_no_fair_sample():
    """Otherwise the test above would prove nothing."""
    now = float(BEGIN + 12 * HOUR)
    gauges = told(stream(0, 0), now)

    wrong, known = (
        sum(one.samples[-1][1] for one in gauges.series(f"mlops_obs_quality_cohort_{name}", {}, 0, now))
        for name in ("bad_events", "events")
    )

    assert wrong == known > 0


def test_a_model_that_was_bad_pages_once_its_cohorts_are_mature_and_not_before():
    since = BEGIN + 5 * DAY
    labels = stream(since, since + DAY)

    before = firing_alerts([QUALITY], told(labels, since + MATURITY - 60.0), since + MATURITY - 60.0)
    after = float(since + MATURITY + 12 * HOUR)
    fired = firing_alerts([QUALITY], told(labels, after), after)

    assert before == []
    assert {(one.name, one.labels["severity"]) for one in fired} >= {("QualityBudgetBurn", "page")}


def test_the_budget_equals_an_oracle_that_knew_every_label_at_once():
    labels = stream(BEGIN + 5 * DAY, BEGIN + 5 * DAY + 12 * HOUR)
    now = float(BEGIN + 10 * DAY)
    mature = [(made, wrong) for _, made, wrong in labels if now - MATURITY - 7 * DAY < made // HOUR * HOUR + HOUR <= now - MATURITY]

    (status, *_) = slo_status(QUALITY, told(labels, now), now)

    assert (status.bad, status.total) == (sum(wrong for _, wrong in mature), len(mature))


def test_a_label_that_comes_after_maturity_credits_the_window_of_its_prediction():
    labels = stream(0, 0)
    now = float(BEGIN + 8 * DAY)
    (before, *_) = slo_status(QUALITY, told(labels, now), now)
    late = [*labels, *((now - 60, float(BEGIN + 3 * DAY), True) for _ in range(100))]
    too_old = [*labels, *((now - 60, float(BEGIN - 3 * DAY), True) for _ in range(100))]
    too_young = [*labels, *((now - 60, now - HOUR, True) for _ in range(100))]

    (credited, *_) = slo_status(QUALITY, told(late, now), now)

    assert (credited.bad - before.bad, credited.total - before.total) == (100, 100)
    for elsewhere in (too_old, too_young):
        (status, *_) = slo_status(QUALITY, told(elsewhere, now), now)
        assert (status.bad, status.total) == (before.bad, before.total)
