import pytest

from mlops_obs.collectors.drift.alarms import Budget, Ledger
from mlops_obs.errors import SpecError


@pytest.mark.parametrize(
    ("text", "alarms", "seconds", "rows"),
    [
        ("1 per 90d", 1, 90 * 86_400, None),
        ("0.5 per quarter", 0.5, 90 * 86_400, None),
        ("2 per week", 2, 604_800, None),
        ("1 per 100000 rows", 1, None, 100_000),
        ("1 per 100k rows", 1, None, 100_000),
        ("1/1h30m", 1, 5400, None),
    ],
)
def test_a_budget_is_read_from_words(text, alarms, seconds, rows):
    assert Budget.parse(text) == Budget(alarms, seconds, rows)


@pytest.mark.parametrize(
    "text", ["", "one per day", "1", "0 per 90d", "-1 per day", "1 per", "1 per 90 parsecs", "1 per 0 rows", "1 per 5m5m"]
)
def test_what_is_no_budget_is_refused_with_an_example(text):
    with pytest.raises(SpecError, match=r"write for example .*OBS-ALM-001"):
        Budget.parse(text)


def test_looking_more_often_spends_no_more():
    budget = Budget.parse("1 per 90d")

    once = budget.weight(seconds=86_400, rows=1)
    often = sum(budget.weight(seconds=15, rows=1) for _ in range(86_400 // 15))

    assert once == pytest.approx(often) == pytest.approx(1 / 90)


def test_a_budget_reads_back_from_what_it_prints():
    for text in ("1 per 90d", "1 per 100,000 rows", "0.5 per 36h"):
        assert str(Budget.parse(str(Budget.parse(text)))) == str(Budget.parse(text))


def test_the_ledger_counts_the_alarms_of_the_last_period_only():
    ledger = Ledger(Budget(2, seconds=100))
    for at in (0.0, 50.0, 60.0):
        ledger.record(at)

    assert ledger.used(60.0) == 1.5
    assert ledger.used(120.0) == 1.0
    assert Ledger.from_json(ledger.budget, ledger.to_json()).used(120.0) == 1.0
