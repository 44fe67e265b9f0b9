"""Which transformation lies between two sides of a request."""

import re

import numpy as np
import pytest

from benchmarks.drift.skew import measure
from mlops_obs.collectors.skew import Between, Recomputed, Served, Settings, SkewKind, SkewWatch
from mlops_obs.collectors.skew.classify import explain
from mlops_obs.collectors.skew.pairs import Pair, same, table_of
from mlops_obs.testing import skew_world

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def watched(world, requests=None):
    watch = SkewWatch("shop", list(world.recomputed[0].values))
    for served, offline in list(zip(world.served, world.recomputed, strict=True))[:requests]:
        watch.served(served)
        watch.recomputed(offline)
    return watch


def found(pairs):
    table = table_of(pairs)
    return explain(table, ~same(table.left, table.right))


def explained(left, right, **more):
    return found([Pair(a, b, float(at), **more) for at, (a, b) in enumerate(zip(left, right, strict=True))])


@pytest.mark.parametrize("fault", skew_world.FAULTS)
def test_each_kind_of_fault_is_named_on_nearly_all_of_twenty_features_within_a_thousand_requests(fault):
    world = skew_world.make(fault, seed=11)

    named = {one.feature: one.kind for one in watched(world).findings()}

    assert sum(named.get(feature) is fault for feature in world.truth) >= 19


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_named_on_a_clean_day_with_three_late_requests_in_a_thousand(seed):
    watch = watched(skew_world.make(None, seed, benign=0.003))

    assert watch.findings() == []
    assert sum(counts.get("other", 0) for of in watch.counts().values() for counts in of.values()) > 0


def test_a_fault_of_one_replica_in_three_is_named_as_well():
    world = skew_world.make(SkewKind.UNIT, seed=5, share=0.3)

    named = {one.feature: one.kind for one in watched(world).findings()}

    assert sum(named.get(feature) is SkewKind.UNIT for feature in world.truth) >= 19


def test_a_total_fault_is_named_within_forty_requests():
    world = skew_world.make(SkewKind.UNIT, seed=4)

    assert len(watched(world, 40).findings()) == len(world.truth)


def test_cents_for_euros_is_told_between_online_and_input_without_any_offline_side():
    watch = SkewWatch("credit-risk", ["spend", "age"])
    for at in range(20):
        spend = -13.37 * (at + 1)
        watch.served(Served(f"r{at}", f"c{at}", 100.0 + at, {"spend": spend, "age": 30 + at}, {"spend": spend * 100, "age": 30 + at}))

    (finding,) = watch.findings()

    assert (finding.feature, finding.between, finding.kind) == ("spend", Between.ONLINE_INPUT, SkewKind.UNIT)
    assert finding.transformation == "input = online x 100"
    assert "cents" in finding.words
    assert finding.since == 100.0
    assert finding.differing == finding.pairs == 20


VALUES = [float(x) for x in np.round(np.exp(np.random.default_rng(1).normal(4, 1, 60)), 2)]
MOMENTS = [1.78e9 + 977.0 * at for at in range(60)]


