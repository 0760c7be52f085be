"""File state: the record of each file that a file source keeps from one read to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

import msgspec

from tidemill.core.record_format import Record
from tidemill.core.row_ids import DECLARED_NUMBERS
from tidemill.core.source_read import SourceState

#: The format of an entry and of the state; a newer format is refused.
FORMAT = 1


class FileState(Record, frozen=True, omit_defaults=True):
    """A file that was read before.

    `number` is permanent: a row's `_row` consists of it and the line. A file that grows keeps its number; a file whose
    earlier lines changed gets a new one, and its old record is kept.
    """

    number: int = 0
    #: Relative to the project's folder where inside it; empty where only the number is still known.
    path: str = ""
    #: Size, modification time and time of the last change of any kind, as the file system reported them before reading;
    #: the last is 0 in states of earlier versions.
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    #: Lines read, including a header and blank lines; rows of a Parquet file.
    lines: int = 0
    #: sha256 of the first `content_bytes` of the decompressed content; of the whole file for Parquet.
    prefix_sha256: str = ""
    content_bytes: int = 0
    #: The last day that has a row, in the stream's zone; `None` where the rows have no event time.
    last_day: date | None = None
    #: The last line was read although it has no line end.
    open_end: bool = False
    #: The bytes after the last line end are left for a later run.
    waiting: bool = False
    #: The first `copied` lines are those of file `same_as`, and were never read from this file.
    same_as: int | None = None
    copied: int = 0
    #: The contract's columns that the file has.
    columns: tuple[str, ...] = ()
    #: The last line whose rows were read; in format 0 stored separately from the files.
    taken: int = 0
    #: Of a partition of an event log: the position from which the next read starts, and the one after all events read.
    position: str = ""
    reached: str = ""
    #: Names of the damaged places of a partition that were set aside.
    damaged: tuple[str, ...] = ()


class FileSourceState(Record, frozen=True):
    """The decoded state of a file source."""

    files: tuple[FileState, ...] = ()
    #: Number of a file -> the last line whose rows were read; also for numbers of files that are no longer known.
    taken: dict[int, int] = msgspec.field(default_factory=dict)

    @classmethod
    def from_source_state(cls, state: SourceState | None, numbers: range) -> FileSourceState:
        """The files with numbers in a range; `FormatTooNew` for a state of a later format."""
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


def with_unread(state: SourceState, numbers: Iterable[int]) -> SourceState:
    """The state as if no line of the files with these numbers had been read: a read returns all their rows, under the
    same row ids.
    """
    unread, known = set(numbers), FileSourceState.from_source_state(state, DECLARED_NUMBERS)
    files = [msgspec.structs.replace(one, columns=()) if one.number in unread else one for one in known.files]
    return file_source_state(state.kind, files, {n: 0 if n in unread else line for n, line in known.taken.items()})


def file_source_state(kind: str, files: Iterable[FileState], taken: Mapping[int, int]) -> SourceState:
    """The state to store: an entry for each number ever assigned, so that none is assigned twice."""
    known = {file.number: file for file in files}
    entries = {}
    for number in sorted({*known, *taken}):
        file = known.get(number) or FileState(number=number)
        entries[str(number)] = msgspec.structs.replace(file, taken=taken.get(number, 0))
    return SourceState.from_entries(kind, FORMAT, entries)
