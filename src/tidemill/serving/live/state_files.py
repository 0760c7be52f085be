"""State files that the processes of a server share: replaced by an atomic rename, polled by their modification time.

They are in `.tidemill/serving/`. A reader sees either the old or the new content, and no reader needs the ledger, so
the kill switch works while everything else is down.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from tidemill.core.errors import FormatTooNew
from tidemill.core.record_format import VersionedRecord, decode_record
from tidemill.core.storage.durable_files import write_durably

T = TypeVar("T")


def write_state(path: Path, content: Any) -> None:
    """Replace the file at `path` by `content` as JSON, atomically and durably."""
    write_durably(path, msgspec.json.encode(content))


def read_state(path: Path, kind: type[T]) -> T | None:
    """The content as `kind`, also from an older format; `None` where the file is missing or invalid."""
    try:
        body = path.read_bytes()
        if issubclass(kind, VersionedRecord):
            return decode_record(body, kind, str(path))
        return msgspec.json.decode(body, type=kind)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError, FormatTooNew):
        return None


def is_disk_full(error: OSError) -> bool:
    """Whether an error means that the disk is full or a quota is exhausted."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def overwrite_in_place(path: Path, content: bytes) -> None:
    """Overwrite the existing file at `path`, durably: for a disk that has no space for a second file.

    `content` must not be longer than the file. A concurrent reader may see a partial write, so the modification time
    advances once all is written, and `WatchedFile` reads again.
    """
    fd = os.open(path, os.O_RDWR)
    try:
        before = os.fstat(fd).st_mtime_ns
        if os.pwrite(fd, content, 0) != len(content):
            raise OSError(errno.ENOSPC, "no space left to overwrite the file", str(path))
        os.ftruncate(fd, len(content))
        stat = os.fstat(fd)
        os.utime(fd, ns=(stat.st_atime_ns, max(before + 1, stat.st_mtime_ns) + 1))  # the kernel's timestamps are coarse
        os.fsync(fd)
    finally:
        os.close(fd)


class WatchedFile(Generic[T]):
    """A file whose content is read again only when the file was replaced; polling costs one `stat`.

    Where the file cannot be read (damaged, edited by hand, of a newer format), the last valid content is kept.
    """

    def __init__(self, path: Path, kind: type[T]) -> None:
        self.path = path
        self._kind = kind
        self._stamp: tuple[int, int, int] | None = None
        self.content: T | None = None
        #: Whether the current file could not be read, so that `content` is older.
        self.is_unreadable = False

    @property
    def exists(self) -> bool:
        """Whether the last poll found the file, readable or not."""
        return self._stamp is not None or self.is_unreadable

    def poll(self) -> bool:
        """Read the file if it was replaced; returns whether the content has changed."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            removed = self._stamp is not None and self.content is not None
            self._stamp, self.content, self.is_unreadable = None, None, False
            return removed
        except OSError:
            self._stamp, self.is_unreadable = None, True
            return False
        stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        new_content = read_state(self.path, self._kind)
        self.is_unreadable = new_content is None
        changed = new_content is not None and new_content != self.content
        if new_content is not None:
            self.content = new_content
        return changed
