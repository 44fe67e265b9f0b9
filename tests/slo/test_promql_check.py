"""PromQL from people is parsed before it is accepted, and an error says where."""

from __future__ import annotations

import random

import pytest

from mlops_obs.adapters.promql import check_expression, check_selector, tree
from mlops_obs.errors import SpecError
from mlops_obs.slo.promql_tree import Matcher, VectorSelector, write


def _error(check, text: str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        check(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("foo bar", "column 5: 'bar' cannot stand here"),
        ("sum(x) by by (a)", "column 11: 'by' cannot stand here"),
        ("a +", "column 4: the end is missing"),
        ("sum(x))", "column 7: unexpected right parenthesis"),
        ("a +\n  rate(b)", "line 2, column 3: expected type matrix in call to function 'rate'"),
        ("x > 1 and nosuch(y)", "column 11: unknown function with name 'nosuch'"),
        ("a and (scalar(x) > 1)", "column 7: comparisons between scalars must use BOOL modifier"),
        ('sum(rate(x{code="5.."}[5q]))', "column 24: bad number or duration syntax: 5q"),
        ("x[1e300]", "a time in it is longer than any history"),
        ('x{a="b" or c="d"}', "`or` between label matchers"),
        ("x\ud800", "half of a surrogate pair"),
        ("", "no expression found"),
    ],
)
def test_a_mistake_is_named_with_its_place(text, place):
    error = _error(tree, text)

    assert error.code == "OBS-PQL-001"
    assert place in str(error)


@pytest.mark.parametrize("text", ["(" * 50_000, "-" * 50_000 + "x", "x" + "+x" * 40_000, "sum(" * 2_000 + "x" + ")" * 2_000])
def test_deep_nesting_is_refused_before_the_parser_ends_the_process(text):
    assert "nests or chains more than" in str(_error(tree, text))


def test_a_selector_is_read_with_its_matchers():
    found = check_selector("http_requests_total{job=\"api\", code!~'5..'}")

    assert found == VectorSelector("http_requests_total", (Matcher("job", "=", "api"), Matcher("code", "!~", "5..")))


@pytest.mark.parametrize("text", ["sum(x)", "x[5m]", '{job="api"}', "x offset 5m", "x @ end()", "1"])
def test_what_is_more_or_less_than_a_selector_is_refused_as_one(text):
    assert _error(check_selector, text).code == "OBS-PQL-002"


@pytest.mark.parametrize("text", ["x[5m]", '"text"', "x[1h:5m]"])
def test_an_expression_that_no_rule_can_record_is_refused(text):
    assert _error(check_expression, text).code == "OBS-PQL-003"


def test_a_windowed_expression_must_hold_its_placeholder():
    assert check_expression("sum(increase(x[{{ .window }}]))", windowed=True) == tree("sum(increase(x[5m]))")
    assert _error(lambda text: check_expression(text, windowed=True), "sum(increase(x[5m]))").code == "OBS-PQL-004"


def test_the_placeholder_shifts_no_column():
    assert "column 34: 'b' cannot stand here" in str(_error(check_expression, "sum(increase(x[{{.window}}])) /a b"))


def test_white_space_quotes_and_brackets_make_no_difference_to_the_tree():
    assert tree("sum by(a)(rate(x{b='c'}[60s]))>((0.1))") == tree('sum(rate(x{ b = "c" }[1m])) by (a) > 0.1')


@pytest.mark.parametrize(
    "text",
    [
        "a - (b - c)",
        "(a + b) * c",
        "(a ^ b) ^ c",
        "-(a ^ 2)",
        "(-a) ^ 2",
        "(a or b) and c",
        "a > (b > c)",
        'sum by (x) (rate(y{a="b\\"c", d=~"e"}[5m] @ end() offset -1h)) > bool on (q) group_left (z) 3 * topk(2, w)',
        "sum_over_time((x > 3)[1h:5m])",
        '{__name__="foo.bar", a="b"}',
        "0.0009999999999999432",
    ],
)
def test_a_written_tree_reads_as_itself(text):
    assert write(tree(text)) == text
    assert tree(write(tree(text))) == tree(text)


_PIECES = (
    "sum rate ( ) ( ) { } [ ] 5m 1h x y by without on group_left and or unless > >= == + - * / ^ @ end() offset bool "
    '"a" \'b\' `c` a="b" a=~"(" , : 1 0.5 Inf NaN 9999999y 99999999999999 1e300 [1e30] vector time() histogram_quantile '
    "label_replace topk # é \x00 {{.window}} $ \\ absent 0x 1e 5q [9999999y:1ms] [5m:] x[5m] rate(x[5m]) sum(x)"
)


def test_random_texts_end_in_a_tree_or_in_one_clear_error():
    random_words, words, read = random.Random(3), _PIECES.split(" "), 0
    for _ in range(2_500):
        text = " ".join(random_words.choice(words) for _ in range(random_words.randint(1, 12)))
        for check in (tree, check_selector, check_expression):
            try:
                found = check(text)
            except SpecError as error:
                assert error.code.startswith("OBS-PQL-")  # noqa: PT017
            else:
                read += 1
                assert write(found)
    assert read > 150
