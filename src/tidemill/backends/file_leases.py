"""Leases as file locks: one holder at a time on this machine; the kernel releases the lock of a dead process.

The lock (flock) gives mutual exclusion. The lease number is a fencing token: a process that was presumed dead and
resumes has an outdated number, and the ledger rejects its entries.
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
from tidemill.core.record_format import decode_json

#: How long to retry while other processes only query the holder, and the longest pause between two attempts.
_RETRY_S, _PAUSE_S = 30.0, 0.01


class FileLease:
    """A held lease, released at the end of the `with` block or of the process."""

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
        """Nothing to do: the kernel keeps the lock as long as the process lives."""

    def release(self) -> None:
        """Release the lease. Idempotent."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            self._abandon()

    def _abandon(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class FileLeases:
    """Leases with lock files in one folder; the ledger store `lines` assigns the fencing numbers."""

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
        """Acquire `name`, or raise `LeaseTaken` with the holder's process id and the time since it holds the lease."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(name)
        # The file is never deleted: a process with the deleted file open could hold a lock that others do not see.
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
        """A description of the current holder of `name`; `None` if it is free."""
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
        """The lock file: a single path component for every lease name."""
        return self._folder / f"{quote(name, safe='')}.lock"


def _lock(descriptor: int) -> None:
    """Take the exclusive lock. `holder` takes a shared lock for an instant, so retry unless a holder has the lock."""
    deadline = time.monotonic() + _RETRY_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # raises if another process holds the lease
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            if time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0, _PAUSE_S))


def _holder(path: Path, descriptor: int) -> str | None:
    status = os.fstat(descriptor)
    try:
        pid = decode_json(os.pread(descriptor, 4096, 0), dict[str, int])["pid"]
    except (msgspec.DecodeError, KeyError):
        return None
    since = datetime.fromtimestamp(status.st_mtime, UTC)
    return f"process {pid} since {since:%Y-%m-%d %H:%M:%S} UTC ({path})"


# A forked child shares the lock's descriptor and would keep the lock after its parent's death.
_held: weakref.WeakSet[FileLease] = weakref.WeakSet()


def _abandon_in_child() -> None:
    for lease in list(_held):
        lease._abandon()


os.register_at_fork(after_in_child=_abandon_in_child)
