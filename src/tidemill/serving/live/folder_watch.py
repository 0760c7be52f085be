"""Folder watch: wakes a process when a file of some folders is created, replaced or removed (inotify).

A process that waits for such a change need not look every few milliseconds. On a system without inotify, and for
changes that the kernel does not report, the process looks again after a timeout.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

try:
    import inotify_simple
except ImportError:  # not on Linux
    INOTIFY: ModuleType | None = None
else:
    INOTIFY = inotify_simple if sys.platform == "linux" else None

#: Seconds after which a process looks again: if changes are reported, and if they are not.
WATCHED_S, UNWATCHED_S = 1.0, 0.05


class FolderWatch:
    """Watches folders, not their subfolders. `fileno` is readable after a change, until `drain`; -1 without inotify."""

    def __init__(self) -> None:
        self._inotify = _open()
        self._watched: set[Path] = set()

    def add(self, folders: Iterable[Path]) -> None:
        """Watch these folders too; a missing folder is skipped, and watched once it is added again."""
        if self._inotify is None or INOTIFY is None:
            return
        flags = INOTIFY.flags
        mask = flags.CREATE | flags.MOVED_TO | flags.CLOSE_WRITE | flags.DELETE | flags.ATTRIB | flags.ONLYDIR
        for folder in folders:
            if folder in self._watched:
                continue
            try:
                self._inotify.add_watch(folder, mask)
            except FileNotFoundError:
                continue
            except OSError:  # the user's limit of watches is reached: look often instead
                self.close()
                return
            self._watched.add(folder)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._inotify.fileno() if self._inotify is not None else -1

    @property
    def timeout_s(self) -> float:
        """Seconds after which to look again without a change."""
        return WATCHED_S if self._inotify is not None else UNWATCHED_S

    def drain(self) -> None:
        """Forget the reported changes."""
        if self._inotify is not None:
            self._inotify.read(timeout=0)

    def wait(self, seconds: float, others: Sequence[int] = ()) -> None:
        """Wait until a folder changes, one of the `others` (descriptors) is readable, or the time has passed."""
        mine = [self.fileno()] if self._inotify is not None else []
        readable, _, _ = select.select([*mine, *others], [], [], seconds)
        if mine and mine[0] in readable:
            self.drain()

    def close(self) -> None:
        """Stop watching."""
        if self._inotify is not None:
            self._inotify.close()
        self._inotify = None


def _open() -> inotify_simple.INotify | None:
    if INOTIFY is None:
        return None
    try:
        return INOTIFY.INotify()
    except OSError:  # too many watches of this user
        return None


def pidfd(pid: int) -> int:
    """A descriptor that is readable when the process has ended; -1 where the system has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1
