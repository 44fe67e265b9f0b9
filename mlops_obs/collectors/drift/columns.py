"""What a column is, and how a block of rows is held in memory: the one form that every reader produces and every sketch takes.

A block is `{column name: data}`. Numbers, timestamps (seconds since the epoch) and texts (their length in characters) are
float64 arrays; categories and booleans are `Categories`, codes into a list of names; embeddings are float32 arrays of
shape (rows, size). What is missing or of a wrong type is data too, and keeps its row.

The trap: NaN says "no number" for two reasons. A value that was not there is `MISSING`, one that was there and is not of the
column's kind ("abc" in a column of numbers) is `INVALID`: both are NaN, told apart by their bits, which copies keep and
arithmetic does not. Ask `is_invalid` before you compute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_obs.errors import SpecError

Numbers = NDArray[np.float64]
Vectors = NDArray[np.float32]

MISSING = float("nan")
_INVALID_BITS = np.uint64(0x7FF8_0000_0000_0BAD)
INVALID = float(_INVALID_BITS.view(np.float64))
MISSING_CODE, INVALID_CODE = -1, -2


class ColumnKind(StrEnum):
    """What the values of a column are."""

    NUMBER = "number"
    CATEGORY = "category"
    BOOLEAN = "boolean"  # kept as the categories "false" and "true"
    TIMESTAMP = "timestamp"  # kept as seconds since 1970-01-01 UTC
    TEXT = "text"  # kept as the number of characters
    EMBEDDING = "embedding"


class Role(StrEnum):
    """What a column is to the model."""

    FEATURE = "feature"
    PREDICTION = "prediction"
    LABEL = "label"


@dataclass(frozen=True, slots=True)
class Categories:
    """A column of names: `codes` (rows,) int64 into `names`; MISSING_CODE and INVALID_CODE for what is no name."""

    codes: NDArray[np.int64]
    names: Sequence[str]


ColumnData = Numbers | Categories | Vectors
Block = Mapping[str, ColumnData]


@dataclass(frozen=True, slots=True)
class Column:
    """A column as a reference knows it.

    Args:
        name: its name in tables and requests.
        kind: what its values are.
        role: feature, prediction or label.
        origin: subtracted before numbers are sketched, so that values which vary little far from zero keep their resolution.
        size: length of an embedding.
        coded: names of a category that are numbers in the table (1, 2, 3), by a person's schema.
    """

    name: str
    kind: ColumnKind = ColumnKind.NUMBER
    role: Role = Role.FEATURE
    origin: float = 0.0
    size: int = 0
    coded: bool = False


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a table, in the model's order."""

    columns: tuple[Column, ...]
    _by_name: dict[str, Column] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._by_name.update((one.name, one) for one in self.columns)

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __getitem__(self, name: str) -> Column:
        return self._by_name[name]

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the model's order."""
        return tuple(one.name for one in self.columns)

    def to_json(self) -> list[dict[str, Any]]:
        """Return plain data; what has its default is left out."""
        return [
            {"name": one.name, "kind": one.kind.value}
            | ({"role": one.role.value} if one.role is not Role.FEATURE else {})
            | ({"origin": one.origin.hex()} if one.origin else {})
            | ({"size": one.size} if one.size else {})
            | ({"coded": True} if one.coded else {})
            for one in self.columns
        ]

    @classmethod
    def from_json(cls, columns: Sequence[Mapping[str, Any]]) -> Schema:
        """Read what `to_json` wrote.

        Raises:
            SpecError: OBS-DRF-009 if it is something else.
        """
        try:
            return cls(
                tuple(
                    Column(
                        str(one["name"]),
                        ColumnKind(one["kind"]),
                        Role(one.get("role", Role.FEATURE)),
                        float.fromhex(one["origin"]) if "origin" in one else 0.0,
                        int(one.get("size", 0)),
                        bool(one.get("coded", False)),
                    )
                    for one in columns
                )
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SpecError("OBS-DRF-009", f"not a list of columns: {error}", todo="write it again with `obs drift profile`") from error


def is_invalid(values: Numbers) -> NDArray[np.bool_]:
    """Return which of `values` are INVALID."""
    found: NDArray[np.bool_] = np.ascontiguousarray(values).view(np.uint64) == _INVALID_BITS
    return found


def rows_of(block: Block) -> int:
    """Return the number of rows of a block."""
    for data in block.values():
        return len(data.codes) if isinstance(data, Categories) else len(data)
    return 0
