"""Telling people, after acting and never before: a pager that is down delays nothing and gets its page later.

The trap is the retry that becomes the outage: each attempt may take a timeout's time, so attempts become rarer, and only
the first notice in line is tried until one is taken again.
"""

from __future__ import annotations

from mlops_obs.rollout.ports import Notice, Notifier

_LONGEST = 60.0  # seconds between two attempts


class Delivery:
    """Hands notices to a notifier, in order, with back-off. The outbox itself is in the rollout's state."""

    def __init__(self, notifier: Notifier | None) -> None:
        self._notifier = notifier
        self._failures, self._again_at = 0, 0.0
        self.problem = ""
        """Why the newest attempt failed; empty if it did not."""

    @property
    def nobody(self) -> bool:
        """Nobody is to be told."""
        return self._notifier is None

    def attempt(self, outbox: tuple[Notice, ...], now: float) -> tuple[Notice, ...]:
        """Try to deliver `outbox` at `now` (Unix seconds); return what nobody has taken yet."""
        if self._notifier is None or not outbox or (self._failures and now < self._again_at <= now + _LONGEST):
            return outbox
        for index, notice in enumerate(outbox):
            try:
                self._notifier.deliver(notice)
            except Exception as error:  # noqa: BLE001 - whatever the pager's adapter does, the rollout goes on
                self._failures += 1
                self._again_at = now + min(_LONGEST, 2.0 ** min(self._failures, 10))
                self.problem = str(error)
                return outbox[index:]
            self._failures, self.problem = 0, ""
        return ()
