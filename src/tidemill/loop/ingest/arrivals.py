"""Arrivals of a stream: one read of its sources, with people replaced by surrogates and rows split into increments by
day.

A row belongs to the increment of its own day or, if that day is already ingested, to the increment it arrived with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.clock import from_micros
from tidemill.core.empty_tables import empty_table
from tidemill.core.identity.surrogates import Surrogates, Vault
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ledger.ledger_entry import LedgerEntry
from tidemill.core.ports import Source, SplitSource
from tidemill.core.record_format import decode_record
from tidemill.core.records.ingest import Failure, Increment
from tidemill.core.source_read import REFUSED, ReadRequest, SourceRead, SourceState
from tidemill.core.storage.failpoint import failpoint
from tidemill.loop.ingest.arrived_rows import EPOCH, FIRST, LAST, UNKNOWN, ManyRows, RowsByDay
from tidemill.loop.ingest.outlier_days import Period, main_period, outlier_failure
from tidemill.loop.ingest.worker_rows import WorkerRows, hidden_people
from tidemill.loop.project.declarations import StreamDeclaration
from tidemill.loop.project.source_states import SourceStates, StateRef

#: A period without rows that is longer than this is one empty increment, not one for each day.
EMPTY_DAYS = 31
#: The kind of a state from ledger entries that predate separate states per source.
_EARLIER = ""


@dataclass(frozen=True)
class StreamPosition:
    """The position of a stream, from the ledger: its last increment and the state of its sources."""

    number: int = 0
    day: date | None = None
    #: The stored state of its sources; `None` before the first increment, or if it is in `earlier`.
    state: StateRef | None = None
    #: The state as earlier versions stored it in ledger entries.
    earlier: SourceState | None = None
    #: The outlier days that a killed run held: their entries have no state, because the position stays before them.
    held: tuple[Increment, ...] = ()

    def states(self, kept: SourceStates, stream: str) -> dict[str, SourceState]:
        """Kind of source -> its state; the empty kind is that of earlier entries, which covers all kinds."""
        if self.state is not None:
            return kept.read(stream, self.state)
        return {} if self.earlier is None else {_EARLIER: self.earlier}


@dataclass(frozen=True)
class DayRows:
    """The rows of one increment as they arrived, with surrogates in place of people."""

    day: date
    rows: pa.Table | ManyRows
    refused: pa.Table
    #: Why its rows are held whatever the other checks find: they are outlier days.
    outlier: Failure | None = None


@dataclass(frozen=True)
class PendingRows:
    """All rows of one stream that are due in this run."""

    stream: StreamDeclaration
    days: list[DayRows]
    #: The position of the stream before this read.
    progress: StreamPosition = field(default_factory=StreamPosition)
    #: The state of each kind of source after this read.
    states: Mapping[str, SourceState] = field(default_factory=dict)
    #: Number in `_row` -> file name, for display.
    names: Mapping[int, str] = field(default_factory=dict)
    #: Notes for the user, such as a file that arrived twice or a late file.
    notes: tuple[str, ...] = ()

    @property
    def first_event(self) -> datetime | None:
        """The earliest event time of the due rows."""
        column = self.stream.contract.event_time
        times = [event_times(day.rows, column)[0] for day in self.days if day.rows.num_rows and not day.outlier]
        return None if not times else from_micros(min(times))


def position_from_ledger(lines: Iterable[LedgerEntry]) -> StreamPosition:
    """The position of a stream, from its `publish` and `hold` entries, without those that resolve an older hold."""
    lines = sorted(lines, key=lambda line: line.seq)
    newest = next((line for line in reversed(lines) if _has_state(line)), None)
    held = tuple(
        decode_record(line.details["increment"], Increment)
        for line in lines
        if line.act == "hold" and (newest is None or line.seq > newest.seq)
    )
    if newest is None:
        return StreamPosition(max((increment.number for increment in held), default=0), held=held)
    increment = decode_record(newest.details["increment"], Increment)
    state = StateRef.from_details(newest.details)
    number = max(increment.number, *(one.number for one in held)) if held else increment.number
    return StreamPosition(number, increment.day, state, None if state else _earlier_state(newest), held)


def stream_position(ledger: Ledger, name: str) -> StreamPosition:
    """The position of a stream in the ledger."""
    return position_from_ledger(line for act in ("publish", "hold") for line in _to_state(ledger, act, name))


def _to_state(ledger: Ledger, act: str, name: str) -> Iterator[LedgerEntry]:
    """The entries of the stream, newest first, down to the first with the state of its sources."""
    for line in ledger.newest(act, about=f"stream:{name}"):
        yield line
        if _has_state(line):
            return


def names_of_held(details: Mapping[str, Any]) -> dict[int, str]:
    """Number in `_row` -> file name, for the rows of a `hold` entry."""
    if "names" in details:
        return {int(number): name for number, name in details["names"].items()}
    files = msgspec.json.decode(details.get("files", "[]"), type=list[dict[str, Any]])
    return {file["number"]: file["path"] for file in files}


def _has_state(line: LedgerEntry) -> bool:
    """Whether an entry contains the state of its stream's sources."""
    return "source_state" in line.details or "files" in line.details


