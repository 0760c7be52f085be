"""Leases as file locks: one holder at a time on this machine; the kernel releases the lock of a dead process.

The lock (flock) decides who may start. The lease number is a fencing token: a process that was presumed dead and
resumes has an old number, and the ledger rejects its lines.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import time
import weakref
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import msgspec

from tidemill.core.backend import BackendContext
from tidemill.core.errors import LeaseTaken, SettingError
from tidemill.core.ports import LedgerStore

#: Time to go on trying while the lock is only asked about, and the longest pause between two tries.
_ASKED_S, _PAUSE_S = 30.0, 0.01


class FileLease:
    """A held lease; leaving the `with` block, or the death of the process, frees it."""

    def __init__(self, name: str, number: int, descriptor: int) -> None:
        self.name = name
        self.number = number
        self._descriptor: int | None = descriptor
        _held.add(self)

    def __enter__(self) -> FileLease:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def beat(self) -> None:
        """Nothing to do: the kernel holds the lock as long as the process lives."""

    def release(self) -> None:
        """Free the lease; twice is fine."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            self._abandon()

    def _abandon(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class FileLeases:
    """Leases of one folder; `lines` gives the rising numbers."""

    def __init__(self, folder: Path, lines: LedgerStore) -> None:
        self._folder = folder
        self._lines = lines

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> FileLeases:
        """Leases in the folder of `url`."""
        if context.lines is None:
            raise SettingError("file leases take their numbers from a ledger, but none was configured")
        return cls(context.path(url), context.lines)

    def take(self, name: str) -> FileLease:
        """Hold `name`, or raise `LeaseTaken` with the holder's process id and since when it holds it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(name)
        # The file is never removed: whoever waits on a removed file would hold a lock that nobody else sees.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(descriptor)
            number = self._lines.lease(name, f"{socket.gethostname()}:{os.getpid()}")
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, msgspec.json.encode({"number": number, "pid": os.getpid()}), 0)
        except BlockingIOError:
            says = _holder(path, descriptor) or f"a process that is starting or stopping ({path})"
            os.close(descriptor)
            raise LeaseTaken(f"the lease `{name}` is held by {says}", tip="wait for it, or stop that process") from None
        except BaseException:
            os.close(descriptor)
            raise
        return FileLease(name, number, descriptor)

    def holder(self, name: str) -> str | None:
        """Who holds `name` now, in words; `None` where nobody does."""
        path = self._path(name)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(path, descriptor) or f"a process that is starting or stopping ({path})"
        finally:
            os.close(descriptor)
        return None

    def _path(self, name: str) -> Path:
        """The lock's file: one plain name, whatever the lease is called."""
        return self._folder / f"{quote(name, safe='')}.lock"


def _lock(descriptor: int) -> None:
    """Take the lock. Who asks for the holder has a shared lock for an instant: only a holder's refuses."""
    deadline = time.monotonic() + _ASKED_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # refused where somebody holds the lease
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            if time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0, _PAUSE_S))


def _holder(path: Path, descriptor: int) -> str | None:
    status = os.fstat(descriptor)
    try:
        pid = msgspec.json.decode(os.pread(descriptor, 4096, 0))["pid"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return None
    since = datetime.fromtimestamp(status.st_mtime, UTC)
    return f"process {pid} since {since:%Y-%m-%d %H:%M:%S} UTC ({path})"


# A forked child shares the lock's descriptor and would hold the lock beyond its parent's death.
_held: weakref.WeakSet[FileLease] = weakref.WeakSet()


def _let_go_in_child() -> None:
    for lease in list(_held):
        lease._abandon()


os.register_at_fork(after_in_child=_let_go_in_child)
