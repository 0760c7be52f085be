"""Row ids: the 64-bit number `_row` of a row, unique in its stream and the same in every replay.

A row id combines the number of the row's file (or partition, or page) with its line number. File numbers are assigned
in three ranges, so that the sources of one stream never assign the same id twice.
"""

from __future__ import annotations

from typing import Final

_LINE_BITS: Final = 40

#: Numbers of the files, partitions or pages that the declared source of a stream reads.
DECLARED_NUMBERS: Final = range(1, 1 << 20)
#: Numbers of the segments of posted events.
POSTED_NUMBERS: Final = range(1 << 20, 1 << 21)
#: Numbers of files that replace a held increment: start of this range plus the number of the increment.
REPLACEMENT_NUMBERS: Final = range(1 << 21, 1 << 23)


def row_id(number: int, line: int) -> int:
    """The `_row` of a line; the first line of a file is line 1.

    >>> row_id(3, 17) == (3 << 40) + 17
    True
    """
    return number << _LINE_BITS | line


def split_row_id(row: int) -> tuple[int, int]:
    """Split a `_row` into the number of the file and the line.

    >>> split_row_id(row_id(3, 17))
    (3, 17)
    """
    return row >> _LINE_BITS, row & (1 << _LINE_BITS) - 1
