"""Background verification: pages do not wait for it, and report the last result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from tidemill.core.clock import Clock, to_micros
from tidemill.core.errors import TidemillError, message_of

T = TypeVar("T")


class BackgroundVerify(Generic[T]):
    """Runs `verify` in a thread when the result is requested and the last run is more than `every_s` seconds ago.

    A problem is reported only if found twice in a row, because a publication that is being written may look incomplete.
    `failed` makes a problem of the message of an error.
    """

    def __init__(
        self, verify: Callable[[], Sequence[T]], failed: Callable[[str], T], clock: Clock, *, every_s: int = 3600
    ) -> None:
        self._verify = verify
        self._failed = failed
        self._clock = clock
        self._every_us = every_s * 1_000_000
        self._looked: int | None = None
        self._found: tuple[T, ...] = ()
        self._thread: threading.Thread | None = None

    def problems(self) -> Sequence[T]:
        """The findings of the last verification; starts the next one if it is due."""
        now, found = to_micros(self._clock.now()), self._found
        idle = self._thread is None or not self._thread.is_alive()
        if idle and (self._looked is None or now - self._looked >= self._every_us):
            self._looked = now
            self._thread = threading.Thread(target=self._look, name="verify", daemon=True)
            self._thread.start()
        return found

    def wait(self) -> None:
        """Return when no verification is running."""
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> None:
        found = self._once()
        if found:
            again = set(self._once())
            found = [problem for problem in found if problem in again]
        self._found = tuple(found)

    def _once(self) -> list[T]:
        try:
            return list(self._verify())
        except (TidemillError, OSError) as error:
            return [self._failed(message_of(error))]
