"""Waiting until somebody ends a command that serves: Ctrl-C, or SIGTERM."""

from __future__ import annotations

import signal
import threading

#: How often it is looked whether the end was asked for.
_LOOK_S = 0.2


def wait_for_end() -> None:
    """Return when Ctrl-C or SIGTERM comes."""
    ended = threading.Event()
    # Both signals anew: an engine may have put a handler of its own in the place of Python's, and may have threads that
    # a signal reaches before this one, so that a wait without an end would sleep on.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(_LOOK_S):
        pass
