"""File registry: permanent file numbers; growth, moves and copies are detected by content, never by name alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import Literal, NamedTuple

import msgspec

from tidemill.sources.files.file_state import FileState
from tidemill.sources.files.scan import ScanSummary

Kinship = Literal["same", "moved", "copy", "new"]


class FileIdentity(NamedTuple):
    """The identity of a file by its content, and the known file that it is or that it is a copy of."""

    kinship: Kinship
    known: FileState | None


class FileRegistry:
    """All files that a source has ever seen, and the next numbers.

    A look-up takes constant time, because a folder may receive a file a day for years.
    """

    def __init__(self, known: Iterable[FileState], taken: Mapping[int, int], present: Collection[str]) -> None:
        self._present = set(present)
        #: By number, ascending: later files have larger numbers.
        self._files: dict[int, FileState] = {}
        self._by_path: defaultdict[str, set[int]] = defaultdict(set)
        self._by_content: defaultdict[tuple[int, str], set[int]] = defaultdict(set)
        #: Files that are gone: the path is missing, or has different lines under a newer number.
        self._gone: set[int] = set()
        files = sorted(known, key=lambda file: file.number)
        for file in files:
            self.keep(file)
        self._next = max([*self._files, *taken], default=0) + 1

    @property
    def files(self) -> tuple[FileState, ...]:
        """All files, by number."""
        return tuple(self._files.values())

    def at(self, path: str) -> FileState | None:
        """The newest file that was seen under a path."""
        numbers = self._by_path.get(path)
        return self._files[max(numbers)] if numbers else None

    def original(self, file: FileState) -> FileState | None:
        """The file that `file` is a copy of, where that file is gone and the copy has no lines of its own."""
        if file.same_as is None or file.copied != file.lines or file.same_as not in self._gone:
            return None
        return self._files[file.same_as]

    def marks(self, entry: FileState | None) -> frozenset[int]:
        """Lengths at which a file's beginning is compared with known ones."""
        gone = {self._files[number].content_bytes for number in self._gone}
        return frozenset(gone | ({entry.content_bytes} if entry else set()))

    def newest_columns(self) -> tuple[str, ...]:
        """The columns of the newest file that is not a copy and has recorded columns."""
        files = reversed(self._files.values())
        return next((file.columns for file in files if file.columns and file.same_as is None), ())

    def identify(self, name: str, entry: FileState | None, scan: ScanSummary, *, timeless: bool) -> FileIdentity:
        """The identity of the file `name`, given the newest entry of that name.

        A copy of an event file has no new rows. For a snapshot without times this holds only for a copy of the newest
        file: a return to an older state is a change. A file that was overwritten and then restored is read again.
        """
        if entry is not None and scan.begins_with(entry):
            return FileIdentity("same", entry)
        gone = [self._files[number] for number in sorted(self._gone)]
        for file in sorted(gone, key=lambda file: -file.content_bytes):
            if file.path != name and _is_whole(file) and scan.begins_with(file):
                return FileIdentity("moved", file)
        copies = [self._files[number] for number in sorted(self._by_content.get((scan.content_bytes, scan.digest), ()))]
        newest = self._newest_whole() if timeless else None
        for file in copies:
            other = file.path != name and file.number not in self._gone and newest in (None, file.number)
            if other and _is_whole(file) and scan.equals(file):
                return FileIdentity("copy", file)
        return FileIdentity("new", None)

    def lost(self, after: date | None) -> list[FileState]:
        """Files that are gone although they have rows of days after `after`, which can no longer be read."""
        return [
            file
            for file in (self._files[number] for number in sorted(self._gone))
            if file.same_as is None and file.last_day is not None and (after is None or file.last_day > after)
        ]

    def next_number(self) -> int:
        """A new number that no file had before."""
        self._next += 1
        return self._next - 1

    def keep(self, file: FileState) -> None:
        """Add or update the state of a file."""
        before = self._files.get(file.number)
        if before is not None:
            self._unlink(before)
        self._files[file.number] = file
        self._by_path[file.path].add(file.number)
        self._by_content[file.content_bytes, file.prefix_sha256].add(file.number)
        self._look_again(file.path)

    def adopt(self, copy: FileState, original: FileState) -> FileState:
        """Replace a copy by its original, whose own path is gone, under the path of the copy."""
        self._unlink(copy)
        del self._files[copy.number]
        seen = {name: getattr(copy, name) for name in ("path", "size", "mtime_ns", "ctime_ns")}
        moved = msgspec.structs.replace(original, **seen)
        self.keep(moved)
        return moved

    def _unlink(self, file: FileState) -> None:
        self._by_path[file.path].discard(file.number)
        self._by_content[file.content_bytes, file.prefix_sha256].discard(file.number)
        self._gone.discard(file.number)
        self._look_again(file.path)

    def _look_again(self, path: str) -> None:
        """Update which files of a path are gone: all but the newest, or all where the path is missing."""
        numbers = self._by_path[path]
        self._gone |= numbers
        if numbers and path in self._present:
            self._gone.discard(max(numbers))

    def _newest_whole(self) -> int:
        return next((file.number for file in reversed(self._files.values()) if _is_whole(file)), 0)


def _is_whole(file: FileState) -> bool:
    """Whether a file has complete content of its own that another file may be a copy of."""
    return bool(file.content_bytes) and file.same_as is None and not file.waiting
