"""What a story tells in recorded counts, and what an SLO concludes from them: nothing is counted, two numbers are simply there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mlops_obs import metric_names as names
from mlops_obs.durations import format_duration
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.story_counts import WHOLE, Counts, Told


@dataclass(frozen=True, slots=True)
class Given:
    """Bad and all events by window in seconds, the same in every minute; and the budget that is left, minute by minute.

    `beside` is what is left of a group's budget meanwhile, whom no alert on the budget may look at.
    """

    counts: Mapping[int, Counts] = field(default_factory=dict)
    left: Sequence[float] = ()
    beside: float = -1.0


class ToldInRecords(Told):
    """An SLO of which nothing but the given numbers is recorded, of one group or the service as a whole."""

    def __init__(self, slo: SLO, given: Given) -> None:
        super().__init__(slo, {}, 1)
        self._given = given
        self.groups = [given_group(slo)]

    def window(self, group: str, now: int, seconds: int) -> Counts:  # noqa: ARG002 - the same for every group and minute
        """Return the given counts; none of a window that is not recorded."""
        return self._given.counts.get(seconds, (0.0, 0.0))

    def remaining(self, group: str, now: int) -> float:  # noqa: ARG002 - the same for every group
        """Return what is left of the budget; all of it where nobody recorded it."""
        return self._given.left[now] if self._given.left else 1.0


def given_group(slo: SLO) -> str:
    """Return the group whose counts are given."""
    return "v1" if slo.group_by else WHOLE


def spoken_records(slo: SLO, given: Given, minutes: int) -> Iterator[tuple[str, Mapping[str, str], str]]:
    """Yield (record, labels, values in promtool's shorthand): the alerts have to add every label of theirs but these."""
    ids = {names.SERVICE: slo.service, names.SLO: slo.name}
    grouped = {**ids, **dict.fromkeys(slo.group_by, given_group(slo))}
    for window, pair in given.counts.items():
        for name, value in zip((names.SLO_BAD, names.SLO_TOTAL), pair, strict=True):
            yield name.format(window=format_duration(window)), grouped, f"{_number(value)}+0x{minutes}"
    if given.left:
        yield names.SLO_BUDGET_REMAINING, ids, " ".join(map(_number, given.left))
        if slo.group_by:
            yield names.SLO_BUDGET_REMAINING, grouped, f"{given.beside}+0x{minutes}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
