"""Several receivers as one, and one that is away as one that is left alone.

The trap: a pager behind a firewall that drops packets takes five seconds to fail, at every look, and the controller looks once
a second. `Patient` fails at once until it is time to try again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from mlops_obs.errors import ObsError, PlatformError
from mlops_obs.rollout.ports import Notice, Notifier

_REMEMBERED = 1000  # notices; one that is forgotten is delivered again, which is harmless


class AllOf:
    """Tells each of `notifiers`; one that fails keeps no other from being told, and those that took a notice are not told again."""

    def __init__(self, notifiers: Sequence[Notifier]) -> None:
        self._notifiers = tuple(notifiers)
        self._taken: OrderedDict[str, set[int]] = OrderedDict()

    def deliver(self, notice: Notice) -> None:
        """Tell everybody who has not taken `notice` yet; raises the first error once all were tried."""
        taken = self._taken.setdefault(notice.key, set())
        failed: list[ObsError] = []
        for index, one in enumerate(self._notifiers):
            if index in taken:
                continue
            try:
                one.deliver(notice)
            except ObsError as error:
                failed.append(error)
            else:
                taken.add(index)
        while len(self._taken) > _REMEMBERED:
            self._taken.popitem(last=False)
        if failed:
            raise failed[0]


class Patient:
    """Leaves `notifier` alone after a failure, for twice as long after each: `first` to `most` seconds. `clock` never goes back."""

    def __init__(self, notifier: Notifier, clock: Callable[[], float], *, first: float = 1.0, most: float = 60.0) -> None:
        self._notifier, self._clock, self._first, self._most = notifier, clock, first, most
        self._wait, self._again_at = 0.0, 0.0
        self._last = ""

    def deliver(self, notice: Notice) -> None:
        """Hand `notice` on, unless the last attempt failed a moment ago.

        Raises:
            ObsError: as the notifier says; PlatformError OBS-NTFY-003 while it is left alone.
        """
        now = self._clock()
        if now < self._again_at:
            what = f"the last delivery failed ({self._last}); the next attempt is in {self._again_at - now:.0f} s"
            raise PlatformError("OBS-NTFY-003", what, todo="the notice is kept until it is taken")
        try:
            self._notifier.deliver(notice)
        except ObsError as error:
            self._wait = min(self._most, 2 * self._wait or self._first)
            self._again_at, self._last = self._clock() + self._wait, error.what
            raise
        self._wait = self._again_at = 0.0
