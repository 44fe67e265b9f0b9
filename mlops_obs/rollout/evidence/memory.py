"""What the controller keeps between two looks so that a look is cheap; all of it can be lost at any time.

The trap is a cache that outlives the truth. After a restart, or when another controller has written meanwhile, everything
here is thrown away and the slices come from the records again: the log is the memory, this is only its copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mlops_obs.rollout.evidence.reader import EvidenceReader
from mlops_obs.rollout.evidence.slices import Slice
from mlops_obs.rollout.gates import GateWatch
from mlops_obs.rollout.machine.inputs import read_slice, write_slice
from mlops_obs.rollout.ports import WayBack


@dataclass
class Memory:
    """Of one rollout at one version: slices that are in records, those that are not yet, and what reads more of them."""

    rollout: str
    version: int
    reader: EvidenceReader
    gates: GateWatch | None
    recorded: list[Slice] = field(default_factory=list)
    fresh: list[Slice] = field(default_factory=list)
    way_back: tuple[float, WayBack] | None = None

    @property
    def slices(self) -> list[Slice]:
        """All slices so far, oldest first."""
        return [*self.recorded, *self.fresh]

    def learn(self, new: Sequence[Slice]) -> None:
        """Take slices that are new, in the very form in which they will be recorded."""
        self.fresh += [read_slice(write_slice(one)) for one in new]

    def saved(self, version: int, *, recorded: bool) -> None:
        """Note that the store has a new version, and whether the fresh slices went into a record with it."""
        self.version = version
        if recorded:
            self.recorded += self.fresh
            self.fresh = []
