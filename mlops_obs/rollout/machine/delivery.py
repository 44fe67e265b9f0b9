"""Telling people, after acting and never before: a pager that is down delays nothing and gets its page later.

The trap is the retry that becomes the outage: each attempt may take a timeout's time, so attempts become rarer.
And its opposite, the queue that waits behind its head: every notice has its own clock, for a receiver that refuses one
for ever must not keep the page behind it from another.
"""

from __future__ import annotations

from mlops_obs.rollout.ports import Notice, Notifier

_LONGEST = 60.0  # seconds between two attempts


class Delivery:
    """Hands notices to a notifier, each with a back-off of its own. The outbox itself is in the rollout's state."""

    def __init__(self, notifier: Notifier | None) -> None:
        self._notifier = notifier
        self._later: dict[str, tuple[int, float]] = {}  # by key: failures, and when to try again
        self.problem = ""
        """Why the newest attempt failed; empty if it did not."""

    @property
    def nobody(self) -> bool:
        """Nobody is to be told."""
        return self._notifier is None

    def attempt(self, outbox: tuple[Notice, ...], now: float) -> tuple[Notice, ...]:
        """Try to deliver `outbox` at `now` (Unix seconds); return what nobody has taken yet."""
        if self._notifier is None or not outbox:
            return outbox
        left, later = [], {}
        for notice in outbox:
            failures, again_at = self._later.get(notice.key, (0, now))
            if now < again_at <= now + _LONGEST:
                left.append(notice)
                later[notice.key] = (failures, again_at)
                continue
            try:
                self._notifier.deliver(notice)
                self.problem = ""
            except Exception as error:  # noqa: BLE001 - whatever the pager's adapter does, the rollout goes on
                left.append(notice)
                later[notice.key] = (failures + 1, now + min(_LONGEST, 2.0 ** min(failures + 1, 10)))
                self.problem = str(error)
        self._later = later
        return tuple(left)
