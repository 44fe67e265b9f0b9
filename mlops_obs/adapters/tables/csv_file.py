"""CSV as blocks, with the standard library: bounded memory, any delimiter in use, and the line of what is wrong.

The trap: one quotation mark that nobody closes makes a field of the rest of the file, and a file without line ends is one line.
Both are limited, and said.
"""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from mlops_obs.adapters.tables.words import kind_of_words, read_words
from mlops_obs.collectors.drift.columns import Block, Column, ColumnKind
from mlops_obs.collectors.drift.inference import SAMPLE_ROWS
from mlops_obs.errors import SpecError

_LONGEST = 16 << 20  # characters of one field, or of one line
_BATCH_CELLS, _BATCH_CHARACTERS = 1_000_000, 32 << 20
_DELIMITERS = ",;\t|"
Rows = list[list[str]]


class CsvFile:
    """A CSV file with a header; `.gz` is read as it is.

    Args:
        path: the file.
        where: how to name it in errors.
    """

    def __init__(self, path: Path, where: str) -> None:
        self._path, self._where = path, where

    def kinds(self) -> dict[str, ColumnKind]:
        """Return what each column is taken for, from the first rows.

        Raises:
            SpecError: OBS-TAB-002 if this is no CSV, OBS-TAB-005 if two columns have one name.
        """
        header, batches = self._open()
        first = next(batches, [])[:SAMPLE_ROWS]
        return {name: kind_of_words([row[place] for row in first]) for place, name in enumerate(header)}

    def blocks(self, columns: Sequence[Column]) -> Iterator[Block]:
        """Yield blocks of those of the columns that the file has.

        Raises:
            SpecError: as `kinds`.
        """
        header, batches = self._open()
        place_of = {name: place for place, name in enumerate(header)}
        places = [(one, place_of[one.name]) for one in columns if one.name in place_of and one.kind is not ColumnKind.EMBEDDING]
        for rows in batches:
            yield {one.name: read_words([row[place] for row in rows], one.kind) for one, place in places}

    def _open(self) -> tuple[list[str], Iterator[Rows]]:
        rows = self._rows()
        header = [name.strip() or f"column_{place + 1}" for place, name in enumerate(next(rows, []))]
        twice = sorted(name for name, times in Counter(header).items() if times > 1)
        if twice:
            raise SpecError(
                "OBS-TAB-005", f"more than one column is called {', '.join(twice)[:200]}", where=self._where, todo="rename them"
            )
        if not header:
            raise SpecError("OBS-TAB-002", "not readable as CSV: it is empty", where=self._where, todo="write it with a header")
        return header, self._batches(rows, len(header))

    def _batches(self, rows: Iterator[list[str]], width: int) -> Iterator[Rows]:
        batch: Rows = []
        room = most = max(64, _BATCH_CELLS // width)
        characters = _BATCH_CHARACTERS
        for row in rows:
            batch.append(row)
            room -= 1
            characters -= sum(map(len, row))
            if not room or characters <= 0:
                yield batch
                batch, room, characters = [], most, _BATCH_CHARACTERS
        if batch:
            yield batch

    def _rows(self) -> Iterator[list[str]]:
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))
        line = 0
        try:
            with self._text() as file:
                first = file.readline(_LONGEST)
                delimiter = max(_DELIMITERS, key=lambda one: (first.count(one), one == ","))
                reader = csv.reader(self._lines(first, file), strict=True, delimiter=delimiter)
                width = 0
                for row in reader:
                    line = reader.line_num
                    width = width or len(row)
                    if not row:
                        continue
                    if len(row) != width:
                        what = f"{len(row)} values under {width} column names"
                        raise SpecError(
                            "OBS-TAB-002", what, where=f"{self._where}:{line}", todo="give every row as many values as the header"
                        )
                    yield row
        except (csv.Error, UnicodeDecodeError, gzip.BadGzipFile, EOFError, OSError) as error:
            where = f"{self._where}:{line + 1}" if line else self._where
            raise SpecError(
                "OBS-TAB-002", f"not readable as CSV: {error}"[:300], where=where, todo="write it as UTF-8 CSV with a header"
            ) from error

    def _text(self) -> TextIO:
        if self._path.suffix.lower() == ".gz":
            return gzip.open(self._path, "rt", newline="", encoding="utf-8-sig")
        return self._path.open(newline="", encoding="utf-8-sig")

    def _lines(self, first: str, file: TextIO) -> Iterator[str]:
        line = first
        while line:
            if len(line) >= _LONGEST:
                raise SpecError("OBS-TAB-004", "a line without end", where=self._where, todo=f"lines are at most {_LONGEST} characters")
            yield line
            line = file.readline(_LONGEST)
