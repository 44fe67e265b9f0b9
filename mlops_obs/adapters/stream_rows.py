"""Rows from a pipe as blocks: JSON lines or CSV with a header, as they come, and no line is an error.

What cannot be read as a row is counted and named, never fatal: a monitor that dies of one bad row is no monitor. Whole chunks are parsed
at once, because that is ten times faster than line by line; a chunk is what the pipe has now, so nothing waits for it to fill.

The trap: a pipe cuts lines anywhere. The rest of a chunk is kept for the next one, and a "line" without end is dropped, counted, once it
is larger than `LONGEST`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlops_obs.adapters.tables.words import is_missing, moment, read_words
from mlops_obs.collectors.drift.columns import (
    INVALID_CODE,
    MISSING_CODE,
    Block,
    Categories,
    Column,
    ColumnKind,
    Numbers,
    Schema,
    is_invalid,
)
from mlops_obs.collectors.drift.values import NameTable, number, seconds, text_length

LONGEST = 16 << 20  # bytes of one line
CHUNK = 1 << 20  # bytes read at once, at most
_NAMED = 20  # problems that are told with their line
_NAMES = (ColumnKind.CATEGORY, ColumnKind.BOOLEAN)
_PLAIN = {float, int, type(None)}
_MOST_JOINED = 1_000  # lines of one quoted CSV field


@dataclass(slots=True)
class Problems:
    """Lines that were no rows: how many, and the first of them with the reason."""

    lines: int = 0
    named: list[str] = field(default_factory=list)

    def add(self, line: int, why: str) -> None:
        """Count a line (from 1) that is no row."""
        self.lines += 1
        if len(self.named) < _NAMED:
            self.named.append(f"line {line}: {why}")


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as they were read: the columns of the schema that were there, and the times if they were asked for."""

    block: Block
    rows: int
    times: Numbers | None


