"""A selector means the same as in Prometheus, and what is none is refused."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.adapters.promql import check_selector
from mlops_obs.errors import SpecError
from mlops_obs.slo.selectors import Selector, parse_selector

texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=8)
labels = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,6}", fullmatch=True).filter(lambda name: not name.startswith("__"))


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("up", Selector("up")),
        (" up { } ", Selector("up")),
        ('job:up:sum{a="b",}', Selector("job:up:sum", {"a": "b"})),
        ("up{a='it\\'s', b=`\\d`}", Selector("up", {"a": "it's", "b": "\\d"})),
        ('up{a="\\u00e9\\n\\x41"}', Selector("up", {"a": "é\nA"})),
        ('up{a!="b", c=~"5..", d!~"4.."}', Selector("up", {}, {"a": "b"}, {"c": "5.."}, {"d": "4.."})),
        ('up{a!="1.5", a!~"4.."}', Selector("up", not_matching={"a": r"(?:1\.5)|(?:4..)"})),
    ],
)
def test_a_selector_is_read(text, selector):
    assert parse_selector(text) == selector
    assert parse_selector(str(selector)) == selector, "what is written is read again"


@pytest.mark.parametrize(
    "text",
    ["", "5xx", "sum(up)", "up[5m]", "up offset 5m", "up{", "up{a}", 'up{a="b" c="d"}', 'up{a="b"} + 1', 'up{a="b', 'up{a=~"("}',
     'up{a="b", a="c"}', 'up{a="\\q"}', 'up{,}', 'up{a="\\ud800"}', 'up{a="b\nc"}'],
)  # fmt: skip
def test_what_is_no_selector_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_selector(text)


def test_a_label_that_is_not_there_is_empty_and_expressions_are_anchored():
    selector = Selector("up", {"a": ""}, {"b": ""}, {"c": "5.."}, {"d": "x.*"})

    assert selector.accepts({"b": "1", "c": "503", "d": "ax"})
    assert not selector.accepts({"a": "1", "b": "1", "c": "503"})
    assert not selector.accepts({"c": "503"})
    assert not selector.accepts({"b": "1", "c": "1503"})
    assert not selector.accepts({"b": "1", "c": "503", "d": "x"})


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(labels, texts, max_size=3), st.dictionaries(labels, texts, max_size=2))
def test_what_is_written_is_read_by_us_and_by_a_parser_of_promql(equal, unequal):
    selector = Selector("up", equal, {key: value for key, value in unequal.items() if key not in equal})

    assert parse_selector(str(selector)) == selector
    found = {(one.label, one.op): one.value for one in check_selector(str(selector)).matchers}
    assert found == {**{(k, "="): v for k, v in selector.equal.items()}, **{(k, "!="): v for k, v in selector.unequal.items()}}


@settings(max_examples=500, deadline=None)
@given(st.text(st.sampled_from("up{}a=b!~\"'`\\,x5.( )\n"), max_size=20) | st.text(max_size=12))
def test_no_text_breaks_the_reader_and_none_is_accepted_that_prometheus_would_refuse(text):
    refused = ""
    with suppress(ValueError):
        parse_selector(text)
        try:
            check_selector(text)
        except SpecError as error:
            refused = str(error)

    assert not refused or "regular expression" in refused or "regex" in refused, "the two dialects of expressions differ"