@pytest.mark.parametrize(
    ("left", "right", "kind", "formula"),
    [
        (VALUES, [x * 100 for x in VALUES], SkewKind.UNIT, "{right} = {left} x 100"),
        (VALUES, [float(round(x * 100)) for x in VALUES], SkewKind.UNIT, "{right} = {left} x 100"),
        (VALUES, [x / 1000 for x in VALUES], SkewKind.UNIT, "{right} = {left} / 1000"),
        (VALUES, [-x for x in VALUES], SkewKind.UNIT, "{right} = {left} x -1"),
        (VALUES, [float(np.log1p(x)) for x in VALUES], SkewKind.UNIT, "{right} = log(1 + {left})"),
        (VALUES, [1.8 * x + 32 for x in VALUES], SkewKind.UNIT, "{right} = 1.8 x {left} + 32"),
        (VALUES, [x * (1.08 + 0.004 * np.sin(x)) for x in VALUES], SkewKind.UNIT, "{right} = about {left} x 1.08"),
        (VALUES, [0.0] * 60, SkewKind.DEFAULT_FILLED, "{right} = 0"),
        (VALUES, [float(np.mean(VALUES))] * 60, SkewKind.DEFAULT_FILLED, f"{{right}} = {np.mean(VALUES):.10g}"),
        (VALUES, [None] * 60, SkewKind.MISSING, "{right} is missing"),
        (VALUES, [round(x, 1) for x in VALUES], SkewKind.PRECISION, "{right} = {left} rounded to 1 decimals"),
        (VALUES, [float(int(x)) for x in VALUES], SkewKind.PRECISION, "{right} = {left} cut off to whole 1s"),
        (VALUES, [float(np.float16(x)) for x in VALUES], SkewKind.PRECISION, "{right} = {left} as float16"),
        (VALUES, [x + 3 for x in VALUES], SkewKind.OTHER, "{right} = {left} + 3"),
        (MOMENTS, [x + 7200 for x in MOMENTS], SkewKind.TIME_ZONE, "{right} = {left} + 2 h"),
        (MOMENTS, [x * 1000 for x in MOMENTS], SkewKind.UNIT, "{right} = {left} x 1000"),
        ([x * 1000 for x in MOMENTS], [(x - 5.5 * 3600) * 1000 for x in MOMENTS], SkewKind.TIME_ZONE, "{right} = {left} - 5.5 h"),
        ([at % 24 for at in range(60)], [(at + 9) % 24 for at in range(60)], SkewKind.TIME_ZONE, "{right} = {left} + 9 h, modulo 24"),
        (["web", "app", "branch"] * 20, ["branch", "app", "web"] * 20, SkewKind.ENCODING_SWAP, "{left} -> {right}: 'branch' <-> 'web'"),
        (["Web", "App", "Mail"] * 20, ["web", "app", "mail"] * 20, SkewKind.ENCODING_SWAP, "{right} = {left} in lower case"),
        ([0.0, 1.0, 2.0] * 20, [1.0, 2.0, 0.0] * 20, SkewKind.ENCODING_SWAP, "{left} -> {right}: 0 -> 1, 1 -> 2, 2 -> 0"),
        (["true", "false"] * 30, ["false", "true"] * 30, SkewKind.ENCODING_SWAP, "{left} -> {right}: 'false' <-> 'true'"),
        (["true", "false"] * 30, ["false", "false"] * 30, SkewKind.DEFAULT_FILLED, "{right} = 'false'"),
        (["web", "app", "mail"] * 20, ["app", "app", "mail"] * 20, SkewKind.ENCODING_SWAP, "{left} -> {right}: 'web' -> 'app'"),
        ([None, 5.0, 7.5] * 20, [0.0, 5.0, 7.5] * 20, SkewKind.DEFAULT_FILLED, "{right} = 0 where {left} is missing"),
    ],
)
def test_the_transformation_is_named(left, right, kind, formula):
    explanation = explained(left, right)

    assert (explanation.kind, explanation.formula) == (kind, formula)


def test_noise_is_never_given_a_name():
    random = np.random.default_rng(3)

    for _ in range(20):
        left = random.normal(50, 10, 80)
        assert explained(left.tolist(), (left + random.normal(0, 10, 80)).tolist()).kind is SkewKind.OTHER
        assert explained(left.tolist(), random.permutation(left).tolist()).kind is SkewKind.OTHER
        names = random.choice(["a", "b", "c", "d"], (2, 80)).tolist()
        assert explained(*names).kind is SkewKind.OTHER


def test_summer_time_gives_two_shifts_and_one_name():
    right = [x + (3600 if at < 30 else 7200) for at, x in enumerate(MOMENTS)]

    explanation = explained(MOMENTS, right)

    assert explanation.kind is SkewKind.TIME_ZONE
    assert explanation.formula == "{right} = {left} + 1 h or + 2 h"


def test_local_times_without_a_zone_are_told_from_utc():
    left = [f"2026-03-{1 + at % 28:02}T{at % 20:02}:00:00Z" for at in range(40)]
    right = [f"2026-03-{1 + at % 28:02}T{at % 20 + 2:02}:00:00" for at in range(40)]

    assert explained(left, right).formula == "{right} = {left} + 2 h"


def test_an_older_value_is_stale_and_not_the_default_that_it_often_is():
    random = np.random.default_rng(5)
    now = random.poisson(0.6, 300).astype(float)
    before = np.maximum(0, now - random.integers(0, 2, 300))

    stale = found([Pair(a, b, float(at), earlier=(b,)) for at, (a, b) in enumerate(zip(now.tolist(), before.tolist(), strict=True))])
    filled = found([Pair(a, 0.0, float(at), earlier=(b,)) for at, (a, b) in enumerate(zip(now.tolist(), before.tolist(), strict=True))])

    assert stale.kind is SkewKind.STALE
    assert filled.kind is SkewKind.DEFAULT_FILLED


def test_an_earlier_request_of_the_same_customer_tells_a_stale_value_without_any_history():
    watch = SkewWatch("shop", ["count"])
    for at in range(200):
        customer, turn = f"c{at % 20}", at // 20
        value, before = float(7 * (at % 20) + turn), float(7 * (at % 20) + max(0, turn - 1))
        watch.recomputed(Recomputed(f"r{at}", {"count": value}))
        watch.served(Served(f"r{at}", customer, float(at), {"count": before}))

    (finding,) = watch.findings()

    assert finding.kind is SkewKind.STALE


def test_the_age_of_the_source_tells_stale_where_no_older_value_is_known():
    random = np.random.default_rng(8)
    pairs = []
    for at in range(200):
        value, old = float(random.normal(100, 20)), at % 3 == 0
        pairs.append(Pair(value, value - float(random.exponential(5)) if old else value, float(at), age=9000.0 if old else 20.0))

    explanation = found(pairs)

    assert explanation.kind is SkewKind.STALE
    assert explanation.formula == "{right} differs only where its source is older than 9000 s"


