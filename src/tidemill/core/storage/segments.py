"""Append-only segment files: frames that one process writes while others read.

A segment has eight bytes of magic and format number, then frames of `u32 length, u32 crc32, payload` (little endian).
A frame is appended by one `write()`, so a killed process leaves complete frames and at most one torn frame at the end.
The writer holds a file lock, which the kernel releases; an unlocked segment is closed and does not grow. A frame is
never empty: otherwise zeros that a power cut can leave at the end would be read as frames with a valid checksum.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal
from zlib import crc32

import msgspec

from tidemill.core.clock import Clock, to_micros
from tidemill.core.errors import SegmentDamaged
from tidemill.core.record_format import refuse_newer
from tidemill.core.storage.durable_files import sync_folder
from tidemill.core.storage.segment_list import list_segment

SUFFIX = ".seg"
_MAGIC = b"TMSEG\x00"
_FORMAT = 1
_HEADER = _MAGIC + struct.pack("<H", _FORMAT)
_FRAME = struct.Struct("<II")
#: Called with the offsets of the first byte that is skipped, and of the first one after them.
Skip = Callable[[int, int], None]


class Frame(msgspec.Struct, frozen=True):
    """One payload, and the byte offsets of the start and the end of its frame."""

    payload: bytes
    start: int
    end: int


class SegmentWriter:
    """Appends payloads to its own segments in `folder`, with a new segment after `limit_bytes`.

    Names increase with time (`clock`), so sorting them gives the order in which segments were opened. With
    `durable=False` nothing is flushed: frames survive a killed process, but not a power cut. Durable segments are in
    the folder's list (`segment_list`).
    """

    def __init__(self, folder: Path, clock: Clock, *, limit_bytes: int = 64 << 20, durable: bool = True) -> None:
        self.folder = folder
        self._clock = clock
        self._limit = limit_bytes
        self._durable = durable
        self._fd = -1
        self._size = 0
        self._turn = 0
        self.path: Path | None = None

    def append(self, *payloads: bytes) -> None:
        """Write one frame per payload with one `write()`, without fsync.

        Raises `OSError` if they could not be written completely; the segment is then restored.
        """
        if self._fd < 0 or self._size >= self._limit:
            self.rotate()
        frames = b"".join([part for payload in payloads for part in _framed(payload)])
        size = len(frames)
        try:
            written = os.write(self._fd, frames)
        except OSError:
            self._truncate_partial_frame()
            raise
        if written != size:  # partial write: the disk is full
            self._truncate_partial_frame()
            raise OSError(f"{self.path}: {written} of {size} bytes written")
        self._size += size

    def fileno(self) -> int:
        """The file descriptor of the open segment, for fsync by the caller; -1 before the first frame."""
        return self._fd

    def sync(self) -> None:
        """Flush: make all frames so far durable against a power cut."""
        if self._fd >= 0:
            os.fdatasync(self._fd)

    def rotate(self) -> None:
        """Close the open segment and start the next one."""
        self.close()
        self.folder.mkdir(parents=True, exist_ok=True)
        while self._fd < 0:
            self._turn += 1
            opened_at = to_micros(self._clock.now())
            # the random part makes the name unique for ever: readers store their positions by name
            self._open(f"{opened_at:017d}-{os.getpid()}-{self._turn:06d}-{os.urandom(6).hex()}{SUFFIX}")

    def _open(self, name: str) -> None:
        """Create the segment `name` unless it exists: after a clock was set back, no segment may be overwritten."""
        hidden = self.folder / f".{name}"  # locked before it is visible, so that no reader takes it for closed
        fd = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.write(fd, _HEADER) != len(_HEADER):  # partial write: the disk is full
                raise OSError(errno.ENOSPC, "no space for a segment's header")
            if self._durable:
                os.fsync(fd)
            os.link(hidden, self.folder / name)
            if self._durable:
                sync_folder(self.folder)
        except FileExistsError:
            os.close(fd)
            return
        except OSError:
            os.close(fd)
            raise
        finally:
            hidden.unlink(missing_ok=True)
        self._fd, self._size, self.path = fd, len(_HEADER), self.folder / name
        self._list(name, None)

    def _list(self, name: str, size_bytes: int | None) -> None:
        if self._durable:
            list_segment(self.folder, name, size_bytes)

    def close(self) -> None:
        """Close the open segment, with a flush if durable; the next `append` starts another."""
        if self._fd >= 0:
            if self._durable:
                os.fdatasync(self._fd)
            os.close(self._fd)
        if self.path is not None:
            self._list(self.path.name, self._size)
        self._fd, self.path = -1, None

    def abandon(self) -> None:
        """Close the open segment without a flush, because a flush of it has failed."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self.path = -1, None

    def _truncate_partial_frame(self) -> None:
        """Truncate a partially written frame; if that fails, abandon the segment."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self.abandon()


def _framed(payload: bytes) -> tuple[bytes, bytes]:
    if not payload:
        raise ValueError("a frame has at least one byte")
    return _FRAME.pack(len(payload), crc32(payload)), payload


def segment_files(folder: Path) -> list[Path]:
    """The segment files of a folder in the order in which they were opened."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))


