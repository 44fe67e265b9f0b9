"""What text in a table means: missing, a number, a moment, true or false, a name, or a longer text.

A file of text says nothing about types: the first rows decide, and a column of numbers with some other words in it stays a
column of numbers, whose other words are invalid. That is the incident to be seen, not a reason to see a column of names.

The trap: Python reads "1_000" and "infinity" as numbers; a table means neither.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from mlops_obs.collectors.drift.columns import INVALID, MISSING_CODE, Categories, ColumnKind, Numbers

NOT_NAMES = frozenset({""})
MISSING_WORDS = frozenset({"", "na", "n/a", "nan", "null", "none", "<na>", "#n/a"})
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?|inf|Inf|INF|-inf)")
_PLAIN = b"0123456789.+-eEnaNA"  # of such characters float() reads what we mean, and nothing else
_SIGNED_NAN = re.compile("[+-][nN]")
_QUICK = {"": "nan", "NA": "nan", "na": "nan"}
_CODE = re.compile("0[0-9]{1,30}")  # 01099: a code with leading zeros, which no number is written with
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?")
_MOST = 0.9  # of the present values must be numbers (or moments) for the column to be one of numbers (or moments)
_LONG = 50  # characters in the mean: no name of a category any more
_UNIQUE = 0.9  # of the present rows differ, and there are more than _FEW: an identifier, not a category
_FEW = 100


def is_missing(word: str) -> bool:
    """Whether a word of a text file says that there is no value."""
    return len(word) <= 8 and word.strip().lower() in MISSING_WORDS


def number(word: str) -> float:
    """Return the number that a word is, or INVALID."""
    word = word.strip()
    return float(word) if len(word) < 400 and _NUMBER.fullmatch(word) else INVALID


def moment(word: str) -> float:
    """Return the moment that an ISO 8601 word is, in seconds since 1970 (UTC if it names no zone), or INVALID."""
    word = word.strip()
    if len(word) > 40 or not _TIME.fullmatch(word):
        return INVALID
    try:
        found = datetime.fromisoformat(word)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return INVALID


def names_are_times(names: Sequence[str]) -> Numbers:
    """Return the moment of each name."""
    return np.array([moment(name) for name in names], dtype=np.float64)


def kind_of_names(data: Categories) -> ColumnKind:
    """Say whether a column of text holds names of categories or longer, nearly unique texts (identifiers, remarks)."""
    codes = data.codes[data.codes >= 0]
    if not codes.size:
        return ColumnKind.CATEGORY
    rows = np.bincount(codes, minlength=len(data.names))
    used = np.flatnonzero(rows)
    length = sum(len(data.names[place]) * int(rows[place]) for place in used.tolist()) / codes.size
    if length > _LONG or (used.size > _FEW and used.size > _UNIQUE * codes.size):
        return ColumnKind.TEXT
    return ColumnKind.CATEGORY


def kind_of_words(words: Sequence[str]) -> ColumnKind:
    """Say what a column of a text file is, from its first rows."""
    present = [word for word in words if not is_missing(word)]
    if not present:
        return ColumnKind.NUMBER
    if all(word.strip().lower() in ("true", "false") for word in present):
        return ColumnKind.BOOLEAN
    coded = sum(_CODE.fullmatch(word.strip()) is not None for word in present) > (1 - _MOST) * len(present)
    if not coded and sum(number(word) == number(word) for word in present) >= _MOST * len(present):
        return ColumnKind.NUMBER
    if sum(moment(word) == moment(word) for word in present) >= _MOST * len(present):
        return ColumnKind.TIMESTAMP
    codes: dict[str, int] = {}
    return kind_of_names(Categories(np.array([codes.setdefault(word, len(codes)) for word in present], dtype=np.int64), list(codes)))


def read_words(words: Sequence[str], kind: ColumnKind) -> Numbers | Categories:
    """Return a column of a text file as its kind."""
    if kind in (ColumnKind.CATEGORY, ColumnKind.BOOLEAN):
        codes: dict[str, int] = {}
        known: dict[str, int] = {}
        found = np.empty(len(words), dtype=np.int64)
        for place, word in enumerate(words):
            code = known.get(word)
            if code is None:
                name = word.strip().lower() if kind is ColumnKind.BOOLEAN else word.strip()
                code = known[word] = MISSING_CODE if is_missing(word) else codes.setdefault(name, len(codes))
            found[place] = code
        return Categories(found, list(codes))
    if kind is ColumnKind.NUMBER:
        joined = "".join(words)
        if not joined.encode("utf-8", "replace").translate(None, _PLAIN) and not _SIGNED_NAN.search(joined):
            try:
                return np.array([float(_QUICK.get(word, word)) for word in words], dtype=np.float64)
            except ValueError:
                pass  # such as "1-2": one by one
    read = {ColumnKind.NUMBER: number, ColumnKind.TIMESTAMP: moment}.get(kind, _length)
    return np.array([np.nan if is_missing(word) else read(word) for word in words], dtype=np.float64)


def _length(word: str) -> float:
    return float(len(word))
