"""YAML that people write: read exactly, refused with its line, and never a way to hang or to kill the process."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.adapters.yaml_documents import MAX_BYTES, parse_documents, read_document, read_documents
from mlops_obs.errors import SpecError
from mlops_obs.slo.foreign.yaml_writer import document


def value(text):
    (one,) = parse_documents(text, "f")
    return one.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("99.9", Decimal("99.9")),
        ("0.10", Decimal("0.10")),
        ("1_000", 1_000),
        ("-5", -5),
        ("yes", True),
        ("Off", False),
        ("'yes'", "yes"),
        ("!!str 5", "5"),
        ("2026-01-02", "2026-01-02"),
        ("1:30", "1:30"),
        ("0x1F", "0x1F"),
        ("1e5", "1e5"),
        (".inf", ".inf"),
        ("[a, 1, ~]", ["a", 1, None]),
        ("{<<: {a: 1, b: 2}, b: 3}", {"a": 1, "b": 3}),
        ("{b: 3, <<: [{a: 1}, {a: 2, c: 4}]}", {"b": 3, "a": 1, "c": 4}),
        ("{x: &x [1], y: *x}", {"x": [1], "y": [1]}),
    ],
)
def test_scalars_and_collections_are_read_exactly(text, expected):
    found = value(text)

    assert found == expected
    assert type(found) is type(expected)


def test_several_documents_are_read_and_empty_ones_are_not():
    found = parse_documents("---\n---\na: 1\n---\n# nothing\n---\nb: 2\n", "f")

    assert [(one.value, one.line) for one in found] == [({"a": 1}, 3), ({"b": 2}, 7)]


def test_every_path_of_keys_has_its_line_and_a_missing_key_that_of_its_parent():
    (one,) = parse_documents("a:\n  - b: 1\n    c:\n      d: 2\n", "f")

    assert one.locate(("a", 0, "c", "d")) == "f:4"
    assert one.locate(("a", 0, "c", "missing")) == "f:3"
    assert one.locate(("a", 9)) == "f:1"
    assert one.locate(()) == "f:1"


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
LONG = "a: &a " + "x" * 500_000 + "\nb: [" + ", ".join(["*a"] * 1_000) + "]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "f:1: is not valid YAML: nested deeper than 64 levels"),
        ("{a: " * 100_000, "nested deeper than 64 levels"),
        ("- " * 5_000, "nested deeper than 64 levels"),
        (BOMB, "is not valid YAML: with its aliases it stands for more than"),
        (LONG, "with its aliases it stands for more than"),
        ("a: &a [*a]", "the alias *a names nothing before it"),
        ("a: 1\nb: 2\na: 3", "f:3: is not valid YAML: the key 'a' stands here for the second time"),
        ("? [a]\n: 1", "a key is not plain text"),
        ("a: !!python/object/apply:os.system [x]", "is not known here"),
        ("a: !mine x", "the tag '!mine' is not known here"),
        ("<<: 1", "<< merges mappings only"),
        ("a: b: c", "f:1: is not valid YAML: mapping values are not allowed"),
        ("a: [", "f:2: is not valid YAML"),
        ("\x00", "control characters are not allowed"),
        ("\ud800", "is not valid YAML"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(text, said):
    with pytest.raises(SpecError) as caught:
        parse_documents(text, "f")

    assert said in str(caught.value)
    assert caught.value.code == "OBS-SLO-001"


def test_files_are_refused_if_they_are_away_too_large_or_not_text(tmp_path):
    (tmp_path / "large").write_bytes(b"#" * (MAX_BYTES + 1))
    (tmp_path / "latin").write_bytes(b"a: \xe9\n")
    (tmp_path / "two").write_text("a: 1\n---\nb: 2\n")

    for name, said in {"gone": "cannot be read", "large": "is larger than", "latin": "is not UTF-8 text"}.items():
        with pytest.raises(SpecError, match=said):
            read_documents(tmp_path / name)
    with pytest.raises(SpecError, match="two:3: holds a second document"):
        read_document(tmp_path / "two")


def test_what_never_ends_is_refused_as_too_large():
    with pytest.raises(SpecError, match="is larger than"):
        read_documents(Path("/dev/zero"))


def test_an_empty_file_is_no_document(tmp_path):
    (tmp_path / "empty").write_text("# only words\n")

    found, locate = read_document(tmp_path / "empty")

    assert (found, locate(("a",))) == (None, f"{tmp_path / 'empty'}:1")


scalars = st.one_of(
    st.text(max_size=40),
    st.text("ab:#-{}[]&*!|>'\"%@`,? \n\t0.eyn", max_size=12),
    st.sampled_from(
        ["", "yes", "1e5", "~", " x", "x ", "a: b", "a #b", "\n", "\na", " a\nb", "a\n\n", "a\n b\n", "\u2028", "\ufeff", "30d", "0m"]
    ),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-1_000, max_value=1_000, places=6),
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10).filter(lambda key: key != "<<"), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=10).filter(lambda key: key != "<<"), trees, min_size=1, max_size=4), st.text(max_size=30))
@settings(max_examples=400, deadline=None)
def test_what_is_written_is_read_back_as_it_was(tree, comment):
    assert value(document(tree, [comment])) == tree
