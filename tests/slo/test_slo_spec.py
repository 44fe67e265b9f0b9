"""Specs are exact, strict, and every mistake is named with its line and its remedy."""

from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.adapters.files import load_slos, write_atomically
from mlops_obs.errors import ObsError, PlatformError
from mlops_obs.slo.spec import SpecErrors
from mlops_obs.slo.spec_document import parse_slos

HEAD = "service: shop\nteam: web\nslos:\n"
GOOD = HEAD + "  - name: availability\n    objective: 0.999\n    indicator: {type: availability}\n"


def load(folder: Path, text: str):
    path = folder / "shop.yaml"
    path.write_text(text)
    return load_slos(path)


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(SpecErrors) as caught:
        load(folder, text)
    return str(caught.value).replace(str(folder) + "/", "").splitlines()


def test_an_objective_is_exact_and_not_a_binary_float(tmp_path):
    (slo,) = load(tmp_path, GOOD)

    assert slo.budget == Decimal("0.001")


@pytest.mark.parametrize(("written", "share"), [("99.9", "0.999"), ("99", "0.99"), ("99.95%", "0.9995"), ("100", "1")])
def test_a_percentage_is_refused_and_the_share_is_named(tmp_path, written, share):
    found = mistakes(tmp_path, GOOD.replace("0.999", written))

    assert found == [f"shop.yaml:5: objective {written} is a percentage; write {share} [OBS-SLO-003]"]


@pytest.mark.parametrize("written", ["0", "1", "-0.5", "1e9", ".nan", ".inf", "ninety", "[0.9]", "true", "null"])
def test_what_is_no_share_is_refused(tmp_path, written):
    (line,) = mistakes(tmp_path, GOOD.replace("0.999", written))

    assert line.startswith("shop.yaml:5: ")
    assert line.endswith("[OBS-SLO-005]")


def test_all_mistakes_of_a_file_are_reported_at_once_in_file_order(tmp_path):
    text = HEAD + (
        "  - name: a\n    objektive: 0.9\n    indicator: {type: latency, treshold: 250ms}\n"
        "  - name: b\n    objective: 99.9\n    indicator: {type: latency, threshold: 333ms}\n    group_by: [revison]\n"
    )

    assert mistakes(tmp_path, text) == [
        "shop.yaml:4: objective is missing; add objective: [OBS-SLO-004]",
        "shop.yaml:5: unknown key 'objektive'; did you mean 'objective'? [OBS-SLO-002]",
        "shop.yaml:6: unknown key 'treshold'; did you mean 'threshold'? [OBS-SLO-002]",
        "shop.yaml:8: objective 99.9 is a percentage; write 0.999 [OBS-SLO-003]",
        (
            "shop.yaml:9: threshold 333ms is not a bucket of the latency histogram, so it cannot be counted; "
            "write 300ms or 400ms [OBS-SLO-006]"
        ),
    ]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("indicator: {type: availability}", "indicator: {type: latency}"), "OBS-SLO-004"),
        (("indicator: {type: availability}", "indicator: {type: availability, threshold: 250ms}"), "OBS-SLO-005"),
        (("indicator: {type: availability}", "indicator: {type: availability, stage: ingres}"), "OBS-SLO-005"),
        (("0.999\n", "0.999\n    period: 30m\n"), "OBS-SLO-007"),
        (("0.999\n", "0.999\n    group_by: [customer_id]\n"), "OBS-SLO-008"),
        (("0.999\n", "0.999\n    severities: []\n"), "OBS-SLO-005"),
        (("0.999\n", "0.999\n    objective: 0.99\n"), "OBS-SLO-001"),
        (("service: shop", "service: 'shop\"} or vector(1)'"), "OBS-SLO-005"),
        (("service: shop\n", ""), "OBS-SLO-004"),
        (("team: web", "team: [web"), "OBS-SLO-001"),
    ],
)
def test_each_mistake_has_its_code(tmp_path, change, code):
    found = mistakes(tmp_path, GOOD.replace(*change))

    assert found
    assert all(line.endswith(f"[{code}]") for line in found), found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("team: web", "team: 12"), "team 12 is not text; put it in quotes"),
        (("0.999\n", "0.999\n    period: 30\n"), "period 30 is not text; write text, in quotes"),
        (("0.999\n", "0.999\n    replan: perhaps\n"), "replan 'perhaps' is neither true nor false; write true or false"),
        (("0.999\n", "0.999\n    min_bad_events: 0\n"), "min_bad_events 0 is too small; write 1 or more"),
        (("0.999\n", "0.999\n    upstream: serve\n"), "upstream 'serve' is not a list; write for example"),
        (("0.999\n", "0.999\n    labels: [x]\n"), "labels is not a mapping; write keys and values"),
        (("0.999\n", "0.999\n    statistical_bound: maybe\n"), "statistical_bound 'maybe' is not known; write 'auto', 'on' or 'off'"),
        (("type: availability", "type: latency, histogram: h, threshold: 1s, buckets: [a]"), "buckets 'a' is not a number; write"),
        (("service: shop", "service: platform"), "service platform would write over the rules of the platform itself"),
    ],
)
def test_each_mistake_says_what_is_written_and_what_to_write(tmp_path, change, said):
    (line,) = mistakes(tmp_path, GOOD.replace(*change))

    assert said in line
    assert line.endswith("[OBS-SLO-005]")