def _earlier_state(line: LedgerEntry) -> SourceState:
    """Format 0 of a state: `files` of the entry and `positions` of its increment."""
    positions = msgspec.json.decode(line.details["increment"], type=dict[str, msgspec.Raw]).get("positions", b"{}")
    body = {"files": msgspec.Raw(line.details["files"].encode()), "positions": msgspec.Raw(positions)}
    return SourceState(format=0, kind=_EARLIER, body=body)


def pending_rows(
    stream: StreamDeclaration,
    sources: Sequence[Source],
    progress: StreamPosition,
    kept: SourceStates,
    *,
    until: date,
    arrival: datetime,
    now: datetime,
    backfill: bool,
    surrogates: Surrogates,
    vault: Vault,
    history: Callable[[], Period | None] | None = None,
    roots: tuple[str, ...] | None = None,
    workers: WorkerRows | None = None,
) -> PendingRows:
    """Read every source of the stream once and split its rows by increment.

    `arrival` is the event time of rows without one: the run's as-of or, in a backfill, the start of history. `history`
    returns the period of the published rows; without it, no outlier days are looked for. `roots` are the folders that
    files may lie in besides the project's own, by default any. `workers` read sources that come in splits.
    """
    request = ReadRequest(until=until, after=progress.day, zone=stream.day_zone, arrival=arrival, now=now, roots=roots)
    states = progress.states(kept, stream.name)
    reads = [
        _read(source, msgspec.structs.replace(request, state=states.get(source.kind, states.get(_EARLIER))), workers)
        for source in sources
    ]
    failpoint("increment.read")
    if request.nothing_due:
        notes = [note for read in reads for note in read.notes]
        return PendingRows(stream, [], progress, notes=tuple(_with_command(note, until, now, stream) for note in notes))
    good, bad = (pa.concat_tables(found) for found in zip(*((read.good, read.refused) for read in reads), strict=True))
    splits = {split: number for read in reads for split, number in read.splits.items()}
    if workers is not None and splits:
        workers.remember_people(splits, vault)
        bad = pa.concat_tables([bad, workers.refused(splits, vault)])
    rows, refused = hidden_rows(stream, good, bad, surrogates, vault)
    failpoint("vault.stored")
    if len(reads) > 1:  # the declared source now has its own state; posted events alone leave its earlier one unchanged
        states.pop(_EARLIER, None)
    arrived = RowsByDay(rows) if workers is None or not splits else workers.rows(splits, rows)
    main, outliers = _outliers(stream, arrived, progress, history) if history else ((FIRST, LAST), [])
    days = _split_by_day(arrived, main, refused, progress.day, until, backfill=backfill, snapshot=stream.snapshot)
    return PendingRows(
        stream,
        [*outliers, *days],
        progress,
        {**states, **{read.state.kind: read.state for read in reads}},
        {number: name for read in reads for number, name in read.names.items()},
        tuple(note for read in reads for note in read.notes),
    )


def _read(source: Source, request: ReadRequest, workers: WorkerRows | None) -> SourceRead:
    if workers is not None and isinstance(source, SplitSource):
        return source.read_splits(request, workers)
    return source.read(request)


def event_times(rows: pa.Table | ManyRows, column: str) -> tuple[int, int]:
    """The first and the last event time of rows, in microseconds."""
    if isinstance(rows, ManyRows):
        found = rows.engine.collect(rows.frame.select(min=nw.col(column).min(), max=nw.col(column).max()))
        return found["min"].cast(pa.int64())[0].as_py(), found["max"].cast(pa.int64())[0].as_py()
    ends = pc.min_max(rows[column].cast(pa.int64())).as_py()
    return ends["min"], ends["max"]


def _with_command(note: str, done: date, now: datetime, stream: StreamDeclaration) -> str:
    """A note about a file of days that are done, with the command that brings its rows in."""
    following, today = done + timedelta(days=1), now.astimezone(ZoneInfo(stream.day_zone)).date()
    when = "" if following <= today else f" on {following}"
    return f"{note}: its rows up to {done} come in with the next day{when}: tidemill run --until {following}"


