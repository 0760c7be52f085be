"""One holder at a time on this machine: a file lock that the kernel frees, and a number that only rises.

The lock (flock) says who may start; the number says who is current: a process that was believed dead and wakes up has
an old number, and the ledger refuses its lines.
"""

from __future__ import annotations

import fcntl
import os
import socket
import weakref
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tidemill.core.errors import LeaseTaken
from tidemill.core.ports import LineStore


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

    def __init__(self, folder: Path, lines: LineStore) -> None:
        self._folder = folder
        self._lines = lines

    def take(self, name: str) -> FileLease:
        """Hold `name`, or raise `LeaseTaken` with the holder's process id and since when it holds it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{name}.lock"
        # The file is never removed: whoever waits on a removed file would hold a lock that nobody else sees.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            number = self._lines.lease(name, f"{socket.gethostname()}:{os.getpid()}")
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, msgspec.json.encode({"number": number, "pid": os.getpid()}), 0)
        except BlockingIOError:
            says = _holder(path, descriptor)
            os.close(descriptor)
            raise LeaseTaken(
                f"the lease `{name}` is held by {says}", tip="wait for it, or stop it by that id"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        return FileLease(name, number, descriptor)


def _holder(path: Path, descriptor: int) -> str:
    status = os.fstat(descriptor)
    try:
        pid = msgspec.json.decode(os.pread(descriptor, 4096, 0))["pid"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"a process that is just starting or ending ({path})"
    since = datetime.fromtimestamp(status.st_mtime, UTC)
    return f"process {pid} since {since:%Y-%m-%d %H:%M:%S} UTC ({path})"


# A forked child shares the lock's descriptor and would hold the lock beyond its parent's death.
_held: weakref.WeakSet[FileLease] = weakref.WeakSet()


def _let_go_in_child() -> None:
    for lease in list(_held):
        lease._abandon()


os.register_at_fork(after_in_child=_let_go_in_child)
