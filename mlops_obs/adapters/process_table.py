"""What Linux tells about other processes, for who must end or outlive them.

A process id alone names nobody: it is reused. The start time beside it tells the same process from its successor.
"""

from __future__ import annotations

from pathlib import Path

_STATE, _PARENT, _START = 0, 1, 19


def stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the program name, which may hold spaces and brackets; none if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def started(pid: int) -> str:
    """Return when the process started, in clock ticks since boot; empty if it is gone or a zombie."""
    fields = stat(pid)
    return fields[_START] if len(fields) > _START and fields[_STATE] != "Z" else ""


def descendants(pid: int) -> dict[int, str]:
    """Return all descendants of `pid` with their start times."""
    parents = {int(entry.name): fields for entry in Path("/proc").iterdir() if entry.name.isdigit() and (fields := stat(int(entry.name)))}
    found: dict[int, str] = {}
    frontier = {pid}
    while frontier:
        frontier = {child for child, fields in parents.items() if int(fields[_PARENT]) in frontier and child not in found}
        found.update({child: parents[child][_START] for child in frontier if parents[child][_STATE] != "Z"})
        frontier &= set(found)
    return found
