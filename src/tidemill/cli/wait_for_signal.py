"""Wait for a signal that ends a serving command: SIGINT (Ctrl-C) or SIGTERM."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

#: Interval between two checks.
_POLL_S = 0.2


def wait_for_end(announce: Callable[[], None]) -> None:
    """Call `announce`, which says how to stop, and return on SIGINT or SIGTERM; a signal during the call counts."""
    ended = threading.Event()
    # Both handlers are set again, because an engine may have replaced them. Its threads may also receive the signal
    # before this thread does, so a wait without a timeout might not wake up.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    announce()
    while not ended.wait(_POLL_S):
        pass
