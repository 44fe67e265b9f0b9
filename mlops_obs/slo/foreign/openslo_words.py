"""The words of OpenSLO v1, and the annotations that carry what it has no words for.

OpenSLO lets an implementation put its own data into annotations; ours begin with `mlops-obs/`. A policy of OpenSLO v1 has one
condition with one window, so the short window of a pair is an annotation of its condition. Policies of one SLO are read as OR,
several conditions of one policy as AND, which is how its maintainers propose to extend it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from decimal import Decimal

from mlops_obs.durations import format_duration
from mlops_obs.slo.foreign.fields import Fields
from mlops_obs.slo.spec import SLO

VERSION = "openslo/v1"
KINDS = ("Service", "SLO", "SLI", "DataSource", "AlertPolicy", "AlertCondition", "AlertNotificationTarget")
PREFIX = "mlops-obs/"
NAME, INDICATOR, GROUPS, BAD_EVENTS, BOUND, REPLAN, TRAFFIC, UPSTREAM, POLICY, LABELS, DESCRIPTION, TIER, SHORT = (
    f"{PREFIX}{word}"
    for word in (
        "name", "indicator", "group-by", "min-bad-events", "statistical-bound", "replan", "expected-traffic", "upstream",
        "budget-policy", "labels", "description", "tier", "short-window",
    )
)  # fmt: skip
START = "2024-01-01 00:00:00"  # a Monday, and the first day of a month and a quarter
OURS = "mlops-obs:"  # begins the descriptions of services and targets that an export adds
LONGEST_TEXT, LONGEST_NAME = 1_050, 63
BUDGETING = {"occurrences": "Occurrences", "timeslices": "Timeslices", "ratio_timeslices": "RatioTimeslices"}
SLICE = 300
CALENDAR = {"week": "1w", "month": "1M", "quarter": "1Q"}
LABEL_KEY = re.compile(r"[a-z0-9]([-._a-z0-9]{0,61}[a-z0-9])?")
_SHORTHAND = re.compile(r"([0-9]{1,6})([mhdwMQY])")
_UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "M": 30 * 86_400, "Q": 90 * 86_400, "Y": 365 * 86_400}


def unknown(kind: str, name: str, at: Fields, *keys: int | str) -> None:
    """Report that an object is referred to and not there."""
    what = f"{kind} {name[:LONGEST_NAME]!r} is in none of the documents"
    at.report.wrong("OBS-IMP-006", what, "import it together with the SLO", (*at.path, *keys))


def object_name(*words: str) -> str:
    """Return a name for an object made of `words`, at most 63 characters; a long one ends in a checksum of the whole."""
    text = "-".join(words)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 9].rstrip('-')}-{zlib.crc32(text.encode()):08x}"


def slo_object_name(service: str, name: str) -> str:
    """Return the name of the SLO's object: names are unique among all services there."""
    return object_name(service, name)


def shorthand(seconds: int) -> str:
    """Write whole minutes as OpenSLO does: a number and m, h or d."""
    return format_duration(seconds) if seconds % 60 == 0 and seconds else f"{max(1, seconds // 60)}m"


def parse_shorthand(text: str) -> int | None:
    """Return the seconds of an OpenSLO duration (a month is 30 days, a quarter 90, a year 365), None if it is none."""
    found = _SHORTHAND.fullmatch(text)
    return int(found[1]) * _UNITS[found[2]] if found and int(found[1]) else None


def time_window(slo: SLO) -> dict[str, object]:
    """Return the time window of `slo`."""
    if slo.calendar is None:
        return {"duration": shorthand(slo.period_seconds), "isRolling": True}
    zone = "Etc/UTC" if slo.time_zone == "UTC" else slo.time_zone
    return {"duration": CALENDAR[slo.calendar], "isRolling": False, "calendar": {"startTime": START, "timeZone": zone}}


def plain(value: object) -> object:
    """Return `value` with exact decimals as text, so that it can stand in JSON."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return format(value, "f") if isinstance(value, Decimal) else value