def test_a_tenth_of_the_evidence_names_nothing_and_the_tolerated_share_is_the_users():
    def share(of, tolerated):
        watch = SkewWatch("shop", ["x"], Settings(tolerated=tolerated))
        for at in range(600):
            watch.served(Served(f"r{at}", f"c{at}", float(at), {"x": float(at)}, {"x": float(at) + 0.37 * (at % 100 < of) * (at + 1)}))
        return [one.kind for one in watch.findings()]

    assert share(of=4, tolerated=0.05) == []
    assert share(of=4, tolerated=0.005) != []


def test_one_customer_who_asks_a_hundred_times_is_one_observation():
    watch = SkewWatch("shop", ["x"])
    for at in range(100):
        watch.served(Served(f"r{at}", "the same", float(at), {"x": 1.0}, {"x": 100.0}))

    assert watch.findings() == []
    assert watch.counts()["x"]["online_input"]["other"] == 100


def test_a_repaired_feature_is_named_no_longer():
    watch = SkewWatch("shop", ["x"])
    for at in range(60):
        watch.served(Served(f"a{at}", f"c{at}", float(at), {"x": 1.5 + at}, {"x": 60 * (1.5 + at)}))
    before = [one.kind for one in watch.findings()]
    for at in range(300):
        watch.served(Served(f"b{at}", f"d{at}", 100.0 + at, {"x": 1.5 + at}, {"x": 1.5 + at}))

    assert before == [SkewKind.UNIT]
    assert watch.findings() == []


def test_a_fault_that_begins_after_a_long_clean_time_is_found_as_fast_and_dated():
    watch = SkewWatch("shop", ["x"])
    for at in range(1500):
        watch.served(Served(f"a{at}", f"c{at}", float(at), {"x": float(at)}, {"x": float(at)}))
    for at in range(1500, 1520):
        watch.served(Served(f"a{at}", f"c{at}", float(at), {"x": float(at)}, {"x": at / 100}))

    (finding,) = watch.findings()

    assert (finding.kind, finding.since) == (SkewKind.UNIT, 1500.0)
    assert finding.transformation == "input = online / 100"


def test_a_late_request_of_last_month_does_not_date_the_fault():
    watch = SkewWatch("shop", ["x"])
    for at in range(1000):
        wrong = 100.0 if at >= 950 else 7.0 if at == 3 else 1.0
        watch.served(Served(f"a{at}", f"c{at}", float(at), {"x": at + 1.0}, {"x": wrong * (at + 1.0)}))

    (finding,) = watch.findings()

    assert (finding.since, finding.pairs, finding.explained) == (950.0, 50, 1.0)


def test_three_coincidences_are_no_name():
    few = [Pair(float(at), float(at), float(at), age=20.0) for at in range(12)]
    few += [Pair(float(at), 7.3 * at % 5, float(at), age=9000.0) for at in range(12, 15)]

    assert found(few).kind is SkewKind.OTHER


def test_equality_knows_float32_nothing_and_texts_of_numbers():
    watch = SkewWatch("shop", ["a", "b", "c"])
    for at in range(50):
        x = 1.1 * at
        online = {"a": x, "b": None, "c": str(x)}
        watch.served(Served(f"r{at}", f"c{at}", float(at), online, {"a": np.float32(x), "b": float("nan"), "c": x}))

    assert watch.findings() == []
    assert {kind for of in watch.counts().values() for kinds in of.values() for kind in kinds} == {"equal"}


def test_a_value_that_was_not_logged_is_no_missing_value():
    watch = SkewWatch("shop", ["a", "b"])
    for at in range(50):
        watch.served(Served(f"r{at}", f"c{at}", float(at), {"a": float(at), "b": float(at)}, {"a": float(at)}))

    assert watch.findings() == []
    assert set(watch.counts()) == {"a"}


@pytest.mark.parametrize("value", [1e308, -1e308, float("inf"), 5e-324, 0.0, "\x00" * 1000, "x" * 100_000, "\ud800", True])
def test_odd_values_are_compared_and_never_raise(value):
    watch = SkewWatch("shop", ["a"])
    for at in range(30):
        watch.served(Served(f"r{at}", f"c{at}", float(at), {"a": float(at)}, {"a": value}))

    (finding,) = watch.findings()

    assert finding.kind in (SkewKind.DEFAULT_FILLED, SkewKind.OTHER)
    assert watch.read()


def test_the_benchmark_counts_what_is_named_on_a_slice():
    figures = measure(seeds=1, shares=(1.0,))

    named, of = re.search(r"All: (\d+) of (\d+) named rightly", figures).groups()
    assert int(of) == 160
    assert int(named) >= 152
    assert "Clean days: 0 features named" in figures
