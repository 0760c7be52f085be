"""Posted events as a source: the event log to which the server appends, read from where the last run ended.

They contain surrogates and sealed identities. Reading unseals them in memory, so that ingestion computes the same
surrogates and stores the same vault entries as for any other source: no other code needs a special case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa

from tidemill.core.clock import FIRST_US, LAST_US, OUT_OF_RANGE
from tidemill.core.contract.contract import Contract
from tidemill.core.empty_tables import empty_table
from tidemill.core.errors import NoSuchSubject, SealBroken
from tidemill.core.formatting import count
from tidemill.core.kinds import KINDS
from tidemill.core.ports import DamagedPlace, EventBatch, EventLog, LoggedEvent
from tidemill.core.records.posted_event import PostedEvent, decode_event, opened_event
from tidemill.core.row_ids import POSTED_NUMBERS, row_id
from tidemill.core.source_read import RAW_LIMIT, REFUSED, ReadRequest, ReadStats, SourceRead, SourceState, good_schema
from tidemill.sources.days import day_of
from tidemill.sources.files.file_state import FORMAT, FileSourceState, FileState, file_source_state

#: The name of the state: how far each partition of the log was read.
KIND = "events"
#: The reason of a refused row that is a damaged place of the log.
DAMAGED = "damaged on disk"
_BEFORE_FIRST = POSTED_NUMBERS.start - 1
#: Events that are read from the log at once.
_BATCH = 10_000

#: Marks a row that can no longer be decrypted.
_FORGOTTEN = "the key of a person in it was destroyed"


class EventSource:
    """The events posted to one stream of `log`; `unseal` decrypts what the server encrypted."""

    kind = KIND

    def __init__(self, log: EventLog, stream: str, contract: Contract, *, unseal: Callable[[bytes], bytes]) -> None:
        self._log = log
        self._stream = stream
        self._contract = contract
        self._unseal = unseal

    def read(self, request: ReadRequest) -> SourceRead:
        """See `Source.read`. A damaged place of the log is a refused row with its bytes; it hides no other event."""
        if request.nothing_due:
            return SourceRead.empty(self._contract, request.state or SourceState.from_entries(KIND, FORMAT, {}))
        before = FileSourceState.from_source_state(request.state, POSTED_NUMBERS)
        reading = _EventReader(self._stream, self._contract, self._unseal, request, before)
        positions: Mapping[str, str] = reading.positions.copy()
        reached = {file.path: file.reached for file in before.files if file.reached}
        while True:
            batch = self._log.read(self._stream, positions, _BATCH)
            if batch.damaged and reached:
                batch = self._log.read(self._stream, positions, _BATCH, reached)
            if not batch.events and not batch.damaged:
                reading.note_missing(path for path in reached if path not in batch.positions)
                return reading.result()
            reading.add(batch)
            positions = batch.positions


class _EventReader:
    """Collects the due rows of the events of many batches."""

    def __init__(
        self,
        stream: str,
        contract: Contract,
        unseal: Callable[[bytes], bytes],
        request: ReadRequest,
        before: FileSourceState,
    ) -> None:
        self._stream, self._contract, self._unseal, self._request = stream, contract, unseal, request
        self._before = before.taken
        self._taken = dict(before.taken)
        self._numbers = {file.path: file.number for file in before.files}
        #: Partition -> the position from which the next run reads: before its first event that is not due yet.
        self.positions = {file.path: file.position for file in before.files if file.position}
        self._reached = {file.path: file.reached for file in before.files}
        self._damaged = {file.path: list(file.damaged) for file in before.files}
        self._torn: list[str] = []
        self._missing: list[str] = []
        self._set_aside = 0
        self._waiting: set[str] = set()
        self._good: list[pa.Table] = []
        self._refused: list[dict[str, Any]] = []
        self._forgotten = self._bytes = self._lines = self._pending = 0

    def add(self, batch: EventBatch) -> None:
        """Take what is due of a batch."""
        partitions: dict[str, list[LoggedEvent]] = {place.partition: [] for place in batch.damaged}
        for event in batch.events:
            partitions.setdefault(event.partition, []).append(event)
        for place in batch.damaged:
            self._note_damage(place)
        for partition, events in partitions.items():
            if events and self._take(partition, events):
                self._waiting.add(partition)
            if partition not in self._waiting:
                self.positions[partition] = batch.positions[partition]
            self._reached[partition] = batch.positions[partition]

    def note_missing(self, partitions: Iterable[str]) -> None:
        """Note partitions of which events were to be ingested later."""
        self._missing = sorted(partitions)

    def _note_damage(self, place: DamagedPlace) -> None:
        """Set a damaged place aside, once."""
        number = self._number(place.partition)
        known = self._damaged.setdefault(place.partition, [])
        if place.name in known:
            return
        known.append(place.name)
        if place.torn:
            self._torn.append(f"{place.name} of {place.partition}")
            return
        event = LoggedEvent(place.partition, place.number, place.content)
        self._refused.append(_refused(row_id(number, place.number), event, f"{DAMAGED}: {place.name}"))
        self._set_aside += 1

    def _number(self, partition: str) -> int:
        return self._numbers.setdefault(partition, max([*self._taken, *self._numbers.values(), _BEFORE_FIRST]) + 1)

    def _take(self, partition: str, events: list[LoggedEvent]) -> int:
        """Take the due events of one partition, and return how many are due later."""
        number = self._number(partition)
        found = [self._row(event.payload) for event in events]
        times = [None if isinstance(row, str) else row[self._contract.event_time] for row in found]
        days: list[date | None] = day_of(_instants(times), self._request.zone).to_list()
        seen, until, after = self._before.get(number, 0), self._request.until, self._request.after
        pending = 0
        good: dict[str, list[Any]] = {name: [] for name in [*self._contract.names, "_row", "_day"]}
        for event, row, day in zip(events, found, days, strict=True):
            if day is not None and until is not None and day > until:
                pending += 1
            elif event.number > seen or (day is not None and (after is None or day > after)):
                self._add(good, row_id(number, event.number), event, row, day)
        self._good.append(self._table(good))
        self._taken[number] = max(self._taken.get(number, 0), events[-1].number)
        self._bytes += sum(len(event.payload) for event in events)
        self._lines += len(events)
        self._pending += pending
        return pending

    def _add(
        self, good: dict[str, list[Any]], at: int, event: LoggedEvent, row: dict[str, Any] | str, day: date | None
    ) -> None:
        if row is _FORGOTTEN:
            self._forgotten += 1
        elif isinstance(row, str):
            self._refused.append(_refused(at, event, row))
        else:
            for name in self._contract.names:
                good[name].append(row[name])
            good["_row"].append(at)
            good["_day"].append(day)

    def _table(self, good: dict[str, list[Any]]) -> pa.Table:
        schema = good_schema(self._contract)
        columns = [
            pa.array(good[field.name], pa.int64()).cast(field.type)
            if pa.types.is_timestamp(field.type)
            else pa.array(good[field.name], field.type)
            for field in schema
        ]
        return pa.Table.from_arrays(columns, schema=schema)

    def _row(self, payload: bytes) -> dict[str, Any] | str:
        """The contract's columns with raw identifiers, or the reason why the row does not fit the contract."""
        try:
            event = decode_event(payload)
            return self._fitted(event)
        except msgspec.DecodeError:
            return "the frame is not an event"
        except NoSuchSubject:
            return _FORGOTTEN
        except SealBroken as error:
            return error.message
        except _MisfitError as misfit:
            return str(misfit)

    def _fitted(self, event: PostedEvent) -> dict[str, Any]:
        row: dict[str, Any] = {}
        plain, people = opened_event(event, self._unseal)
        for column in self._contract.columns:
            if column.role == "subject":
                if column.name not in people:
                    raise _MisfitError(f"`{column.name}` is missing")
                row[column.name] = people[column.name]
                continue
            value = plain.get(column.name, column.default)
            if value is None and not column.optional:
                raise _MisfitError(f"`{column.name}` is missing")
            if value is not None and not _fits(value, KINDS[column.kind].stored):
                raise _MisfitError(f"`{column.name}` is a {type(value).__name__}")
            if column.kind == "time" and isinstance(value, int) and not FIRST_US <= value <= LAST_US:
                raise _MisfitError(f"`{column.name}` {OUT_OF_RANGE}")
            if column.kind == "int" and isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise _MisfitError(f"`{column.name}` has more than 64 bits")
            row[column.name] = value
        return row

    def result(self) -> SourceRead:
        """All rows that are due, and the state after them."""
        good = self._good or [empty_table(good_schema(self._contract))]
        partitions = [
            FileState(
                number=number,
                path=partition,
                position=self.positions.get(partition, ""),
                reached=self._reached.get(partition, "") if partition in self._waiting else "",
                damaged=tuple(self._damaged.get(partition, ())),
            )
            for partition, number in self._numbers.items()
        ]
        return SourceRead(
            good=pa.concat_tables(good).combine_chunks(),
            refused=pa.Table.from_pylist(self._refused, REFUSED) if self._refused else empty_table(REFUSED),
            state=file_source_state(KIND, partitions, self._taken),
            names={number: partition for partition, number in self._numbers.items()},
            stats=ReadStats(
                bytes=self._bytes,
                content_bytes=self._bytes,
                lines=self._lines,
                files_read=len(self._numbers),
                pending=self._pending,
            ),
            notes=tuple(self._notes()),
        )

    def _notes(self) -> Iterator[str]:
        if self._forgotten:
            yield (
                f"{self._stream}: {count(self._forgotten, 'posted event')} skipped: the vault has no key of their "
                "person, who was erased, or the vault lacks what was written last"
            )
        if self._set_aside:
            what = count(self._set_aside, "posted event")
            yield f"{self._stream}: {what} damaged on disk; the bytes are in quarantine"
        if self._missing:
            yield (
                f"{self._stream}: posted events that were to be ingested later are missing with "
                f"{', '.join(self._missing)}; restore them from a backup before the next run"
            )
        if self._torn:
            yield (
                f"{self._stream}: incomplete last events, not acknowledged or damaged since: {', '.join(self._torn)}"
            )


class _MisfitError(Exception):
    """A row does not fit the contract."""


def _fits(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _instants(times: Sequence[int | None]) -> pl.Series:
    return pl.Series(times, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))


def _refused(at: int, event: LoggedEvent, why: str) -> dict[str, Any]:
    return {
        "_row": at, "_day": None, "file": event.partition, "line": event.number, "column": None, "reason": why,
        "raw": event.payload[:RAW_LIMIT],
    }  # fmt: skip
