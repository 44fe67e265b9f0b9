from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.collectors.drift import joint
from mlops_obs.collectors.drift.alarms.natural import section_from_blocks
from mlops_obs.collectors.drift.columns import Column, ColumnKind, Schema
from mlops_obs.collectors.drift.compare import Settings, compare
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.results import Change, Verdict
from mlops_obs.collectors.drift.sketches.numbers import codes_of
from mlops_obs.collectors.drift.sketches.vectors import VectorSketch
from mlops_obs.errors import SpecError


def table(random, rows, correlation=0.5):
    columns = {f"x{place}": random.normal(size=rows) for place in range(5)}
    columns["x1"] = correlation * columns["x0"] + np.sqrt(1 - correlation**2) * columns["x1"]
    columns["zeros"] = np.where(columns["x2"] < 1, 0.0, columns["x2"])
    return columns


@pytest.fixture(scope="module")
def reference():
    rows = table(np.random.default_rng(0), 20_000)
    profile = ReferenceProfile.from_block(rows)
    return profile.with_section("joint", joint.section_from_blocks(profile, [rows]))


def current(reference, rows):
    profile = ReferenceProfile.from_block(rows, reference.schema)
    return profile.with_section("joint", joint.current_section(reference, [rows]))


def test_a_correlation_that_changes_its_sign_is_seen_although_the_margins_are_as_before(reference):
    found = compare(reference, current(reference, table(np.random.default_rng(1), 2_000, -0.5)))

    kinds = {one.name: one.kind for one in found.features}
    assert (found.verdict, kinds["x0"], kinds["x1"]) == (Verdict.DRIFTED, Change.CORRELATION, Change.CORRELATION)
    assert set(kinds.values()) == {Change.CORRELATION, None}
    assert found.joint["correlation_p_value"] < 1e-6
    assert "with x1 +0.50 -> -0.5" in found.features[0].words


def test_scores_are_the_normal_quantiles_of_the_ranks_in_sixteenths_and_centred(reference):
    stats = pytest.importorskip("scipy.stats")
    values = np.array([-1.5, -0.5, 0.0, 0.7, 2.0])
    mine = joint.joint_of(reference)

    codes = codes_of(values)
    scores = mine.scores[3][np.searchsorted(mine.borders[3], codes, side="right")]

    ranks = stats.norm.cdf(values)  # x3 is normal
    assert np.abs(scores - 16 * stats.norm.ppf(ranks)).max() <= 1.5  # half a step, and what 20,000 rows leave open


def test_a_column_whose_margin_changed_is_not_blamed_for_its_correlations(reference):
    rows = table(np.random.default_rng(1), 2_000)
    rows["x1"] = np.where(np.random.default_rng(2).random(2_000) < 0.5, rows["x1"] * 20 + 40, 5.0)

    kinds = {one.name: one.kind for one in compare(reference, current(reference, rows)).features if one.alarm}

    assert set(kinds) == {"x1"}
    assert kinds["x1"] is not Change.CORRELATION


def test_in_sixty_blocks_of_two_thousand_rows_the_sign_flip_is_always_seen_and_never_without(reference):
    random = np.random.default_rng(2)
    mine = joint.joint_of(reference)

    def alarms(correlation):
        blocks = (table(random, 2_000, correlation) for _ in range(30))
        sums = (joint.Joint.from_bytes(joint.current_section(reference, [block])) for block in blocks)
        return sum(bool(joint.changed_pairs(mine, one, mine.columns, 0.001, 0.15)[0]) for one in sums)

    assert alarms(-0.5) == 30
    assert alarms(0.5) == 0


def test_the_kernel_tests_p_value_is_uniform_enough_without_drift(reference):
    random = np.random.default_rng(3)
    mine = joint.joint_of(reference)

    p_values = np.array(
        [
            joint.discrepancy(mine, joint.Joint.from_bytes(joint.current_section(reference, [table(random, 500)]))).p_value
            for _ in range(100)
        ]
    )

    assert 2 <= (p_values < 0.1).sum() <= 21  # 10 expected; the 99.9 % band
    assert (p_values < 0.001).sum() <= 2


def test_columns_that_are_volatile_together_are_no_false_alarm():
    random = np.random.default_rng(4)

    def volatile(rows):
        scale = np.exp(random.normal(size=rows))
        return {f"x{place}": scale * random.normal(size=rows) for place in range(6)}

    rows = volatile(10_000)
    profile = ReferenceProfile.from_block(rows)
    profile = profile.with_section("joint", joint.section_from_blocks(profile, [rows]))
    mine = joint.joint_of(profile)

    sums = [joint.Joint.from_bytes(joint.current_section(profile, [volatile(500)])) for _ in range(60)]

    assert sum(bool(joint.changed_pairs(mine, one, mine.columns, 0.05, 0.0)[0]) for one in sums) <= 9  # 3 expected; 99.9 % band


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=6), st.randoms(use_true_random=False))
def test_any_cut_into_blocks_and_any_merge_tree_gives_the_same_bytes(cuts, shuffler):
    rows = table(np.random.default_rng(5), 400)
    profile = ReferenceProfile.from_block(rows)
    edges = [0, *sorted(cuts), 400]
    empty = joint.Joint.empty(profile)
    parts = [empty.add({name: column[a:b] for name, column in rows.items()}) for a, b in pairwise(edges)]
    while len(parts) > 1:
        shuffler.shuffle(parts)
        parts.append(parts.pop().merge(parts.pop()))

    assert parts[0].to_bytes() == joint.section_from_blocks(profile, [rows])


