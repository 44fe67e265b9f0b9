"""W3C Trace Context: read and write `traceparent`, and decide whether to trace at all.

The decision comes before any tracing library is called. OpenTelemetry's own "never sample" still builds a span and costs about
6 us; a request that is not sampled must cost less than a counter. The trap: an unsampled request must still pass a header on,
else the next service makes its own decision and traces begin in the middle.
"""

from __future__ import annotations

from dataclasses import dataclass

_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class TraceParent:
    """A parent in another process: 32 and 16 hex digits, and whether it is being recorded."""

    trace_id: str
    span_id: str
    sampled: bool


def parse_traceparent(header: str | None) -> TraceParent | None:
    """Read a `traceparent` header. None if it is absent or malformed: a broken header starts a new trace, it is never an error."""
    if not header:
        return None
    parts = header.strip().split("-")
    if len(parts) < 4:
        return None
    version, trace_id, span_id, flags = parts[:4]
    if len(version) != 2 or len(trace_id) != 32 or len(span_id) != 16 or len(flags) != 2 or version == "ff":
        return None
    if version == "00" and len(parts) != 4:
        return None
    if not _HEX.issuperset(version + trace_id + span_id + flags):
        return None
    if trace_id == "0" * 32 or span_id == "0" * 16:
        return None
    return TraceParent(trace_id, span_id, bool(int(flags, 16) & 1))


def format_traceparent(trace_id: str, span_id: str, sampled: bool) -> str:
    """Write a `traceparent` header."""
    return f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}"
