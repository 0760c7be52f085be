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

from tidemill.core.errors import FormatTooNew, SignatureInvalid, TidemillError
from tidemill.core.identity.keys import Keys
from tidemill.core.identity.signed_record import decode_signed, sign_record
from tidemill.core.record_format import SignedRecord, VersionedRecord, decode_json, decode_record
from tidemill.core.storage.checked_json import checked_json, refuse_changed
from tidemill.core.storage.durable_files import write_durably

T = TypeVar("T")
_INVALID = (msgspec.DecodeError, FormatTooNew, SignatureInvalid)


def write_state(path: Path, content: Any) -> None:
    """Replace the file at `path` by `content` as JSON, atomically and durably; with a checksum, unless it is signed."""
    write_durably(path, msgspec.json.encode(content) if isinstance(content, SignedRecord) else checked_json(content))


def write_signed(path: Path, content: SignedRecord, keys: Keys) -> None:
    """Sign `content` for the folder of `path`, and replace the file, atomically and durably."""
    write_state(path, sign_record(content, keys, path.parent.name))


def read_state(path: Path, kind: type[T], public: str = "") -> T | None:
    """The content as `kind`, also from an older format; `None` where the file is missing or invalid.

    A `SignedRecord` is valid if it is signed for the folder of `path`; `public` is the ledger's public key in hex.
    """
    try:
        return _load(path, kind, public)
    except (FileNotFoundError, *_INVALID):
        return None


def state_problem(path: Path, kind: type[Any], public: str = "") -> str:
    """Why the content of a state file cannot be used; empty if it can. Raises `OSError` if it cannot be read."""
    try:
        _load(path, kind, public)
    except _INVALID as error:
        return error.message if isinstance(error, TidemillError) else f"{path} cannot be used: {error}"
    return ""


def _load(path: Path, kind: type[T], public: str) -> T:
    body = path.read_bytes()
    if issubclass(kind, SignedRecord):
        return decode_signed(body, kind, public, path.parent.name, str(path))
    refuse_changed(body)
    if issubclass(kind, VersionedRecord):
        return decode_record(body, kind, str(path))
    return decode_json(body, kind)


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


def file_stamp(path: Path) -> tuple[int, int, int]:
    """What differs once a file was replaced or overwritten; costs one `stat`."""
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


class WatchedFile(Generic[T]):
    """A file whose content is read again only when the file was replaced; polling costs one `stat`.

    Where the file cannot be read (damaged, edited by hand, of a newer format), the last valid content is kept.
    `public` verifies a `SignedRecord`, as in `read_state`.
    """

    def __init__(self, path: Path, kind: type[T], public: str = "") -> None:
        self.path = path
        self._kind = kind
        self._public = public
        self._stamp: tuple[int, int, int] | None = None
        self.content: T | None = None
        #: Why the current file could not be read, so that `content` is older; empty if it could.
        self.problem = ""

    def poll(self) -> bool:
        """Read the file if it was replaced; returns whether the content has changed."""
        try:
            stamp = file_stamp(self.path)
        except FileNotFoundError:
            removed = self._stamp is not None and self.content is not None
            self._stamp, self.content, self.problem = None, None, ""
            return removed
        except OSError as error:
            self._stamp, self.problem = None, str(error)
            return False
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            new_content = _load(self.path, self._kind, self._public)
        except (OSError, *_INVALID) as error:
            self.problem = error.message if isinstance(error, TidemillError) else f"{self.path} cannot be read: {error}"
            return False
        self.problem = ""
        changed = new_content != self.content
        self.content = new_content
        return changed