def test_autocorrelated_columns_are_no_false_alarm_where_the_reference_knows_its_nature():
    random = np.random.default_rng(5)

    def walk(rows):
        columns = {f"x{place}": random.normal(size=rows) for place in range(5)}
        for column in columns.values():
            for row in range(1, rows):
                column[row] = 0.9 * column[row - 1] + np.sqrt(0.19) * column[row]
        return columns

    rows = walk(6_000)
    profile = ReferenceProfile.from_block(rows)
    plain = profile.with_section("joint", joint.section_from_blocks(profile, [rows]))
    knowing = plain.with_section("natural", section_from_blocks(profile, [rows], by_time=True))
    alarms = {"plain": 0, "knowing": 0}
    for _ in range(12):
        block = walk(1_000)
        now = current(plain, block)
        alarms["plain"] += compare(plain, now, Settings(alpha=0.05)).joint["correlation_p_value"] < 0.01
        alarms["knowing"] += compare(knowing, now, Settings(alpha=0.05)).joint["correlation_p_value"] < 0.01

    assert alarms["plain"] >= 6
    assert alarms["knowing"] <= 1


def test_a_table_scored_by_another_reference_is_told_not_compared(reference):
    other = ReferenceProfile.from_block({name: column * 2 + 1 for name, column in table(np.random.default_rng(6), 500).items()})
    other = other.with_section("joint", joint.section_from_blocks(other, [table(np.random.default_rng(7), 500)]))

    found = compare(reference, other, Settings(features=("x0",)))

    assert "not scored by this reference" in found.problems[-1]


@pytest.mark.parametrize("content", [b"", b"\x03abc", b"\x02{}", b"\xff" * 50])
def test_a_damaged_section_is_a_clear_error(reference, content):
    with pytest.raises(SpecError, match="OBS-STAT-001"):
        joint.joint_of(reference.with_section("joint", content))


def test_a_table_without_two_columns_of_numbers_has_no_section():
    rows = {"x": np.arange(10.0), "constant": np.ones(10)}

    assert joint.section_from_blocks(ReferenceProfile.from_block(rows), [rows]) is None


def vectors(random, rows, size=24, shift=0.0):
    return (random.normal(size=(rows, size)) + np.linspace(0, 2, size) + shift).astype(np.float32)


def embedded(data):
    size = data.shape[1]
    return ReferenceProfile.from_block({"e": data}, Schema((Column("e", ColumnKind.EMBEDDING, size=size),)))


def spoiled(data, places, value):
    data = data.copy()
    data[places] = value
    return data


EMBEDDINGS = {
    "as before": (lambda r: vectors(r, 1_000), Verdict.STABLE, None),
    "turned a little in every direction": (lambda r: vectors(r, 1_000, shift=0.6), Verdict.DRIFTED, Change.EMBEDDING),
    "two dimensions swapped": (lambda r: vectors(r, 1_000)[:, ::-1], Verdict.DRIFTED, Change.EMBEDDING),
    "half as long": (lambda r: vectors(r, 1_000) / 2, Verdict.DRIFTED, Change.EMBEDDING),
    "a tenth missing": (lambda r: spoiled(vectors(r, 1_000), slice(0, 100), np.nan), Verdict.DRIFTED, Change.MISSING),
    "a tenth infinite": (lambda r: spoiled(vectors(r, 1_000), (slice(0, 100), 3), np.inf), Verdict.DRIFTED, Change.INVALID),
    "of another size": (lambda r: vectors(r, 1_000, 12), Verdict.DRIFTED, Change.TYPE),
}


@pytest.mark.parametrize(("make", "verdict", "kind"), EMBEDDINGS.values(), ids=EMBEDDINGS.keys())
def test_embeddings_that_turn_shrink_or_break_are_named(make, verdict, kind):
    random = np.random.default_rng(8)

    found = compare(embedded(vectors(random, 5_000)), embedded(make(random))).features[0]

    assert (found.verdict, found.kind) == (verdict, kind), found.words


def test_the_test_of_embeddings_keeps_its_level():
    random = np.random.default_rng(9)
    before = embedded(vectors(random, 3_000))

    p_values = np.array([compare(before, embedded(vectors(random, 300))).features[0].statistics["p_value"] for _ in range(120)])

    assert (p_values < 0.1).sum() <= 22  # 12 expected; 99.9 % band
    assert (p_values < 0.001).sum() <= 2


def test_directions_are_compared_whatever_the_lengths_are():
    random = np.random.default_rng(11)
    data = vectors(random, 3_000)
    lengths = random.lognormal(0, 1, 3_000)[:, None].astype(np.float32)

    plain, scaled = VectorSketch.of(data), VectorSketch.of(data * 7)

    assert np.array_equal(plain.sums, scaled.sums)
    assert np.abs(plain.sums - VectorSketch.of(data * lengths).sums).max() <= 3  # a rounding or two
    assert VectorSketch.of(data * 0).invalid == 0


def test_a_sketch_of_embeddings_merges_to_the_same_bytes_and_reads_back():
    data = spoiled(vectors(np.random.default_rng(1), 300), (5, 2), np.nan)
    parts = [VectorSketch.of(data[a:b]) for a, b in ((200, 300), (0, 120), (120, 200))]

    whole = VectorSketch.of(data)

    assert parts[0].merge(parts[1]).merge(parts[2]).to_bytes() == whole.to_bytes()
    assert VectorSketch.from_bytes(whole.to_bytes()).to_bytes() == whole.to_bytes()
    assert (whole.rows, whole.invalid, whole.missing) == (300, 1, 0)


@given(st.binary(max_size=60))
def test_nonsense_is_no_sketch_of_embeddings(content):
    with pytest.raises((ValueError, KeyError, TypeError)):
        VectorSketch.from_bytes(content)


def test_embeddings_of_two_sizes_do_not_merge():
    with pytest.raises(ValueError, match="of 3 and of 4"):
        VectorSketch.empty(3).merge(VectorSketch.empty(4))
