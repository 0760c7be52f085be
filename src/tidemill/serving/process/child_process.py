"""Child process that the supervisor restarts when it ends."""

from __future__ import annotations

import logging
import os
import subprocess
import time

from tidemill.serving.live.folder_watch import pidfd

_log = logging.getLogger(__name__)


class Child:
    """A process that is restarted when it ends, with exponential back-off after repeated early crashes."""

    def __init__(self, name: str, command: list[str], place: int | None = None) -> None:
        self.name = name
        self.place = place
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self._next = 0.0
        self._quick = 0
        #: A descriptor that is readable when the process has ended; -1 without one.
        self.ended_fd = -1
        #: Number of starts.
        self.starts = 0

    @property
    def pid(self) -> int:
        """Its process id; 0 between two starts."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    def keep(self, now: float) -> None:
        """Start it if it is not running and the back-off has passed."""
        if self.running:
            return
        if self._process is not None:
            self._ended(now)
        if now < self._next:
            return
        # in its own session, so that Ctrl-C reaches only the supervisor, which stops all processes in order
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, start_new_session=True)
        self.ended_fd = pidfd(self._process.pid)
        self.started = now
        self.starts += 1

    def _ended(self, now: float) -> None:
        assert self._process is not None
        _log.error("%s (process %d) ended with status %s", self.name, self._process.pid, self._process.returncode)
        self._quick = self._quick + 1 if now - self.started < 5 else 0
        self._next = now + (min(0.2 * 2**self._quick, 10.0) if self._quick else 0.0)
        self._process = None
        if self.ended_fd >= 0:
            os.close(self.ended_fd)
            self.ended_fd = -1

    def signal(self, number: int) -> None:
        """Send a signal, if the process is running."""
        if self._process is not None and self.running:
            self._process.send_signal(number)

    def wait(self, until: float) -> None:
        """Wait for the process to end; kill it at `until` (monotonic)."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            _log.error("%s did not stop in time: killing it", self.name)
            self._process.kill()
            self._process.wait()
