"""Callers of the demo: `python -m feature_train_serve.traffic`.

Open loop: a request leaves when its time has come, whether or not the last one was answered, and its latency counts
from that time. A generator that waits for answers slows down with the server and hides the very stall it should show.
Half of the customers cause five eighths of the requests; a few requests ask for several customers at once.
With `--store` the customers also live on: their events (synthetic) reach the online store every second, so that
features are fresh for as long as somebody feeds them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import aiohttp

from feature_train_serve.features.online import OnlineStore
from feature_train_serve.simulator.feed import LiveFeed
from mlops_obs.errors import StateError

_TIMEOUT_SECONDS = 10.0
_FLUSH_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Call:
    """One request to be made: `gap` seconds after the one before."""

    gap: float
    protocol: str
    customers: tuple[str, ...]

    def path(self, service: str) -> str:
        """Return the URL path of this call's protocol."""
        return f"/v1/models/{service}:predict" if self.protocol == "v1" else f"/v2/models/{service}/infer"

    def body(self) -> dict[str, Any]:
        """Return the JSON body of this call's protocol."""
        if self.protocol == "v1":
            return {"instances": [{"customer_id": one} for one in self.customers]}
        return {"inputs": [{"name": "customer_id", "datatype": "BYTES", "shape": [len(self.customers)], "data": list(self.customers)}]}


def calls(customers: Sequence[str], rps: float, seed: int) -> Iterator[Call]:
    """Yield calls for ever: Poisson arrivals at `rps` per second, the same ones for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - a simulation, not a secret
    ranked = chance.sample(list(customers), len(customers))
    while True:
        size = chance.choice((2, 3, 5)) if chance.random() < 0.05 else 1
        # This power of a uniform draw gives the first half of the ranking five eighths of the requests.
        chosen = tuple(ranked[int(len(ranked) * chance.random() ** 1.5)] for _ in range(size))
        yield Call(chance.expovariate(rps), "v2" if chance.random() < 0.3 else "v1", chosen)


class Log:
    """JSON lines, one per answered call, and the counts for the summary."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.outcomes: Counter[tuple[str, int]] = Counter()

    def write(self, sent: float, call: Call, revision: str, status: int, latency: float) -> None:
        """Note one answer: `sent` in Unix seconds, `latency` in seconds; status 0 means that none came."""
        self.outcomes[revision, status] += 1
        record = {"t": round(sent, 4), "revision": revision, "status": status, "latency": round(latency, 5), "protocol": call.protocol}
        self._stream.write(json.dumps(record) + "\n")

    def flush(self) -> None:
        """Bring what was noted to the file."""
        self._stream.flush()

    def summary(self) -> dict[str, Any]:
        """Return the number of calls, of failures (5xx or no answer) and of both by revision."""
        revisions: dict[str, dict[str, int]] = {}
        for (revision, status), count in sorted(self.outcomes.items()):
            one = revisions.setdefault(revision or "none", {"requests": 0, "failed": 0})
            one["requests"] += count
            one["failed"] += count if status == 0 or status >= 500 else 0
        return {"requests": self.outcomes.total(), "failed": sum(one["failed"] for one in revisions.values()), "revisions": revisions}


async def live(feed: LiveFeed, stop: asyncio.Event) -> None:
    """Let the customers live on once a second until `stop`; a store that is busy is tried again."""
    while not stop.is_set():
        try:
            await asyncio.to_thread(feed.tick)
        except StateError as error:
            sys.stderr.write(f"traffic: {error}\n")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1.0)


async def drive(url: str, service: str, todo: Iterator[Call], log: Log, stop: asyncio.Event) -> None:
    """Make the calls of `todo` until `stop` is set, then wait for the answers still under way."""
    pending: set[asyncio.Task[None]] = set()
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(url, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        due = flushed = time.time()
        for call in todo:
            due += call.gap
            while not stop.is_set() and (wait := due - time.time()) > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), min(wait, _FLUSH_SECONDS))
            if stop.is_set():
                break
            task = asyncio.create_task(_send(session, service, call, due, log))
            pending.add(task)
            task.add_done_callback(pending.discard)
            if time.time() - flushed > _FLUSH_SECONDS:
                flushed = time.time()
                log.flush()
        if pending:
            await asyncio.wait(pending)
    log.flush()


async def _send(session: aiohttp.ClientSession, service: str, call: Call, due: float, log: Log) -> None:
    revision, status = "", 0
    try:
        async with session.post(call.path(service), json=call.body()) as response:
            revision, status = response.headers.get("x-revision", ""), response.status
            await response.read()
    except (aiohttp.ClientError, TimeoutError, OSError):
        status = 0
    log.write(due, call, revision, status, time.time() - due)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Make calls until SIGTERM or SIGINT; return the summary."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with options.log.open("a", encoding="utf-8") as stream:
        log = Log(stream)
        feed = LiveFeed(OnlineStore(options.store), options.seed, log=options.events) if options.store else None
        feeding = asyncio.create_task(live(feed, stop)) if feed else None
        await drive(options.url, options.service, calls(options.names, options.rps, options.seed), log, stop)
        if feeding:
            await feeding
    return log.summary()


def read_customers(path: Path) -> list[str]:
    """Return the customer ids in `path`, one per line."""
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def main() -> None:
    """Parse the options and drive the traffic; the last line on stdout is the summary."""
    parser = argparse.ArgumentParser(prog="traffic", description="Open-loop traffic on the demo service, recorded request by request.")
    parser.add_argument("--url", required=True, help="base address of the service, e.g. http://127.0.0.1:8000")
    parser.add_argument("--customers", type=Path, required=True, help="file with one customer id per line")
    parser.add_argument("--service", default="credit-risk", help="model name in the URL")
    parser.add_argument("--rps", type=float, default=30.0, help="mean requests per second")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same calls")
    parser.add_argument("--store", type=Path, help="online store to feed with live (synthetic) events")
    parser.add_argument("--events", type=Path, help="JSON-lines file that gets the live events too, for offline recomputation")
    parser.add_argument("--log", type=Path, required=True, help="JSON-lines file to append to")
    options = parser.parse_args()
    if not options.rps > 0:
        parser.error("--rps must be above 0")
    try:
        options.names = read_customers(options.customers)
        if not options.names:
            parser.error(f"{options.customers} names no customer")
        summary = asyncio.run(run(options))
    except StateError as error:
        sys.exit(f"traffic: {error}")
    except OSError as error:
        sys.exit(f"traffic: {error.filename or options.url}: {error.strerror or error} [OBS-TRF-001]")
    sys.stdout.write(json.dumps(summary) + "\n")


if __name__ == "__main__":
    main()
