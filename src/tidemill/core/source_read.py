"""Source reads: the request, and the typed rows, refused lines and state that a source returns.

The state is opaque to all but the source: the caller stores it between runs and passes it back unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.contract.contract import Contract
from tidemill.core.empty_tables import empty_table
from tidemill.core.errors import FormatTooNew
from tidemill.core.kinds import arrow_type
from tidemill.core.record_format import Record

if TYPE_CHECKING:
    from tidemill.core.errors import SourceError, TidemillError

T = TypeVar("T")

#: The day of a row in the stream's zone. It decides the increment of the row and is not stored in the lake.
DAY = "_day"

#: Schema of refused lines; `raw` has at most the first `RAW_LIMIT` bytes of the original line.
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
    """Arrow schema of the rows that a source returns for a contract: its columns, then `_row` and `_day`."""
    columns = [pa.field(column.name, arrow_type(column.kind)) for column in contract.columns]
    return pa.schema([*columns, pa.field("_row", pa.int64()), pa.field(DAY, pa.date32())])


class SourceState(Record, frozen=True):
    """State of a source after earlier reads: files seen, offsets of partitions, the last page.

    Only the source decodes `body`. An entry is a unit that changes independently, such as one file or one partition;
    unchanged entries are not stored again. Format 0 is the state in ledger entries older than source formats: `files`
    and `positions` of all sources of the stream together.
    """

    #: Number of the source's own format; `require_format` rejects newer ones.
    format: int = 0
    #: The source that wrote the state, as in `Source.kind`.
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
        """One entry, decoded as `kind`. If it is missing, returns `default` if given, or else raises `KeyError`."""
        if name not in self.body and default is not None:
            return default
        return msgspec.json.decode(self.body[name], type=kind)

    def require_format(self, known: int) -> None:
        """Raise `FormatTooNew` if the state has a later format than `known`."""
        if self.format > known:
            raise FormatTooNew(
                f"the state of the source `{self.kind}` has format {self.format}, but this version reads {known}",
                tip="a later version has read this stream: install that version",
            )


class ReadRequest(Record, frozen=True):
    """Request for one read of a source.

    A row is already ingested if its day is not after `after` and `state` records its line. Every other row of a day up
    to `until` is due. Nothing is due if `until` is not later than `after`.
    """

    #: The last day to ingest, inclusive; `None`: every day.
    until: date | None = None
    #: The day of the stream's last increment, in any state; `None` before the first.
    after: date | None = None
    #: The stream's time zone, which defines its days.
    zone: str = "UTC"
    #: The state after the source's last read; `None` before the first.
    state: SourceState | None = None
    #: Event time of rows without one (a snapshot): the run's as-of time, or in a backfill the start of history. Without
    #: it, such a source is refused.
    arrival: datetime | None = None
    #: The current time, to distinguish a line that is still being written from a last line without a line break.
    now: datetime | None = None
    #: Raise on a truncated file, or leave it for a later run and report it in `SourceRead.damaged`.
    damaged: Literal["raise", "leave"] = "raise"
    #: Folders that files may lie in besides the project's own, or files; links are followed. `None`: any.
    roots: tuple[str, ...] | None = None

    @property
    def nothing_due(self) -> bool:
        """Whether no row can be due, because `until` is already ingested."""
        return self.until is not None and self.after is not None and self.until <= self.after


class ReadStats(Record, frozen=True):
    """Statistics of a read."""

    #: Bytes read from disk, and their size after decompression.
    bytes: int = 0
    content_bytes: int = 0
    #: New lines in this read, including headers and blank lines.
    lines: int = 0
    files_read: int = 0
    #: Files that were not opened, because they had not changed and had no due rows.
    files_skipped: int = 0
    #: Rows later than `ReadRequest.until`, which a later read returns.
    pending: int = 0


@dataclass(frozen=True, kw_only=True)
class SplitBlock:
    """Some rows of a split. Their `_row` is their line in the split's file, and `summary` is in the last block."""

    #: Columns of `good_schema`.
    rows: pa.Table | None = None
    #: Schema `REFUSED`.
    refused: pa.Table | None = None
    #: What only the source decodes.
    summary: bytes = b""


class SourceSplit(Protocol):
    """A part of a source that is read on its own, in any process that sees the source. It can be pickled."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    @property
    def size(self) -> int:
        """About how many bytes of text are read."""
        ...

    def read(self) -> Iterator[SplitBlock]:
        """The due rows; the same at each call. Raises `SourceError`."""
        ...


@dataclass(frozen=True, kw_only=True)
class SplitResult:
    """A split that workers have read. They keep its rows under `number`."""

    number: int
    summary: bytes
    #: Why it could not be read; of some of its rows nothing is known then.
    problem: TidemillError | None = None


class SplitReader(Protocol):
    """Has an engine's workers read splits."""

    @property
    def least_bytes(self) -> int:
        """With less text than this, reading in this process costs less."""
        ...

    def read(self, splits: Sequence[SourceSplit]) -> list[SplitResult]:
        """A result for each split, in their order. The workers keep the rows."""
        ...


@dataclass(frozen=True, kw_only=True)
class SourceRead:
    """Result of a read: rows of one or more days, which the caller processes day by day with `of_day`.

    The record of *every* increment from this read must reference `state`, because file numbers are part of `_row`.
    """

    #: The contract's columns, typed, with raw identifiers; `_row` int64 and `_day` date32; sorted by `_row`.
    good: pa.Table
    #: Schema `REFUSED`; `_day` is null if the line's time could not be parsed.
    refused: pa.Table
    #: State to pass to the next read.
    state: SourceState
    #: File number in `_row` -> display name of the file or partition, for all rows of this read.
    names: Mapping[int, str] = field(default_factory=dict)
    stats: ReadStats = field(default_factory=ReadStats)
    #: Messages for users: skipped copies, and files moved, replaced, missing or still being written.
    notes: tuple[str, ...] = ()
    #: Split that workers have read -> file number in `_row` of its rows, which are not in `good` and `refused`. Rows of
    #: other splits are not due.
    splits: Mapping[int, int] = field(default_factory=dict)
    #: Damaged files that were skipped; empty unless the request has `damaged="leave"`.
    damaged: tuple[SourceError, ...] = field(default=())

    @classmethod
    def empty(cls, contract: Contract, state: SourceState, **more: Any) -> SourceRead:
        """A read without due rows."""
        return cls(good=empty_table(good_schema(contract)), refused=empty_table(REFUSED), state=state, **more)

    def first_day(self) -> date | None:
        """The earliest day with a valid row."""
        day: date | None = pc.min(self.good[DAY]).as_py()
        return day

    def of_day(self, day: date, *, first: bool) -> tuple[pa.Table, pa.Table]:
        """Valid and refused rows of the increment of `day`.

        The first increment of a read (`first=True`) also includes late rows: rows of earlier days, and lines whose day
        could not be parsed. Thus every row of a read belongs to exactly one increment.
        """
        return _of(self.good, day, first), _of(self.refused, day, first)


def _of(rows: pa.Table, day: date, first: bool) -> pa.Table:
    wanted = pa.scalar(day, pa.date32())
    days = rows[DAY]
    mine = pc.or_kleene(pc.less_equal(days, wanted), pc.is_null(days)) if first else pc.equal(days, wanted)
    return rows.filter(mine)
