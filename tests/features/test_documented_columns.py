"""The README's table of columns is the schema that is read."""

from __future__ import annotations

from pathlib import Path

from feature_train_serve import simulator
from feature_train_serve.features.events import EVENT_TYPES, KINDS
from feature_train_serve.simulator.lender import EVENT_COLUMNS

README = (Path(simulator.__file__).parent / "README.md").read_text()


def test_the_documented_columns_are_the_columns() -> None:
    rows = [line for line in README.splitlines() if line.startswith("| `")]

    documented = [tuple(cell.strip().strip("`") for cell in row.split("|")[1:3]) for row in rows]

    types = {"string": "string", "int64": "int64", "double": "float64"}
    columns = [(field.name, types[str(field.type)] + (", null" if field.nullable else "")) for field in EVENT_COLUMNS]
    assert documented == columns


def test_every_event_type_and_category_is_documented() -> None:
    words = README.replace("`", " ").split()

    for word in {*EVENT_TYPES, *(category for _, category in KINDS)}:
        assert word.strip(",;") in {found.strip(",;()") for found in words}
