"""Every error that mlops-obs shows to a person.

    ObsError
    |-- SpecError               a document a person wrote is wrong          (exit 2)
    |-- UsageError              the command line or environment is wrong    (exit 2)
    |-- TelemetryUnavailable    metrics could not be read: *not* "no data"  (exit 1)
    |-- TargetError             the serving platform refused or is away     (exit 1)
    |   `-- Conflict            somebody else changed it first: read again
    |-- StateError              the state store cannot be read or written   (exit 1)
    `-- PlatformError           a process or machine resource is missing    (exit 1)

Each message says what is wrong, where, and what to do, and ends with a stable code:
`slo/credit-risk.yaml:14: objective 99.9 is a percentage; write 0.999 [OBS-SLO-003]`.
"""

from __future__ import annotations

from typing import Any


class ObsError(Exception):
    """An error with a stable code, a place and advice.

    Args:
        code: stable identifier such as ``OBS-SLO-003``; never reused for another meaning.
        what: one clause that names the problem.
        todo: one clause that names the remedy.
        where: file, `file:line`, address or resource; empty if there is none.
    """

    exit_code = 1

    def __init__(self, code: str, what: str, *, todo: str = "", where: str = "") -> None:
        self.code = code
        self.what = what
        self.todo = todo
        self.where = where
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f"; {self.todo}" if self.todo else ""
        return f"{place}{self.what}{advice} [{self.code}]"

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception pickles as its class and its text, which these constructors do not take; Ray carries errors between processes.
        return _revive, (type(self), self.args, self.__dict__)


def _revive(kind: type[ObsError], args: tuple[Any, ...], fields: dict[str, Any]) -> ObsError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


class SpecError(ObsError):
    """A document that a person wrote is wrong."""

    exit_code = 2


class UsageError(ObsError):
    """The command line or the environment is wrong."""

    exit_code = 2


class TelemetryUnavailable(ObsError):
    """Metrics could not be read. This is ignorance, never evidence."""


class TargetError(ObsError):
    """The serving platform refused a request or cannot be reached."""


class Conflict(TargetError):
    """The target changed between reading and writing; read again and decide again."""


class StateError(ObsError):
    """The state store cannot be read or written."""


class PlatformError(ObsError):
    """A process, port, file or machine resource is missing or taken."""
