"""The schema that a person gives: what columns are and what they are to the model, where the guess from the first rows is wrong.

columns:
  zip_code: category          # a kind: number, category, boolean, timestamp, text, embedding
  customer_id: id             # a role: id or ignore (left out), feature, prediction, label, segment, time
  score: {kind: number, role: prediction}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlops_obs.adapters.yaml_documents import read_documents
from mlops_obs.collectors.drift.columns import ColumnKind, Role
from mlops_obs.errors import SpecError

LEFT_OUT = ("id", "ignore")
SEGMENT, TIME = "segment", "time"
_KINDS = {one.value for one in ColumnKind}
_ROLES = {one.value for one in Role} | {*LEFT_OUT, SEGMENT, TIME}


@dataclass(frozen=True, slots=True)
class Overrides:
    """Kinds and roles by column; `left_out`, with the reason; the segment and the time column."""

    kinds: Mapping[str, ColumnKind] = field(default_factory=dict)
    roles: Mapping[str, Role] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    segment: str = ""
    time: str = ""


def read_overrides(path: Path) -> Overrides:
    """Read a schema of a person, YAML or JSON.

    Raises:
        SpecError: OBS-TAB-008 with everything that is wrong in it.
    """
    documents = read_documents(path)
    columns = documents[0].value.get("columns") if len(documents) == 1 and isinstance(documents[0].value, dict) else None
    if not isinstance(columns, dict):
        raise SpecError("OBS-TAB-008", "no schema of a table", where=str(path), todo="write columns: {NAME: KIND or ROLE}")
    problems: list[str] = []
    kinds: dict[str, ColumnKind] = {}
    roles: dict[str, str] = {}
    for name, given in columns.items():
        words = given if isinstance(given, dict) else {("kind" if given in _KINDS else "role"): given}
        for what, value in words.items():
            if what == "kind" and value in _KINDS:
                kinds[str(name)] = ColumnKind(value)
            elif what == "role" and value in _ROLES:
                roles[str(name)] = str(value)
            else:
                problems.append(f"{name}: {what} {value!r} is unknown")
    problems += [f"more than one {role}" for role in (SEGMENT, TIME) if list(roles.values()).count(role) > 1]
    if problems:
        todo = f"kinds are {', '.join(sorted(_KINDS))}; roles are {', '.join(sorted(_ROLES))}"
        raise SpecError("OBS-TAB-008", "; ".join(problems), where=str(path), todo=todo)
    by_role = {role: name for name, role in roles.items()}
    return Overrides(
        kinds,
        {name: Role(role) for name, role in roles.items() if role in {one.value for one in Role}},
        {name: f"{role}, by the schema" for name, role in roles.items() if role in LEFT_OUT},
        by_role.get(SEGMENT, ""),
        by_role.get(TIME, ""),
    )
