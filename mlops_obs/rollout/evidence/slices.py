"""What a rollout knows of both arms: requests per slice, or that nothing can be known now, with the reason in words.

The trap is the number that stands for two things: no requests, and no idea how many. The first is a slice of zeros, the
second a slice with `missing` or an Unknown, and no judge may take one for the other. Read by `reading.EvidenceReader`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests of one arm in one slice: all, failed, timed, and slower than the threshold.

    `slower` counts those slower than each of `Evidence.bounds`; `gates` has (bad, total) events of every other gate by its
    name; `pods` the requests, errors and slow ones by instance, where the counters tell instances apart.
    """

    total: int = 0
    errors: int = 0
    timed: int = 0
    slow: int = 0
    slower: tuple[int, ...] = ()
    gates: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    pods: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slice:
    """What both arms answered in (start, end]; `weight` is the canary's declared share in percent (None: not known).

    `missing` says in words what was not told for this slice; such a slice is no evidence for or against anybody.
    """

    start: float
    end: float
    canary: Counts
    stable: Counts
    weight: int | None = None
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All complete slices so far; `until` is the time of the newest sample, `bounds` are those of `Counts.slower` in seconds.

    `notes` are remarks on the metrics that change no verdict, such as a process that two jobs scrape.
    """

    slices: tuple[Slice, ...]
    until: float
    bounds: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unknown:
    """The evidence cannot be read or trusted now. Never a reason to raise traffic, never a reason to roll back.

    `away`: the source did not answer at all; whoever asks it more questions in this look waits for each of them.
    """

    reason: str
    away: bool = False


@dataclass(frozen=True, slots=True)
class Arms:
    """Who is compared; whether stable should be answering requests now, and since when the canary should (None: not yet)."""

    stable: str
    canary: str
    stable_live: bool
    canary_since: float | None