def hidden_rows(
    stream: StreamDeclaration, good: pa.Table, refused: pa.Table, surrogates: Surrogates, vault: Vault
) -> tuple[pa.Table, pa.Table]:
    """Rows and refused lines as they were read, with surrogates in place of people, and the lines' bytes encrypted."""

    def remembered(column: str, identifiers: Sequence[str]) -> list[str]:
        found = surrogates.many(column, identifiers)
        vault.remember(column, found, identifiers)
        return found

    return hidden_people(stream.contract, good, remembered), _sealed(stream, refused, surrogates, vault)


def _sealed(stream: StreamDeclaration, refused: pa.Table, surrogates: Surrogates, vault: Vault) -> pa.Table:
    """Refused lines with their bytes encrypted: under the keys of the people that they recognisably name, else under
    the vault's key.
    """
    raw = refused["raw"].to_pylist()
    people: list[list[str]] = [[] for _ in raw]
    objects = [_json_object(line) for line in raw]
    for column in stream.contract.role("subject"):
        named = [(place, made[column]) for place, made in enumerate(objects) if isinstance(made.get(column), str)]
        made_of = surrogates.many(column, [identifier for _, identifier in named])
        vault.remember(column, made_of, [identifier for _, identifier in named])
        for (place, _), surrogate in zip(named, made_of, strict=True):
            people[place].append(surrogate)
    keys = vault.keys_of({surrogate for named in people for surrogate in named})
    sealed = [vault.seal_with(keys, line, named) for line, named in zip(raw, people, strict=True)]
    return refused.set_column(refused.schema.get_field_index("raw"), "raw", pa.array(sealed, pa.binary()))


def _json_object(line: bytes) -> dict[str, Any]:
    """The JSON object of a refused line; empty if it is not one, such as a line of CSV."""
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _outliers(
    stream: StreamDeclaration,
    rows: RowsByDay | ManyRows,
    progress: StreamPosition,
    history: Callable[[], Period | None],
) -> tuple[tuple[int, int], list[DayRows]]:
    """The first and last day of the rows that are no outliers, and the outliers as at most two increments: before and
    after them.
    """
    if stream.snapshot or not rows.by_day:
        return (FIRST, LAST), []
    period = main_period(rows.by_day, history())
    found = []
    for first, last in ((FIRST, period.first - 1), (period.last + 1, LAST)):
        days = {day: n for day, n in rows.by_day.items() if first <= day <= last}
        if days:
            failure = outlier_failure(stream.name, stream.contract.event_time, days, period)
            day = EPOCH + timedelta(days=max(days))
            found.append(DayRows(day, rows.of_days(first, last), empty_table(REFUSED), failure))
    main = (period.first, period.last) if found else (FIRST, LAST)
    return main, [one for one in found if not any(_is_held(one, increment) for increment in progress.held)]


def _is_held(outliers: DayRows, increment: Increment) -> bool:
    return outliers.day == increment.day and outliers.rows.num_rows == increment.counts.arrived


def _split_by_day(
    rows: RowsByDay | ManyRows,
    main: tuple[int, int],
    refused: pa.Table,
    done: date | None,
    until: date,
    *,
    backfill: bool,
    snapshot: bool,
) -> Iterator[DayRows]:
    """The rows of each due increment, of the days of `main`. Late rows, and lines without a readable day, go with the
    first increment.
    """
    last = (until - EPOCH).days
    bad = RowsByDay(refused)
    days = [day for day in rows.by_day if main[0] <= day <= main[1]]
    if done is None and not days and not bad.by_day:
        return  # no increment yet: the first one may still be a backfill
    if backfill:
        first = last
    elif done is None:
        first = min(days or [day for day in bad.by_day if day > UNKNOWN], default=last)
    else:
        first = (done - EPOCH).days + 1
    with_rows = sorted({min(max(day, first), last) for day in [*days, *bad.by_day]})
    for day in _due_days(first, last, with_rows):
        low, high = FIRST if day == first else day, LAST if day == last else day
        good, wrong = rows.of_days(max(low, main[0]), min(high, main[1])), bad.of_days(low, high)
        if snapshot and not good.num_rows + wrong.num_rows:
            continue  # a snapshot only has increments for days with rows
        yield DayRows(EPOCH + timedelta(days=day), good, wrong)


def _due_days(first: int, last: int, with_rows: Sequence[int]) -> list[int]:
    """The days from `first` to `last`; of more than `EMPTY_DAYS` days in a row without rows, only the last one."""
    days: list[int] = []
    for day in [*with_rows, last + 1]:
        empty = range(days[-1] + 1 if days else first, day)
        days += [*(empty if len(empty) <= EMPTY_DAYS else empty[-1:]), day]
    return days[:-1]
