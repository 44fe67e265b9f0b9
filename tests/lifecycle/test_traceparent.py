from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.lifecycle.trace_context import TraceParent, format_traceparent, parse_traceparent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_the_example_of_the_w3c_reads() -> None:
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-01") == TraceParent(TRACE, SPAN, True)
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-00") == TraceParent(TRACE, SPAN, False)


def test_a_later_version_with_more_fields_still_reads() -> None:
    assert parse_traceparent(f"01-{TRACE}-{SPAN}-03-more") == TraceParent(TRACE, SPAN, True)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-zz",
    ],
)
def test_a_broken_header_is_no_parent_and_no_error(header: str | None) -> None:
    assert parse_traceparent(header) is None


@given(st.text())
def test_no_header_at_all_can_break_the_parser(header: str) -> None:
    parse_traceparent(header)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_is_written_reads_back(trace: int, span: int, sampled: bool) -> None:
    parent = TraceParent(f"{trace:032x}", f"{span:016x}", sampled)

    assert parent == parse_traceparent(format_traceparent(parent.trace_id, parent.span_id, sampled))
