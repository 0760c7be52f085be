"""Posted events as a source: the segments that the server writes, read like files that grow.

They contain surrogates and sealed identities. Reading unseals them in memory, so that ingestion computes the same
surrogates and stores the same vault entries as for any other source: no other code needs a special case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa

from tidemill.core.contract.contract import Contract
from tidemill.core.empty_tables import empty_table
from tidemill.core.errors import NoSuchSubject, SealBroken, SegmentDamaged, SourceDamaged, SourceError
from tidemill.core.kinds import KINDS
from tidemill.core.records.posted_event import PostedEvent, decode_event, opened_event
from tidemill.core.row_ids import POSTED_NUMBERS, row_id
from tidemill.core.source_read import RAW_LIMIT, REFUSED, ReadRequest, ReadStats, SourceRead, SourceState, good_schema
from tidemill.core.storage.segments import read_frames, segment_files
from tidemill.sources.days import day_of
from tidemill.sources.files.file_state import FORMAT, FileSourceState, FileState, file_source_state

#: The name of the state: the segments that were read.
KIND = "events"

#: In place of a row that nobody can read any more.
_FORGOTTEN = "the key of a person in it was destroyed"


class EventSource:
    """The events posted to one stream; `folder` is its folder of segments, `unseal` undoes what the server sealed."""

    kind = KIND

    def __init__(self, folder: Path, contract: Contract, *, unseal: Callable[[bytes], bytes]) -> None:
        self._folder = folder
        self._contract = contract
        self._unseal = unseal

    def read(self, request: ReadRequest) -> SourceRead:
        """See `Source.read`. Raises `SourceDamaged` for a segment that does not match its checksums."""
        after = request.after
        if request.nothing_due:
            return SourceRead.empty(self._contract, request.state or SourceState.from_entries(KIND, FORMAT, {}))
        known_before = FileSourceState.from_source_state(request.state, POSTED_NUMBERS)
        due = _DueRows(request.until, after, known_before.taken)
        reading = _SegmentReader(self._contract, self._unseal, request.zone, due)
        files = {file.path: file for file in known_before.files}
        next_number = max(known_before.taken, default=POSTED_NUMBERS.start - 1) + 1
        wounds: list[SourceError] = []
        for path in segment_files(self._folder) if self._folder.is_dir() else ():
            known = files.get(path.name)
            if known is not None and _is_done(path, known, after):
                reading.skipped += 1
                continue
            number = known.number if known is not None else next_number
            next_number = max(next_number, number + 1)
            try:
                files[path.name] = reading.file(path, number)
            except SegmentDamaged as error:
                wound = SourceDamaged(f"{path.name}: {error.message}", tip="restore it from a backup")
                if request.damaged == "raise":
                    raise wound from error
                wounds.append(wound)
        return reading.result(tuple(files.values()), known_before.taken, tuple(wounds))


def _is_done(path: Path, known: FileState, after: date | None) -> bool:
    """Nothing in it is due, and nothing was added: it need not be opened."""
    if known.size != path.stat().st_size:
        return False
    return known.last_day is None or (after is not None and known.last_day <= after)


class _DueRows:
    """Which rows are due; see `Source.read`."""

    def __init__(self, until: date | None, after: date | None, taken: Mapping[int, int]) -> None:
        self._until, self._after, self._taken = until, after, taken

    def rows(self, days: list[date | None], number: int) -> tuple[list[bool], int]:
        """For each line of a file whether it is due, and how many come later."""
        seen = self._taken.get(number, 0)
        due, pending = [], 0
        for line, day in enumerate(days, 1):
            late = day is not None and self._until is not None and day > self._until
            pending += late
            new = line > seen or (day is not None and (self._after is None or day > self._after))
            due.append(new and not late)
        return due, pending


class _SegmentReader:
    """Collects rows of many segments."""

    def __init__(self, contract: Contract, unseal: Callable[[bytes], bytes], zone: str, due: _DueRows) -> None:
        self._contract, self._unseal, self._zone, self._due = contract, unseal, zone, due
        self._good: list[pa.Table] = []
        self._refused: list[dict[str, Any]] = []
        self._taken: dict[int, int] = {}
        self._forgotten = 0
        self._bytes = self._lines = self._files = self._pending = 0
        self.skipped = 0

    def file(self, path: Path, number: int) -> FileState:
        """Take what is due of one segment, and say how far it was read."""
        stat = path.stat()
        frames = list(read_frames(path))
        found = [self._row(frame.payload) for frame in frames]
        time = self._contract.event_time
        times = [None if isinstance(row, str) else row[time] for row in found]
        days: list[date | None] = day_of(_instants(times), self._zone).to_list()
        due, pending = self._due.rows(days, number)
        self._take(path, number, [frame.payload for frame in frames], found, days, due)
        self._taken[number] = len(frames)
        self._bytes += stat.st_size
        self._lines += len(frames)
        self._files += 1
        self._pending += pending
        return FileState(
            number=number,
            path=path.name,
            size=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            lines=len(frames),
            prefix_sha256="",
            content_bytes=frames[-1].end if frames else 0,
            last_day=max((day for day in days if day is not None), default=None),
            columns=tuple(self._contract.names),
        )

    def _take(
        self, path: Path, number: int, payloads: list[bytes], found: list[Any], days: list[date | None], due: list[bool]
    ) -> None:
        good: dict[str, list[Any]] = {name: [] for name in [*self._contract.names, "_row", "_day"]}
        for line, (row, day, is_due) in enumerate(zip(found, days, due, strict=True), 1):
            if not is_due:
                continue
            at = row_id(number, line)
            if row is _FORGOTTEN:
                self._forgotten += 1
                continue
            if isinstance(row, str):
                self._refused.append(_refused(at, path, line, row, payloads[line - 1]))
                continue
            for name in self._contract.names:
                good[name].append(row[name])
            good["_row"].append(at)
            good["_day"].append(day)
        schema = good_schema(self._contract)
        columns = [
            pa.array(good[field.name], pa.int64()).cast(field.type)
            if pa.types.is_timestamp(field.type)
            else pa.array(good[field.name], field.type)
            for field in schema
        ]
        self._good.append(pa.Table.from_arrays(columns, schema=schema))

    def _row(self, payload: bytes) -> dict[str, Any] | str:
        """The contract's columns with raw identifiers, or why the row does not fit the contract any more."""
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
            row[column.name] = value
        return row

    def result(
        self, files: tuple[FileState, ...], taken_before: Mapping[int, int], damaged: tuple[SourceError, ...]
    ) -> SourceRead:
        """All that was found, and the state after it."""
        stats = ReadStats(
            bytes=self._bytes,
            content_bytes=self._bytes,
            lines=self._lines,
            files_read=self._files,
            files_skipped=self.skipped,
            pending=self._pending,
        )
        good = self._good or [empty_table(good_schema(self._contract))]
        return SourceRead(
            good=pa.concat_tables(good).combine_chunks(),
            refused=pa.Table.from_pylist(self._refused, REFUSED) if self._refused else empty_table(REFUSED),
            state=file_source_state(KIND, files, {**taken_before, **self._taken}),
            names={file.number: file.path for file in files},
            stats=stats,
            damaged=damaged,
            notes=self._notes(),
        )

    def _notes(self) -> tuple[str, ...]:
        if not self._forgotten:
            return ()
        return (f"posted events skipped, because the key of their person was destroyed: {self._forgotten}",)


class _MisfitError(Exception):
    """A row does not fit the contract."""


def _fits(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _instants(times: Sequence[int | None]) -> pl.Series:
    return pl.Series(times, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))


def _refused(at: int, path: Path, line: int, why: str, payload: bytes) -> dict[str, Any]:
    return {
        "_row": at, "_day": None, "file": path.name, "line": line, "column": None, "reason": why,
        "raw": payload[:RAW_LIMIT],
    }  # fmt: skip
