"""The small files that the processes of a server speak through: replaced by an atomic rename, watched by their stamp.

They live in `.tidemill/serving/`. Whoever reads one sees the old content or the new one, and none of them needs the
ledger, so that a switch works while everything else is down.
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
    """Write `content` as JSON and put it in the place of `path` at once, durably."""
    write_durably(path, msgspec.json.encode(content))


def read_state(path: Path, kind: type[T]) -> T | None:
    """The content as `kind`, of an older format too; `None` where there is no such file or it does not read as one."""
    try:
        body = path.read_bytes()
        if issubclass(kind, VersionedRecord):
            return decode_record(body, kind, str(path))
        return msgspec.json.decode(body, type=kind)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError, FormatTooNew):
        return None


def no_room(error: OSError) -> bool:
    """Whether a full disk, or a used up quota, is what failed."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def overwrite(path: Path, content: bytes) -> None:
    """Write over `path` where it stands, durably: for a disk without room for a new file beside the old one.

    The file must be there, and `content` no longer than what it has room for. Whoever looks meanwhile may read half of
    it, so the file's time moves on once all is written, and `WatchedFile` reads again.
    """
    fd = os.open(path, os.O_RDWR)
    try:
        before = os.fstat(fd).st_mtime_ns
        if os.pwrite(fd, content, 0) != len(content):
            raise OSError(errno.ENOSPC, "no room to write over the file", str(path))
        os.ftruncate(fd, len(content))
        stat = os.fstat(fd)
        os.utime(fd, ns=(stat.st_atime_ns, max(before + 1, stat.st_mtime_ns) + 1))  # the kernel's ticks are coarse
        os.fsync(fd)
    finally:
        os.close(fd)


class WatchedFile(Generic[T]):
    """A file whose content is read again only when the file was replaced; looking costs one `stat`.

    A file that cannot be read (half a disk, a hand's edit, a newer format) leaves the last good content in force.
    """

    def __init__(self, path: Path, kind: type[T]) -> None:
        self.path = path
        self._kind = kind
        self._stamp: tuple[int, int, int] | None = None
        self.content: T | None = None

    def look(self) -> bool:
        """Read the file if it was replaced, and say whether the content is another one now."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            gone = self._stamp is not None and self.content is not None
            self._stamp, self.content = None, None
            return gone
        except OSError:
            return False
        stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        found = read_state(self.path, self._kind)
        changed = found is not None and found != self.content
        if found is not None:
            self.content = found
        return changed
