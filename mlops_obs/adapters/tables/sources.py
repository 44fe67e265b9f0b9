"""Which files a person means: paths, folders, globs, and http(s) or file addresses, in an order that never changes.

An address is fetched into a temporary file first: Parquet is read from its end. What an address returns is limited, since a wrong
one may stand for a terabyte.

The trap: the order of a folder differs between file systems, and the first file decides what the columns are taken for.
"""

from __future__ import annotations

import glob
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlops_obs.errors import SpecError, UsageError

FORMATS = {".parquet": "parquet", ".parq": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv", ".gz": "csv"}
FORMATS |= {".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow"}
MAX_FETCH = 8 << 30  # bytes of one address
_TIMEOUT = 30.0  # seconds without any byte
_GIVE = "give a .parquet, .csv or .arrow file, a folder of them, or the address of one"


def is_address(source: str) -> bool:
    """Whether this is a URL that we can read."""
    return source.startswith(("http://", "https://", "file://"))


def expand(tables: Sequence[str]) -> list[str]:
    """Return every file and address that is meant, sorted, each once.

    Raises:
        UsageError: OBS-TAB-001 if one of them does not exist, holds no table or is of a format that we do not read; all at once.
    """
    found: set[str] = set()
    problems = []
    for table in tables:
        if is_address(table):
            found.add(table)
            continue
        path = Path(table)
        if path.is_dir():
            inside = [str(one) for one in path.rglob("*") if one.is_file() and _is_table(one.relative_to(path))]
        elif path.is_file():
            inside = [table]
        else:
            inside = [
                one
                for one in glob.glob(table, recursive=True)  # noqa: PTH207 - a pattern may be absolute
                if Path(one).is_file()
            ]
        if not inside:
            problems.append(f"{table}: there is no such table" if not path.is_dir() else f"{table}: the folder holds no table")
        found.update(inside)
    if problems:
        raise UsageError("OBS-TAB-001", "; ".join(problems), todo=_GIVE)
    return sorted(found)


def format_of(source: str) -> str:
    """Return parquet, csv or arrow, by the suffix; an address without one is looked into once it is fetched.

    Raises:
        UsageError: OBS-TAB-001 if the suffix is another.
    """
    suffix = Path(urllib.parse.urlsplit(source).path if is_address(source) else source).suffix.lower()
    if suffix in FORMATS:
        return FORMATS[suffix]
    if is_address(source):
        return ""
    raise UsageError("OBS-TAB-001", f"{suffix or 'no suffix'} is not a table format we read", where=source, todo=_GIVE)


@contextmanager
def local(source: str, *, limit: int = MAX_FETCH) -> Iterator[tuple[Path, str]]:
    """Yield a local path and the format of a file or an address; what was fetched is deleted afterwards.

    Raises:
        UsageError: OBS-TAB-001 if there is no such file or it is of another format; OBS-TAB-006 if the address does not answer.
        SpecError: OBS-TAB-007 if it returns more than `limit` bytes.
    """
    kind = format_of(source)
    if not is_address(source):
        path = Path(source)
        if not path.is_file():
            raise UsageError("OBS-TAB-001", "there is no such table", where=source, todo=_GIVE)
        yield path, kind
        return
    with tempfile.TemporaryDirectory(prefix="obs-table-") as folder:
        path = Path(folder) / ("table" + Path(urllib.parse.urlsplit(source).path).suffix)
        _fetch(source, path, limit)
        yield path, kind or _look(path)


def _fetch(source: str, path: Path, limit: int) -> None:
    try:
        with urllib.request.urlopen(source, timeout=_TIMEOUT) as answer, path.open("wb") as file:  # noqa: S310 - schemes are checked
            while chunk := answer.read(1 << 20):
                if file.tell() + len(chunk) > limit:
                    raise SpecError("OBS-TAB-007", f"more than {limit} bytes", where=_shown(source), todo="download it and give the file")
                file.write(chunk)
    except (OSError, ValueError, urllib.error.URLError) as error:
        why = f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else str(getattr(error, "reason", error))
        raise UsageError(
            "OBS-TAB-006", f"cannot fetch the table: {why[:200]}", where=_shown(source), todo="check the address, or give a file"
        ) from error


def _shown(source: str) -> str:
    """An address without the password and the signature that it may carry."""
    parts = urllib.parse.urlsplit(source)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _look(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(6)
    return "parquet" if start.startswith(b"PAR1") else "arrow" if start == b"ARROW1" else "csv"


def _is_table(path: Path) -> bool:
    hidden = any(part.startswith(("_", ".")) for part in path.parts)  # _SUCCESS, _metadata, .part files of a writer
    return not hidden and path.suffix.lower() in FORMATS


__all__ = ["FORMATS", "MAX_FETCH", "expand", "format_of", "is_address", "local"]
