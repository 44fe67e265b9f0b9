"""What an import or export could not carry over, said field by field.

A migration that drops an alert label in silence is found out in an incident. So every field of a foreign document is either
read or reported, and `fields.py` does the reporting by itself: a key that no importer asked for is a loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

LossKind = Literal["left out", "dropped", "changed", "assumed"]


@dataclass(frozen=True, slots=True)
class Loss:
    """One thing that is not the same on the other side.

    `left out`: a whole SLO has no counterpart. `dropped`: a field is gone. `changed`: it means something else now.
    `assumed`: the other side needs it, the document does not say it.
    """

    kind: LossKind
    slo: str
    field: str
    what: str
    where: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        about = " ".join(part for part in (self.slo, self.field) if part)
        return "".join(char if char.isprintable() else " " for char in f"{place}{self.kind}: {about}: {self.what}")

    def document(self) -> dict[str, str]:
        """Return the loss as a mapping of texts, for `--losses json`."""
        return {"kind": self.kind, "slo": self.slo, "field": self.field, "what": self.what, "where": self.where}


@dataclass(frozen=True, slots=True)
class Carried:
    """One service's SLOs as a document of ours: `body` is what `parse_slos` reads, `places` says where each came from.

    `places[i]` maps a field of `body["slos"][i]` to its `file:line` in the foreign document, and "" to the SLO's own.
    """

    body: Mapping[str, Any]
    places: Sequence[Mapping[str, str]]

    def locate(self, path: tuple[int | str, ...]) -> str:
        """Return where in the foreign document a path of keys of `body` comes from."""
        if len(path) > 1 and path[0] == "slos" and isinstance(path[1], int) and path[1] < len(self.places):
            known = self.places[path[1]]
            return known.get(str(path[2]) if len(path) > 2 else "", known.get("", ""))
        return self.places[0].get("", "") if self.places else ""