def segment_is_open(path: Path) -> bool:
    """Whether a process still writes this segment."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def read_frames(path: Path, start: int = 0, *, limit_bytes: int = 1 << 62, skip: Skip | None = None) -> Iterator[Frame]:
    """The frames from `start` (0, or the `end` of a frame) up to a torn tail; stops after about `limit_bytes`.

    Raises `FormatTooNew`, and `SegmentDamaged` at a damaged header, at bytes that are no complete frame although
    complete frames follow, or at a complete one that does not match its checksum. With `skip` it is called for such
    bytes, and reading goes on at the next complete frame.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        at = max(start, len(_HEADER))
        if not _is_header(path, file.read(len(_HEADER))):
            if skip is None:
                raise SegmentDamaged(f"{path} is not a segment: it does not start with {_MAGIC!r}")
            if start == 0 and size:
                skip(0, min(len(_HEADER), size))
        stop = at + limit_bytes
        content: bytes | None = None
        while at < stop and at + _FRAME.size < size:
            file.seek(at)
            length, checksum = _FRAME.unpack(file.read(_FRAME.size))
            end = at + _FRAME.size + length
            payload = file.read(length) if length and end <= size else b""
            if payload and crc32(payload) == checksum:
                yield Frame(payload, at, end)
                at = end
                continue
            if content is None:
                file.seek(0)
                content = file.read(size)  # not what a writer has appended since
            if whole := _frame_length(content, at):  # it was replaced while it was read: after a partial write
                yield Frame(content[at + _FRAME.size : at + whole], at, at + whole)
                at += whole
                continue
            after = _end_of_damage(content, at, end if payload else None)
            if after is None:
                return  # torn, by a crash or by damage of the last frame
            if skip is None:
                raise SegmentDamaged(f"{path}: the frame at byte {at} does not match its checksum")
            skip(at, after)
            at = after


def _end_of_damage(content: bytes, at: int, end: int | None) -> int | None:
    """The end of the damaged frame at `at`, and of damaged ones behind it; `None` if no complete frame follows.

    `end` is its end by its own length, if the segment has as many bytes. That length is right if it ends where a
    complete frame starts, unless there are frames before; a frame within a payload is none.
    """
    behind = _first_frame(content, at + 1)
    if behind is None:
        _, checksum = _FRAME.unpack_from(content, at)
        only_length = crc32(memoryview(content)[at + _FRAME.size :]) == checksum
        return len(content) if only_length else end
    if end is None or not (end == len(content) or _frame_length(content, end)):
        return behind
    frame = behind
    while frame < end and (length := _frame_length(content, frame)):
        frame += length
    return behind if frame == end else end


def _frame_length(content: bytes, at: int) -> int:
    """The length of a complete frame at this offset, whose checksum matches; else 0."""
    if at + _FRAME.size >= len(content):
        return 0
    length, checksum = _FRAME.unpack_from(content, at)
    start = at + _FRAME.size
    if not 0 < length <= len(content) - start:
        return 0
    return _FRAME.size + length if crc32(memoryview(content)[start : start + length]) == checksum else 0


def _first_frame(content: bytes, at: int) -> int | None:
    """The offset of the first complete frame from `at` on."""
    # a quick test first: a length that is not 0 and not far beyond the content
    length = re.compile(rb"(?=...[\0-\x%02x])(?!\0{4})" % min(len(content) >> 24, 255), re.DOTALL)
    starts = (found.start() for found in length.finditer(content, at))
    return next((start for start in starts if _frame_length(content, start)), None)


def tail_state(path: Path, end: int) -> Literal["nothing", "torn"]:
    """What follows the last complete frame of a closed segment."""
    return "torn" if path.stat().st_size > max(end, len(_HEADER)) else "nothing"


def _is_header(path: Path, header: bytes) -> bool:
    if len(header) < len(_HEADER) or not header.startswith(_MAGIC):
        return False
    (found,) = struct.unpack("<H", header[len(_MAGIC) :])
    refuse_newer(found, _FORMAT, str(path))
    return True