class RowReader:
    """Turns bytes into rows of the columns of `schema`.

    Args:
        schema: the columns of the reference.
        time: name of the column with the row's time; empty if there is none.
        form: `json`, `csv`, or empty: the first character decides.
    """

    def __init__(self, schema: Schema, *, time: str = "", form: str = "") -> None:
        self.problems = Problems()
        self.form = form
        self.header: list[str] | None = None
        self.unknown: set[str] = set()  # columns that the reference does not have, a few of them
        self.present: set[str] = set()  # columns of the reference that were there at least once
        self._schema, self._time = schema, time
        self._tables = {one.name: NameTable((), boolean=one.kind is ColumnKind.BOOLEAN) for one in schema if one.kind in _NAMES}
        self._delimiter = ","
        self._waiting: list[bytes] = []
        self._line = 0
        self._dropping = False

    def feed(self, chunk: bytes) -> Rows | None:
        """Return the rows that `chunk` completes; None if there are none. An empty chunk is the end."""
        whole = self._whole_lines(chunk)
        if not whole:
            return None
        lines = whole.decode("utf-8-sig" if not self._line else "utf-8", "replace").split("\n")
        if not self.form:
            self.form = "json" if next((line.lstrip()[:1] for line in lines if line.strip()), "") in ("{", "[") else "csv"
        return self._json(lines) if self.form == "json" else self._csv(lines, last=not chunk)

    def _whole_lines(self, chunk: bytes) -> bytes:
        """Return the lines that `chunk` completes, without the last line break; what is left of it waits."""
        before, separator, rest = chunk.rpartition(b"\n")
        if not chunk:
            whole, self._waiting = b"" if self._dropping else b"".join(self._waiting), []
            return whole
        if not separator:
            self._waiting.append(chunk)
            if sum(map(len, self._waiting)) > LONGEST:
                if not self._dropping:
                    self.problems.add(self._line + 1, "a line without end")
                self._waiting, self._dropping = [], True
            return b""
        whole, self._waiting = b"".join([*self._waiting, before]), [rest]
        if self._dropping:  # the end of that line is the first line break
            _, _, whole = whole.partition(b"\n")
            self._line, self._dropping = self._line + 1, False
        return whole

    def _json(self, lines: list[str]) -> Rows | None:
        first, self._line = self._line + 1, self._line + len(lines)
        numbered = [(first + place, line) for place, line in enumerate(lines) if line and not line.isspace()]
        found: list[Any] = []
        try:
            found = json.loads("[" + ",".join(line for _, line in numbered) + "]")
        except (ValueError, RecursionError):
            found = []
        if len(found) != len(numbered) or not all(type(one) is dict for one in found):
            found = list(self._one_by_one(numbered))
        if not found:
            return None
        keys = set().union(*(one.keys() for one in found))
        names = set(self._schema.names)
        self.present |= keys & names
        if len(self.unknown) < _NAMED:
            self.unknown |= keys - names - {self._time}
        block = {one.name: self._of_values([row.get(one.name) for row in found], one) for one in self._schema if one.name in self.present}
        times = np.array([seconds(row.get(self._time)) for row in found]) if self._time else None
        return Rows(block, len(found), times)

    def _one_by_one(self, numbered: Sequence[tuple[int, str]]) -> Iterator[dict[str, Any]]:
        for line, text in numbered:
            try:
                one = json.loads(text)
            except (ValueError, RecursionError) as error:
                self.problems.add(line, f"not JSON: {str(error)[:100]}")
                continue
            if isinstance(one, dict):
                yield one
            else:
                self.problems.add(line, "not a JSON object")

    def _of_values(self, values: list[Any], column: Column) -> Numbers | Categories:
        if column.kind in _NAMES:
            return _names([_lookup(self._tables[column.name], value) for value in values], self._tables[column.name])
        if column.kind is ColumnKind.NUMBER and _PLAIN.issuperset(map(type, values)):
            try:
                return np.array(values, dtype=np.float64)
            except OverflowError:
                pass
        convert: Callable[[Any], float] = {ColumnKind.TIMESTAMP: seconds, ColumnKind.TEXT: text_length}.get(column.kind, number)
        return np.array([convert(value) for value in values], dtype=np.float64)

    def _csv(self, lines: list[str], *, last: bool) -> Rows | None:
        lines = [line[:-1] if line.endswith("\r") else line for line in lines]
        if any('"' in line for line in lines):
            lines = self._joined(lines, last=last)
        if self.header is None:
            while lines and not lines[0].strip():
                lines, self._line = lines[1:], self._line + 1
            if not lines:
                return None
            self._delimiter = max(",;\t|", key=lambda one: (lines[0].count(one), one == ","))
            self.header = [name.strip() for name in next(csv.reader(lines[:1], delimiter=self._delimiter))]
            lines, self._line = lines[1:], self._line + 1
            names = set(self._schema.names)
            self.present = set(self.header) & names
            self.unknown = set(self.header) - names - {self._time}
        rows = self._fields(lines)
        if not rows:
            return None
        columns = dict(zip(self.header, zip(*rows, strict=True), strict=False))
        block = {one.name: self._of_words(columns[one.name], one) for one in self._schema if one.name in columns}
        times = None
        if self._time:
            times = np.array([_moment(word) for word in columns.get(self._time, [""] * len(rows))])
        return Rows(block, len(rows), times)

    def _fields(self, lines: list[str]) -> list[list[str]]:
        assert self.header is not None  # noqa: S101 - the caller has read it
        width, first = len(self.header), self._line + 1
        self._line += sum(line.count("\n") + 1 for line in lines)
        quoted = any('"' in line for line in lines)
        rows: list[list[str]] = []
        if not quoted:
            rows = [line.split(self._delimiter) for line in lines if line]
            if all(len(row) == width for row in rows):
                return rows
            rows = []
        line = first
        for text in lines:
            if text:
                try:
                    row = next(csv.reader([text], delimiter=self._delimiter))
                except (csv.Error, StopIteration) as error:
                    self.problems.add(line, f"not CSV: {error}")
                else:
                    if len(row) == width:
                        rows.append(row)
                    else:
                        self.problems.add(line, f"{len(row)} values under {width} column names")
            line += text.count("\n") + 1
        return rows

    def _joined(self, lines: list[str], *, last: bool) -> list[str]:
        """Join the lines of quoted fields that hold line breaks; what is not closed waits for the next chunk."""
        found: list[str] = []
        open_: list[str] = []
        for line in lines:
            if open_:
                open_.append(line)
                if line.count('"') % 2:
                    found.append("\n".join(open_))
                    open_ = []
                elif len(open_) > _MOST_JOINED:
                    found.extend(open_)
                    open_ = []
            elif line.count('"') % 2:
                open_ = [line]
            else:
                found.append(line)
        if open_ and last:
            found.extend(open_)
        elif open_:
            self._waiting.insert(0, "\n".join(open_).encode("utf-8", "replace") + b"\n")
        return found

    def _of_words(self, words: Sequence[str], column: Column) -> Numbers | Categories:
        if column.kind in _NAMES:
            table = self._tables[column.name]
            boolean = column.kind is ColumnKind.BOOLEAN
            return _names([_lookup(table, _word(word, boolean=boolean)) for word in words], table)
        if column.kind is ColumnKind.NUMBER:
            try:
                found = np.array(list(map(float, words)), dtype=np.float64)
            except ValueError:
                pass
            else:
                if np.isfinite(found).all() and not any("_" in word for word in words):
                    return found
        read = read_words(words, column.kind)
        assert not isinstance(read, Categories)  # noqa: S101 - names are handled above
        return read


def _word(word: str, *, boolean: bool) -> str | None:
    word = word.strip()
    return None if is_missing(word) else word.lower() if boolean else word


def _lookup(table: NameTable, value: Any) -> float:
    try:
        return table[value]
    except TypeError:  # a list or an object is no name
        return float("inf")


def _names(found: list[float], table: NameTable) -> Categories:
    values = np.array(found, dtype=np.float64)
    missing = np.isnan(values)
    invalid = np.isinf(values) | is_invalid(values)
    codes = np.where(missing | invalid, 0.0, values).astype(np.int64)
    codes[missing] = MISSING_CODE
    codes[invalid] = INVALID_CODE
    return Categories(codes, table.names())


def _moment(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return moment(word)
