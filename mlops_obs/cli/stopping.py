"""How a controller is asked to stop: the first signal lets what is in flight end, a second one does not wait for it.

The trap is to raise at the first one: a patch that was sent and never recorded has to be found out by the next controller.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence


def stop_when_asked() -> Sequence[int]:
    """Return the signals that came, empty until the first SIGTERM or Ctrl-C; the second raises KeyboardInterrupt."""
    came: list[int] = []

    def ask_to_stop(received: int, _: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(received)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    return came