def test_a_wrong_field_hides_no_mistake_between_others(tmp_path):
    text = HEAD + (
        "  - {name: a, objective: 99, severities: [], period: 7d, time_zone: Asia/Tokyo, group_by: [le], indicator: {type: availability}}\n"
        '  - {name: b, objective: 99, indicator: {type: ratio, bad: "rate(x[{{.window}}]", total: "rate(x[{{.window}}])"}}\n'
        "  - {name: c, objective: 0.3, severities: [ticket], indicator: {type: drift}}\n"
    )

    codes = [line.rpartition("[")[2].rstrip("]") for line in mistakes(tmp_path, text)]

    assert sorted(codes) == ["OBS-PQL-001", "OBS-SLO-003", "OBS-SLO-003", "OBS-SLO-005", "OBS-SLO-005", "OBS-SLO-008", "OBS-SLO-010"]


def test_a_wrong_period_is_no_mistake_of_its_zone_and_tiers(tmp_path):
    (line,) = mistakes(tmp_path, GOOD.replace("0.999\n", "0.999\n    period: monthly\n    time_zone: Asia/Tokyo\n"))

    assert "period 'monthly' is not a duration" in line


def test_a_folder_stands_for_its_files_with_either_ending(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yml").write_text(GOOD.replace("shop", "bank"))
    (tmp_path / "c.md").write_text("# words")

    assert [slo.service for slo in load_slos(tmp_path)] == ["shop", "bank"]


def test_an_slo_defined_in_two_files_is_refused(tmp_path):
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(GOOD)

    with pytest.raises(SpecErrors, match="OBS-SLO-009"):
        load_slos(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"- 1", b"a: &x [*x]", b"? [a]\n: 1", b"\x00", b"[" * 3000])
def test_a_file_that_is_no_spec_is_an_error_and_no_traceback(tmp_path, content):
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)

    with pytest.raises(ObsError, match=r"odd\.yaml.*OBS-SLO-"):
        load_slos(path)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.decimals(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "objective", "indicator", "type", "period", "labels", "tiers", "of", "bad", "upstream", "budget_policy", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["service", "team", "slos", "labels", "time_zone", "budget_policy", "z"]),
        json_like | st.lists(json_like, max_size=3),
    )
)
def test_no_document_breaks_the_reader(document):
    with suppress(SpecErrors):
        parse_slos(document)


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_no_litter(tmp_path, monkeypatch):
    target = tmp_path / "rules.yaml"
    target.write_text("old")

    def full(_self, _target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(PlatformError, match="No space left on device"):
        write_atomically(target, "new")

    assert [path.name for path in tmp_path.iterdir()] == ["rules.yaml"]
    assert target.read_text() == "old"
