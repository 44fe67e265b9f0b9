"""An act that may outlast the lease, on a thread of its own, while the lease is renewed on this one.

The trap: a model server needs ten minutes to load, the lease lasts fifteen seconds, and a second controller deploys the
same model again. And its opposite: a lease that is simply made long keeps everybody waiting when its holder dies.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

_EVERY = 3.0  # seconds; well under the lease's time to live


def while_renewing(act: Callable[[], None], renew: Callable[[], None], *, every: float = _EVERY) -> None:
    """Run `act` on a thread, call `renew` every so many seconds until it ends; raise what either of them raised.

    If the lease cannot be renewed it is another's by now: the act goes on, for it cannot be called back, and its result is not ours to
    write down.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
            raised.append(error)

    thread = threading.Thread(target=run, name="rollout-act", daemon=True)
    thread.start()
    while True:
        thread.join(every)
        if not thread.is_alive():
            break
        renew()
    if raised:
        raise raised[0]
