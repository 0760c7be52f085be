"""What is remembered of a file between two runs."""

from __future__ import annotations

from datetime import date

from tidemill.core.records import Record

#: Numbers of a stream's files lie below this; those of its other sources, such as posted events, above.
FILES_END = 1 << 20

#: Numbers of files lie below; from here on they are those of posted events and of rows that replace a held increment.
FILES_END = 1 << 20


class KnownFile(Record, frozen=True):
    """A file that was read before. The caller keeps it with the increments that it led to, and hands it in again.

    `number` is the file's for good: a row's `_row` is `number << 40 | line`. A file that grows keeps its number; one
    whose earlier lines changed gets a new one, and its old record stays behind.
    """

    number: int
    #: Relative to the project's folder where it lies below it.
    path: str
    #: Size and time of change as the file system gave them before reading.
    size: int
    mtime_ns: int
    #: Lines seen, a header and blank lines included; rows of a Parquet file.
    lines: int
    #: sha256 of the first `content_bytes` of the decompressed content; of the whole file where it is Parquet.
    prefix_sha256: str
    content_bytes: int
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


def row_number(number: int, line: int) -> int:
    """`_row` of a line.

    >>> row_number(3, 17) == (3 << 40) + 17
    True
    """
    return number << 40 | line


def row_place(row: int) -> tuple[int, int]:
    """The number of the file and the line of a `_row`.

    >>> row_place(row_number(3, 17))
    (3, 17)
    """
    return row >> 40, row & (1 << 40) - 1
