"""Reading a foreign document so that nothing is overlooked: keys that nobody asked for become losses, wrong values errors.

Foreign documents come from YAML, where `labels: {tier: 2}` is a number and `disable: yes` a truth. Each method below takes
what its name says, reports the rest with its line, and goes on, so that all mistakes of a file are told at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from mlops_obs.errors import ObsError, SpecError
from mlops_obs.slo.foreign.losses import Loss, LossKind

Path_ = tuple[int | str, ...]
Locate = Callable[[Path_], str]
Promql = Callable[[str, str, str], ObsError | None]
_SHOWN = 40  # characters of a wrong value that a message shows


def shown(key: object) -> str:
    """Return a key for a message: on one line and not too long."""
    text = str(key)
    return (text if text.isprintable() and text else repr(text))[:_SHOWN]


@dataclass(slots=True)
class Report:
    """What is found out while a document is read. `promql` says what is wrong with an expression, if it is to be checked."""

    locate: Locate = lambda _path: ""
    promql: Promql | None = None
    errors: list[ObsError] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    opened: list[Fields] = field(default_factory=list)

    def finish(self) -> None:
        """Report what nobody took of the mappings that were looked into and not read to the end."""
        for fields in self.opened:
            fields.rest()
        self.opened = []

    def wrong(self, code: str, what: str, todo: str, path: Path_) -> None:
        """Note an error of the document."""
        self.errors.append(SpecError(code, what, todo=todo, where=self.locate(path)))

    def loss(self, kind: LossKind, slo: str, what: str, path: Path_) -> None:
        """Note something that is not carried over."""
        self.losses.append(Loss(kind, slo, ".".join(shown(key) for key in path if not isinstance(key, int)), what, self.locate(path)))


class Fields:
    """One mapping of a document: take what is known; `rest`, or the report in the end, lists what is not."""

    def __init__(self, value: object, path: Path_, report: Report, slo: str = "") -> None:
        """Args: the mapping; the keys that lead to it; where to report; the SLO it belongs to."""
        self.path, self.report, self.slo = path, report, slo
        self._taken: set[str] = set()
        report.opened.append(self)
        self.there = value is not None
        self._values: Mapping[str, object] = {}
        if isinstance(value, Mapping):
            self._values = value
        elif value is not None:
            self._wrong((), "is not a mapping", "write key: value lines")

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    def at(self, *keys: int | str) -> str:
        """Return `file:line` of `keys` below this mapping."""
        return self.report.locate((*self.path, *keys))

    def loss(self, kind: LossKind, what: str, *keys: int | str) -> None:
        """Note a loss about `keys` below this mapping."""
        self.report.loss(kind, self.slo, what, (*self.path, *keys))

    def wrong(self, key: str, what: str, todo: str) -> None:
        """Note that the value of `key` is wrong."""
        self._wrong((key,), what, todo)

    def take(self, *keys: str) -> object:
        """Return the first value there is among `keys` (spellings of one field), else None."""
        self._taken.update(keys)
        return next((self._values[key] for key in keys if self._values.get(key) is not None), None)

    def text(self, *keys: str, required: bool = False) -> str:
        """Return a text; numbers are taken as they are written."""
        value = self.take(*keys)
        if value is None:
            if required:
                self.report.wrong("OBS-IMP-002", f"{keys[0]} is missing", f"write {keys[0]}:", self.path)
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            self._wrong((self._spelled(keys),), "is not text", "put it in quotes")
            return ""
        if not str(value).strip() and required:
            self._wrong((self._spelled(keys),), "is empty", f"write {keys[0]}:")
        return str(value)

    def number(self, *keys: str) -> Decimal | None:
        """Return an exact number; a text that reads as one will do."""
        value = self.take(*keys)
        if value is None:
            return None
        try:
            number = Decimal(value if isinstance(value, Decimal | str | int) and not isinstance(value, bool) else "no")
        except ArithmeticError:
            number = Decimal("NaN")
        if not number.is_finite() or abs(number.adjusted()) > 12 or len(number.as_tuple().digits) > 20:
            self._wrong((self._spelled(keys),), f"{str(value)[:_SHOWN]!r} is not a number", "write for example 99.9")
            return None
        return number

    def truth(self, *keys: str) -> bool | None:
        """Return true or false, None if it is not there."""
        value = self.take(*keys)
        if value is not None and not isinstance(value, bool):
            self._wrong((self._spelled(keys),), "is neither true nor false", "write true or false")
        return value if isinstance(value, bool) else None

    def texts(self, *keys: str) -> list[str]:
        """Return a list of texts."""
        value = self.take(*keys)
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return list(value)
        if value is not None:
            self._wrong((self._spelled(keys),), "is not a list of texts", "write [a, b]")
        return []

    def labels(self, *keys: str) -> dict[str, str]:
        """Return a mapping of texts (labels, annotations)."""
        inner = self.fields(*keys)
        return {key: inner.text(key) for key in inner._values if inner._values[key] is not None}

    def everything(self) -> Mapping[str, object]:
        """Return the mapping as it is; nothing of it counts as taken yet."""
        return self._values

    def asked(self, key: str) -> bool:
        """Say whether somebody has taken `key`."""
        return key in self._taken

    def accept(self) -> None:
        """Take everything: it is known as a whole."""
        self._taken.update(self._values)

    def fields(self, *keys: str) -> Fields:
        """Return the mapping under the first of `keys` that is there; an empty one if none is."""
        value = self.take(*keys)
        return Fields(value, (*self.path, self._spelled(keys)), self.report, self.slo)

    def list(self, *keys: str) -> list[Fields]:
        """Return the list of mappings under `keys`."""
        value, name = self.take(*keys), self._spelled(keys)
        if value is not None and not isinstance(value, list):
            self._wrong((name,), "is not a list", "write - before each")
        found = value if isinstance(value, list) else []
        return [Fields({} if one is None else one, (*self.path, name, index), self.report, self.slo) for index, one in enumerate(found)]

    def rest(self, why: str = "has no counterpart") -> None:
        """Report every key that nobody took as dropped."""
        for key in self._values:
            if key not in self._taken and self._values[key] is not None:
                self.loss("dropped", why, key)
        self._taken.update(self._values)

    def _spelled(self, keys: tuple[str, ...]) -> str:
        return next((key for key in keys if self._values.get(key) is not None), keys[0])

    def _wrong(self, keys: tuple[str, ...], what: str, todo: str) -> None:
        path = (*self.path, *keys)
        name = next((shown(key) for key in reversed(path) if isinstance(key, str)), "the document")
        self.report.wrong("OBS-IMP-003", f"{name} {what}", todo, path)
