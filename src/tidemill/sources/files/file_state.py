"""File state: the record of each file that a source of files carries from one read to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

import msgspec

from tidemill.core.record_format import Record
from tidemill.core.source_read import SourceState

#: The format of an entry and of the state; a newer one is refused.
FORMAT = 1


class FileState(Record, frozen=True, omit_defaults=True):
    """A file that was read before.

    `number` is the file's for good: a row's `_row` is made of it and the line. A file that grows keeps its number; one
    whose earlier lines changed gets a new one, and its old record stays behind.
    """

    number: int = 0
    #: Relative to the project's folder where it lies below it; empty where only the number is still known.
    path: str = ""
    #: Size and time of change as the file system gave them before reading.
    size: int = 0
    mtime_ns: int = 0
    #: Lines seen, a header and blank lines included; rows of a Parquet file.
    lines: int = 0
    #: sha256 of the first `content_bytes` of the decompressed content; of the whole file where it is Parquet.
    prefix_sha256: str = ""
    content_bytes: int = 0
    #: The last day that has a row, in the stream's zone; `None` where the rows bring no time of their own.
    last_day: date | None = None
    #: The last line was taken although no line end follows it.
    open_end: bool = False
    #: Bytes after the last line end were left for a later run.
    waiting: bool = False
    #: The first `copied` lines are those of file `same_as`, and were never taken from here.
    same_as: int | None = None
    copied: int = 0
    #: The contract's columns that the file brings.
    columns: tuple[str, ...] = ()
    #: Lines up to which the rows were taken; in format 0 they stand beside the files.
    taken: int = 0


class FileSourceState(Record, frozen=True):
    """The state of a source of files, decoded."""

    files: tuple[FileState, ...] = ()
    #: Number of a file -> lines up to which its rows were taken; also of numbers whose file is known no more.
    taken: dict[int, int] = msgspec.field(default_factory=dict)

    @classmethod
    def from_source_state(cls, state: SourceState | None, numbers: range) -> FileSourceState:
        """The files whose numbers lie in a range; `FormatTooNew` for a state of a later format."""
        if state is None:
            return cls()
        state.require_format(FORMAT)
        if state.format == 0:
            files = state.entry("files", tuple[FileState, ...], ())
            taken = {int(number): line for number, line in state.entry("positions", dict[str, int], {}).items()}
        else:
            files = tuple(msgspec.json.decode(entry, type=FileState) for entry in state.body.values())
            taken = {file.number: file.taken for file in files}
        return cls(
            files=tuple(file for file in files if file.path and file.number in numbers),
            taken={number: line for number, line in taken.items() if number in numbers},
        )

    @property
    def names(self) -> dict[int, str]:
        """The path of each file by its number."""
        return {file.number: file.path for file in self.files}


def file_source_state(kind: str, files: Iterable[FileState], taken: Mapping[int, int]) -> SourceState:
    """The state to be kept: an entry for each number that was ever given, so that none is given twice."""
    known = {file.number: file for file in files}
    entries = {}
    for number in sorted({*known, *taken}):
        file = known.get(number) or FileState(number=number)
        entries[str(number)] = msgspec.structs.replace(file, taken=taken.get(number, 0))
    return SourceState.from_entries(kind, FORMAT, entries)
