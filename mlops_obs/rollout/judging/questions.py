"""What is asked of every slice: errors, slow requests, and each gate that counts.

The trap: absent is not zero. A gate that has no data in a slice says nothing about it; a cohort of labels that becomes
mature speaks for the whole time since the last one, not for the two seconds in which it was noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlops_obs.rollout.evidence.slices import Counts, Slice
from mlops_obs.rollout.spec.gates import CountersGate, Gate, LatencyGate, QualityGate, SloGate
from mlops_obs.rollout.spec.rollout import Rollout

Pick = Callable[[Counts], Sequence[tuple[int, int]] | None]


@dataclass(frozen=True, slots=True)
class Question:
    """One test; `words` end the sentence "58 % of v2's requests ...".

    `pick` takes (bad, all) of an arm from a slice: several for several bounds, None if there is no data.
    """

    name: str
    words: str
    pick: Pick
    margin: float | None = None
    dry_run: bool = False
    whole: bool = False
    """Counts are told once for the time since the last ones, and accepted over the whole rollout: labels come by cohort."""
    sparse: bool = False
    """Counts may be told more rarely than once a slice."""


def questions(spec: Rollout) -> tuple[Question, ...]:
    """Return what is asked of a rollout."""
    always = (
        Question("errors", "failed", lambda one: ((one.errors, one.total),), spec.non_inferiority_margin),
        Question("slow", "were slow", lambda one: ((one.slow, one.timed),), spec.slow_margin),
    )
    return always + tuple(found for gate in spec.gates if (found := _of_gate(gate, spec)))


def _of_gate(gate: Gate, spec: Rollout) -> Question | None:
    if isinstance(gate, LatencyGate):
        return Question(gate.name, "were slower at some bound of the histogram", _slower, dry_run=gate.dry_run)
    pick = _counted(gate.name)
    if isinstance(gate, SloGate):
        return Question(gate.name, f"were bad for {gate.slo}", pick, spec.non_inferiority_margin, gate.dry_run, sparse=True)
    if isinstance(gate, CountersGate):
        return Question(gate.name, f"were bad ({gate.name})", pick, gate.margin, gate.dry_run, sparse=True)
    if isinstance(gate, QualityGate):
        return Question(gate.name, "were predicted wrongly", pick, gate.margin, gate.dry_run, whole=True, sparse=True)
    return None


def _slower(counts: Counts) -> Sequence[tuple[int, int]] | None:
    return tuple((one, counts.timed) for one in counts.slower) or None


def _counted(name: str) -> Pick:
    def pick(counts: Counts) -> Sequence[tuple[int, int]] | None:
        found = counts.gates.get(name)
        return None if found is None else (found,)

    return pick


def pairs(question: Question, one: Slice) -> tuple[tuple[int, int, int, int], ...]:
    """Return (canary bad, all, stable bad, all) of a slice, one for each bound; empty if either arm has no data."""
    canary, stable = question.pick(one.canary), question.pick(one.stable)
    if canary is None or stable is None or len(canary) != len(stable):
        return ()
    return tuple((*mine, *theirs) for mine, theirs in zip(canary, stable, strict=True))
