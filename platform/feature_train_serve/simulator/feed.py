"""Live events for a store whose history has ended: `python -m feature_train_serve.simulator.feed --store FILE`.

Each event repeats a recent event of the same customer, now. Behaviour therefore stays what the models know, so drift that is seen later
comes from a fault and not from the feed; and the feed works for a user's own table as for the synthetic one.
The trap: without traffic on the stream its watermark must move all the same, or an idle stream looks like a broken one.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import signal
import sys
import threading
from pathlib import Path

from feature_train_serve.features.events import KINDS, Event
from feature_train_serve.features.online import OnlineStore
from mlops_obs.errors import ObsError


class LiveFeed:
    """Writes events to an online store as time passes.

    Args:
        store: where to; its clock decides what *now* is.
        seed: decides who does what.
        rate: mean events per second of the whole portfolio.
        log: JSON-lines file that gets each event too, with the moment at which it arrived: what a warehouse would keep of the stream.
    """

    def __init__(self, store: OnlineStore, seed: int, rate: float = 1.0, log: Path | None = None) -> None:
        self._store = store
        self._chance = random.Random(seed)  # noqa: S311 - a simulation, not a secret
        self._rate = rate
        self._log = log
        self._customers = store.customers()
        self._until = store.now_ms()
        self._due = self._until + self._gap()

    def tick(self) -> int:
        """Write the events that became due since the last tick, move the watermarks to now, and return how many events there were."""
        now = self._store.now_ms()
        events = []
        while self._customers and self._due <= now:
            events += self._event(int(self._due))
            self._due += self._gap()
        self._store.apply(events)
        self._store.advance(now)
        if self._log and events:
            with self._log.open("a") as stream:
                stream.write("".join(_line(event, now) for event in events))
        return len(events)

    def _gap(self) -> float:
        return self._chance.expovariate(self._rate) * 1000

    def _event(self, time: int) -> list[Event]:
        customer = self._chance.choice(self._customers)
        (state,) = self._store.states([customer])
        if state is None or not state.recent:
            return []
        _, kind, cents = self._chance.choice(state.recent)
        newest = state.newest.get(KINDS[kind][0])
        score = newest[3] if newest and newest[1] == kind else math.nan
        return [Event(customer, max(time, state.recent[-1][0]), kind, cents, score)]


def _line(event: Event, arrived: int) -> str:
    """One event as a row of an event table; `arrived_ms` is when the store got it."""
    event_type, category = KINDS[event.kind]
    row = {"customer_id": event.customer_id, "event_time": event.time, "event_type": event_type, "category": category}
    score = None if math.isnan(event.score) else event.score
    return json.dumps({**row, "amount_cents": event.cents, "score": score, "arrived_ms": arrived}) + "\n"


def main() -> None:
    """Feed a store twice a second until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="feed", description="Live (synthetic) events for the online store.")
    parser.add_argument("--store", type=Path, required=True, help="online store (SQLite)")
    parser.add_argument("--rate", type=float, default=1.0, help="mean events per second")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same customers and events")
    parser.add_argument("--log", type=Path, help="JSON-lines file that gets each event too, for offline recomputation")
    options = parser.parse_args()
    if not options.rate > 0:
        parser.error("--rate must be above 0")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    written = 0
    try:
        feed = LiveFeed(OnlineStore(options.store), options.seed, options.rate, options.log)
        while not stop.wait(0.5):
            written += feed.tick()
    except ObsError as error:
        sys.exit(f"feed: {error}")
    sys.stdout.write(f'{{"events": {written}}}\n')


if __name__ == "__main__":
    main()
