"""List of the segments in a folder (`segments.json`), so that one that is removed or cut shows.

A segment is listed when it is opened, with its size once it is closed, and taken off before it is deleted. The list
says nothing about segments that it does not have: those of an older version, or of a process that was killed between
the two steps.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import msgspec

from tidemill.core.errors import FormatTooNew
from tidemill.core.record_format import VersionedRecord, decode_record
from tidemill.core.storage.checked_json import checked_json, refuse_changed
from tidemill.core.storage.durable_files import write_durably

FILE = "segments.json"


class SegmentList(VersionedRecord, frozen=True):
    """The segments of a folder."""

    KIND: ClassVar[str] = "segment list"
    REQUIRED: ClassVar[tuple[str, ...]] = ("segments",)

    #: Name -> size in bytes; `None` until the segment is closed.
    segments: dict[str, int | None] = msgspec.field(default_factory=dict)


def listed_segments(folder: Path) -> dict[str, int | None]:
    """The segments in the list; none without one. Raises `msgspec.DecodeError` if it is damaged, and
    `FormatTooNew`.
    """
    try:
        body = (folder / FILE).read_bytes()
    except FileNotFoundError:
        return {}
    refuse_changed(body, required=True)
    return decode_record(body, SegmentList, str(folder / FILE)).segments


def list_segment(folder: Path, name: str, size_bytes: int | None) -> None:
    """Add a segment to the list, or its size; nothing on a full disk, or to the list of a newer version."""
    with suppress(OSError, FormatTooNew):
        _change(folder, lambda found: found | {name: size_bytes})


def unlist_segments(folder: Path, names: Iterable[str]) -> None:
    """Take segments off the list that are about to be deleted."""
    gone = set(names)
    with suppress(FormatTooNew):
        if gone & _readable(folder).keys():
            _change(folder, lambda found: {name: size for name, size in found.items() if name not in gone})


def _readable(folder: Path) -> dict[str, int | None]:
    try:
        return listed_segments(folder)
    except msgspec.DecodeError:  # begin a new list
        return {}


def _change(folder: Path, changed: Callable[[dict[str, int | None]], dict[str, int | None]]) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        write_durably(folder / FILE, checked_json(SegmentList(segments=changed(_readable(folder)))))
    finally:
        os.close(fd)
