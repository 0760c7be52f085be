"""What one look at a source gives: typed rows, refused lines, and what was seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.kinds import arrow_type
from tidemill.core.records import Record
from tidemill.core.schema import Contract
from tidemill.sources.known import KnownFile

if TYPE_CHECKING:
    from tidemill.core.errors import SourceError

#: The day of a row in the stream's zone; it steers which increment a row belongs to and is not kept in the lake.
DAY = "_day"

#: Schema of refused lines; `raw` holds at most `RAW_LIMIT` bytes of the line as it came.
REFUSED = pa.schema(
    [
        pa.field("_row", pa.int64(), nullable=False),
        pa.field(DAY, pa.date32()),
        pa.field("file", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("column", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("raw", pa.binary(), nullable=False),
    ]
)
RAW_LIMIT = 64 * 1024


def good_schema(contract: Contract) -> pa.Schema:
    """Arrow schema of a contract's rows as a source gives them: its columns, then `_row` and `_day`."""
    columns = [pa.field(column.name, arrow_type(column.kind)) for column in contract.columns]
    return pa.schema([*columns, pa.field("_row", pa.int64()), pa.field(DAY, pa.date32())])


class ReadStats(Record, frozen=True):
    """What a read cost and left."""

    #: Bytes read from disk, and what they came to without compression.
    bytes: int = 0
    content_bytes: int = 0
    #: Lines that were new in this read, a header and blank lines included.
    lines: int = 0
    files_read: int = 0
    #: Files that were not opened, because nothing about them had changed and nothing in them was due.
    files_skipped: int = 0
    #: Rows that lie after the last day asked for; they come when their day is due.
    pending: int = 0


@dataclass(frozen=True, kw_only=True)
class SourceRead:
    """Rows of one or many days; the caller takes them day by day with `of`.

    `files` and `positions` belong into the record of *every* increment that is made from this read (in the same
    ledger line), because file numbers are part of `_row`.
    """

    #: The contract's columns, typed, with raw identifiers; `_row` int64 and `_day` date32; in order of `_row`.
    good: pa.Table
    #: Schema `REFUSED`; `_day` is null where the line's time could not be read.
    refused: pa.Table
    #: All files known after this read, old and new.
    files: tuple[KnownFile, ...]
    #: File number -> lines seen.
    positions: dict[str, int]
    stats: ReadStats = field(default_factory=ReadStats)
    #: Sentences for people: copies left out, files moved, replaced, gone or still being written.
    notes: tuple[str, ...] = ()
    #: Files that were left out as damaged; empty unless the caller asked to go on without them.
    damaged: tuple[SourceError, ...] = field(default=())

    def first_day(self) -> date | None:
        """The earliest day that has a good row."""
        day: date | None = pc.min(self.good[DAY]).as_py()
        return day

    def of(self, day: date, *, first: bool) -> tuple[pa.Table, pa.Table]:
        """Good and refused rows of the increment of `day`.

        The first increment of a read (`first=True`) also takes the late ones: rows of earlier days, and lines whose
        day could not be read. So every row of a read belongs to exactly one of the increments made from it.
        """
        return _of(self.good, day, first), _of(self.refused, day, first)


def _of(rows: pa.Table, day: date, first: bool) -> pa.Table:
    wanted = pa.scalar(day, pa.date32())
    days = rows[DAY]
    mine = pc.or_kleene(pc.less_equal(days, wanted), pc.is_null(days)) if first else pc.equal(days, wanted)
    return rows.filter(mine)


class Source(Protocol):
    """Where rows come from. Construct with `(url, contract, base, known)`."""

    def read(
        self,
        until: date | None,
        *,
        zone: str,
        after: date | None,
        positions: Mapping[str, int],
        arrival: datetime | None = None,
        now: datetime | None = None,
        damaged: Literal["raise", "leave"] = "raise",
    ) -> SourceRead:
        """Rows that are due and were not taken before.

        Taken before is every row of a day up to `after` on a line up to `positions` of its file; due is every other
        row of a day up to `until` (`None`: of any day). `after` is the day of the stream's last increment, whatever
        its state; nothing is due where `until` is not later.

        Args:
            until: the last day to bring in, included.
            zone: the stream's zone, in which days begin and end.
            after: the day of the last increment, `None` before the first.
            positions: lines seen by file number, as the last increment recorded them.
            arrival: event time of rows that bring none (a snapshot): the run's as-of, or in a backfill the start of
                history. Without it such a source is refused.
            now: the present, to tell a line that is still being written from a last line without an end.
            damaged: raise on a file that ends in the middle, or leave it for a later run and say so in `damaged`.

        """
        ...


def nothing(contract: Contract, files: Iterable[KnownFile], positions: Mapping[str, int], **more: Any) -> SourceRead:
    """A read that found nothing due."""
    return SourceRead(
        good=good_schema(contract).empty_table(),
        refused=REFUSED.empty_table(),
        files=tuple(files),
        positions=dict(positions),
        **more,
    )
