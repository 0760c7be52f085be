"""A command that says how to stop it heeds a signal from that moment on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from tidemill.cli.wait_for_signal import wait_for_end


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_announcement_ends_the_wait(number: signal.Signals) -> None:
    wait_for_end(lambda: os.kill(os.getpid(), number))


def test_a_signal_after_it_ends_the_wait() -> None:
    later = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    wait_for_end(later.start)
    later.join()
