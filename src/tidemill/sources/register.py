"""Which file is which: numbers given once, growth, moves and copies told by content, never by name alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import Literal, NamedTuple

import msgspec

from tidemill.sources.known import FILES_END, KnownFile
from tidemill.sources.scan import Scan

Kinship = Literal["same", "moved", "copy", "new"]


class Identity(NamedTuple):
    """What a file's content turned out to be, and the known file that it is, or is a copy of."""

    kinship: Kinship
    known: KnownFile | None


class Register:
    """All files of a source that were ever seen, and the numbers to come."""

    def __init__(self, known: Iterable[KnownFile], positions: Mapping[str, int], present: Collection[str]) -> None:
        self._files = {file.number: file for file in known}
        numbers = [*self._files, *(int(number) for number in positions)]
        self._next = max((number for number in numbers if number < FILES_END), default=0) + 1
        self._present = set(present)

    @property
    def files(self) -> tuple[KnownFile, ...]:
        """All files, by number."""
        return tuple(self._files[number] for number in sorted(self._files))

    def at(self, path: str) -> KnownFile | None:
        """The newest file that was seen under a path."""
        return max(
            (file for file in self._files.values() if file.path == path), key=lambda file: file.number, default=None
        )

    def original(self, file: KnownFile) -> KnownFile | None:
        """The file that `file` is a copy of, where that one is gone and the copy never had lines of its own."""
        if file.same_as is None or file.copied != file.lines:
            return None
        source = self._files.get(file.same_as)
        return source if source is not None and self._gone(source) else None

    def marks(self, entry: KnownFile | None) -> frozenset[int]:
        """Lengths at which a file's beginning is compared with known ones."""
        gone = {file.content_bytes for file in self._files.values() if self._gone(file)}
        return frozenset(gone | ({entry.content_bytes} if entry else set()))

    def identify(self, name: str, entry: KnownFile | None, scan: Scan, *, timeless: bool) -> Identity:
        """What the file under `name` is, given the newest entry of that name.

        A copy of an event file brings nothing new. Of a snapshot without times only a copy of the newest file does:
        going back to an older state is news. What was overwritten in place and has come back is read anew.
        """
        if entry is not None and scan.begins_with(entry):
            return Identity("same", entry)
        whole = [file for file in self.files if file.content_bytes and file.same_as is None and not file.waiting]
        others = [file for file in whole if file.path != name]
        for file in sorted(others, key=lambda file: -file.content_bytes):
            if self._gone(file) and scan.begins_with(file):
                return Identity("moved", file)
        present = [file for file in others if not self._gone(file)]
        if timeless and whole:
            present = [file for file in present if file.number == whole[-1].number]
        return next((Identity("copy", file) for file in present if scan.equals(file)), Identity("new", None))

    def lost(self, after: date | None) -> list[KnownFile]:
        """Files that are gone although they have rows of days after `after`, which can be read no more."""
        return [
            file
            for file in self.files
            if file.same_as is None
            and self._gone(file)
            and file.last_day is not None
            and (after is None or file.last_day > after)
        ]

    def next_number(self) -> int:
        """A number that no file had before."""
        self._next += 1
        return self._next - 1

    def keep(self, file: KnownFile) -> None:
        """Note what is now known of a file."""
        self._files[file.number] = file

    def adopt(self, copy: KnownFile, original: KnownFile) -> KnownFile:
        """Let an original whose path is gone live on where its copy lies."""
        del self._files[copy.number]
        moved = msgspec.structs.replace(original, path=copy.path, size=copy.size, mtime_ns=copy.mtime_ns)
        self.keep(moved)
        return moved

    def _gone(self, file: KnownFile) -> bool:
        newest = self.at(file.path)
        return file.path not in self._present or (newest is not None and newest.number != file.number)
