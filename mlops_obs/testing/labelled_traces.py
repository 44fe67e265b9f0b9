"""A bank of traces with the right answer written beside: the canary's fault, a shared incident, a telemetry fault, or nothing.

Its stories are drawn, not listed: when an incident begins, how long and how bad it is, how noisy the canary, how busy the
service, how wide the intervals. The trap is a bank that nobody could answer: what the traffic cannot show within the trace
(a doubled ratio of 0.5 % at two requests a second) is not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from mlops_obs.testing.traces import FAMILIES, Story, Trace, blind, shared_incident, trace

_Draw = Callable[[np.random.Generator], Story]
_ANY, _BUSY, _BUSIEST = (2.0, 20.0, 200.0, 2000.0), (20.0, 200.0, 2000.0), (200.0, 2000.0)


def _noisy(story: Story, rng: np.random.Generator) -> Story:
    """Add the noise that a real service has: in two of three stories."""
    kind = rng.integers(3)
    if kind == 0:
        return story
    return replace(story, shared_noise=float(rng.uniform(0.1, 0.35)), canary_noise=float(rng.uniform(0.0, 0.3)) if kind == 2 else 0.0)


def _incident(rng: np.random.Generator) -> Story:
    return shared_incident(float(rng.integers(6, 20)), float(rng.integers(3, 8)), float(rng.uniform(6, 20)))


def _outage(what: str) -> _Draw:
    return lambda rng: blind(what, float(rng.integers(3, 22)), float(rng.integers(4, 8)))


def _regression(factor: float, metric: str) -> _Draw:
    whose = replace(FAMILIES["errors-10x"], errors=factor) if metric == "errors" else replace(FAMILIES["slow-10x"], slow=factor)
    return lambda rng: replace(whose, since=float(rng.choice([0.0, 0.0, 8.0])))


def _of(name: str) -> _Draw:
    return lambda _: FAMILIES[name]


# Drawn story, and the requests per second at which its answer can be known.
_CANARY: Sequence[tuple[_Draw, Sequence[float]]] = (
    (_regression(10.0, "errors"), _ANY),
    (_regression(10.0, "slow"), _ANY),
    (_regression(4.0, "errors"), _BUSIEST),
    (_regression(4.0, "slow"), _BUSIEST),
    (_of("total-failure"), _ANY),
    (_of("bad-pod"), _BUSY),
    (_of("slow-ramp"), _ANY),
    (_of("incident-and-10x"), _BUSY),
    (_of("outage-then-10x"), _BUSY),
)
_SHARED: Sequence[tuple[_Draw, Sequence[float]]] = ((_incident, _BUSY), (_incident, _ANY))
_TELEMETRY: Sequence[tuple[_Draw, Sequence[float]]] = (
    *((_outage(what), _ANY) for what in ("all", "canary", "pod", "nan", "zero")),
    (_of("traffic-0"), _ANY),
    (_of("sticky"), _BUSY),
)
_NOTHING: Sequence[tuple[_Draw, Sequence[float]]] = (
    (_of("null"), _ANY),
    (_of("shared-noise"), _ANY),
    (_of("canary-noise-0.3"), _ANY),
    (_of("canary-noise-0.6"), _ANY),
    (_of("pod-noise"), _ANY),
    (_of("warm-up"), _ANY),
    (_of("stable-worse"), _ANY),
    (_of("stable-bad-pod"), _ANY),
)


def labelled_bank(seed: int, size: int = 300) -> list[Trace]:
    """Draw `size` traces: a third the canary's fault, and equal parts shared incidents, telemetry faults and nothing at all.

    Each trace has its answer in `verdict`, `attribution` and `told`. The same seed gives the same bank.
    """
    rng = np.random.default_rng([seed, 300])
    classes = (_CANARY, _SHARED, _TELEMETRY, _CANARY, _NOTHING, _TELEMETRY, _SHARED, _NOTHING, _CANARY)
    found = []
    for index in range(size):
        options = classes[index % len(classes)]
        draw, speeds = options[int(rng.integers(len(options)))]
        story = draw(rng)
        if story.attribution in ("canary", "shared"):
            story = _noisy(story, rng)
        pods = int(rng.integers(3, 7))
        found.append(
            trace(
                story,
                rps=float(rng.choice(speeds)),
                seed=int(rng.integers(2**31)),
                interval=int(rng.choice([10, 60])),
                weight=float(rng.choice([10.0, 20.0])),
                pods=(pods, pods),
            )
        )
    return found


def said_right(story: Trace, heard: Sequence[tuple[float, str, str]]) -> bool:
    """Tell whether a judge answered a labelled trace rightly; `heard` has its (t, verdict, attribution) per interval, `t` from the start.

    A fault of the canary must end in a rollback that is blamed on the canary. Everything else must never be rolled back;
    a shared incident or a telemetry fault must be called by its name while it lasts or within two minutes after, and where
    nothing is wrong nothing may be claimed.
    """
    rolled_back = [attribution for _, verdict, attribution in heard if verdict == "rollback"]
    if story.attribution == "canary":
        return bool(rolled_back) and rolled_back[0] == "canary"
    if rolled_back:
        return False
    if story.attribution == "none":
        return all(attribution == "none" for _, _, attribution in heard)
    first, last = story.told
    return any(attribution == story.attribution and first <= t <= last + 120 for t, _, attribution in heard)
