"""Source reads: the request, and the typed rows, refused lines and state that a source returns.

The state is opaque to everything but the source: the caller stores it between two runs and passes it back unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.contract.contract import Contract
from tidemill.core.empty_tables import empty_table
from tidemill.core.errors import FormatTooNew
from tidemill.core.kinds import arrow_type
from tidemill.core.record_format import Record

if TYPE_CHECKING:
    from tidemill.core.errors import SourceError

T = TypeVar("T")

#: The day of a row in the stream's zone; it says which increment a row belongs to and is not kept in the lake.
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


class SourceState(Record, frozen=True):
    """What a source has to know of earlier reads: files seen, offsets of partitions, the last page.

    Only the source decodes `body`. An entry is what changes by itself, such as one file or one partition: entries that
    did not change are not stored again. Format 0 is the form of ledger lines that were written before sources had
    formats: `files` and `positions` of all sources of the stream together.
    """

    #: The number of the source's own format; a newer one is refused by `require_format`.
    format: int = 0
    #: The source that wrote it, as in `Source.kind`.
    kind: str = ""
    #: Entry -> its JSON.
    body: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)

    @classmethod
    def from_entries(cls, kind: str, number: int, entries: Mapping[str, Any]) -> SourceState:
        """A state of format `number` whose entries are the JSON of these values.

        >>> SourceState.from_entries("pages", 1, {"last": 17}).entry("last", int)
        17
        """
        body = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in entries.items()}
        return cls(format=number, kind=kind, body=body)

    def entry(self, name: str, kind: type[T], default: T | None = None) -> T:
        """One entry as a value of a type; `default` where it is missing and a default is given, else `KeyError`."""
        if name not in self.body and default is not None:
            return default
        return msgspec.json.decode(self.body[name], type=kind)

    def require_format(self, known: int) -> None:
        """Raise `FormatTooNew` where the state was written in a later format than `known`."""
        if self.format > known:
            raise FormatTooNew(
                f"the state of the source `{self.kind}` has format {self.format}, but this version reads {known}",
                tip="a later version has read this stream: install that version",
            )


class ReadRequest(Record, frozen=True):
    """What one read of a source is to give.

    Already taken is every row of a day up to `after` on a line that `state` says was seen; due is every other row of a
    day up to `until`. Nothing is due where `until` is not later than `after`.
    """

    #: The last day to bring in, included; `None`: every day.
    until: date | None = None
    #: The day of the stream's last increment, in any state; `None` before the first.
    after: date | None = None
    #: The stream's zone, in which days begin and end.
    zone: str = "UTC"
    #: What the source gave after its last read; `None` before the first.
    state: SourceState | None = None
    #: Event time of rows that bring none (a snapshot): the run's as-of, or in a backfill the start of history. Without
    #: it such a source is refused.
    arrival: datetime | None = None
    #: The present, to tell a line that is still being written from a last line without an end.
    now: datetime | None = None
    #: Raise on a file that ends in the middle, or leave it for a later run and name it in `SourceRead.damaged`.
    damaged: Literal["raise", "leave"] = "raise"

    @property
    def nothing_due(self) -> bool:
        """Whether no row can be due, because the last day asked for was brought in before."""
        return self.until is not None and self.after is not None and self.until <= self.after


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
    """Rows of one or many days; the caller takes them day by day with `of_day`.

    `state` belongs into the record of *every* increment that is made from this read, because file numbers are part of
    `_row`.
    """

    #: The contract's columns, typed, with raw identifiers; `_row` int64 and `_day` date32; in order of `_row`.
    good: pa.Table
    #: Schema `REFUSED`; `_day` is null where the line's time could not be read.
    refused: pa.Table
    #: What the next read has to be given.
    state: SourceState
    #: Number in `_row` -> the name of the file or partition, for people; of all that rows of this read come from.
    names: Mapping[int, str] = field(default_factory=dict)
    stats: ReadStats = field(default_factory=ReadStats)
    #: Sentences for people: copies left out, files moved, replaced, gone or still being written.
    notes: tuple[str, ...] = ()
    #: Files that were left out as damaged; empty unless the caller asked to go on without them.
    damaged: tuple[SourceError, ...] = field(default=())

    @classmethod
    def empty(cls, contract: Contract, state: SourceState, **more: Any) -> SourceRead:
        """A read that found nothing due."""
        return cls(good=empty_table(good_schema(contract)), refused=empty_table(REFUSED), state=state, **more)

    def first_day(self) -> date | None:
        """The earliest day that has a good row."""
        day: date | None = pc.min(self.good[DAY]).as_py()
        return day

    def of_day(self, day: date, *, first: bool) -> tuple[pa.Table, pa.Table]:
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
