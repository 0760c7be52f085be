"""Held increments whose files are read again, because the mapping of their source or their contract has changed.

A held row keeps its `_row`, the number of its file and its line, so an increment has the same rows again, read anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.clock import from_micros
from tidemill.core.contract.contract import ROW
from tidemill.core.errors import SourceError
from tidemill.core.library_errors import as_tidemill_error, require_error
from tidemill.core.ports import Lease
from tidemill.core.row_ids import split_row_id
from tidemill.core.source_read import ReadRequest
from tidemill.lake.held_increments import HeldIncrement
from tidemill.loop.ingest.arrivals import DayRows, hidden_rows, stream_position
from tidemill.loop.ingest.arrived_rows import ManyRows
from tidemill.loop.ingest.ingest_increment import IncrementRows, IngestResult, ingest_increment, reading_of
from tidemill.loop.ingest.sealed_table import opened_table
from tidemill.loop.ingest.stream_sources import sources_of
from tidemill.loop.project.declarations import StreamDeclaration
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.sources.files.file_source import KIND
from tidemill.sources.files.file_state import with_unread

History = Callable[[str], Sequence[Mapping[str, float]]]


def read_anew(stores: Stores, stream: StreamDeclaration, notes: list[str] | None = None) -> list[HeldIncrement]:
    """The held increments of a stream of files that were read with another mapping or contract than the current one.

    One whose own rows are damaged is left out, with a note.
    """
    if not stores.settings.sources.get(stream.name, "").startswith("file:"):
        return []
    held = []
    for summary in stores.lake.held_increments(stream.name):
        number = summary.increment.number
        try:
            held.append(stores.lake.held(stream.name, number))
        except BaseException as error:  # also those of Parquet's readers
            require_error(error)
            if notes is not None:
                notes.append(f"{stream.name} {number} is held, and cannot be read: {as_tidemill_error(error).message}")
    now = reading_of(stores, stream)
    return [one for one in held if one.details.get("reading", now) != now]


def read_again(
    stores: Stores, graph: ProjectGraph, lease: Lease, now: datetime, history: History, notes: list[str]
) -> Iterator[IngestResult]:
    """Publish or hold again each increment that `read_anew` finds; a note says what was read, or why it was not."""
    for stream in graph.mill.streams.values():
        held = read_anew(stores, stream, notes)
        if not held:
            continue
        try:
            days = _days(stores, stream, held, now)
        except SourceError as problem:
            notes.append(f"the held rows of {stream.name} cannot be read again: {problem.message}")
            continue
        for one, (day, names) in zip(held, days, strict=True):
            name = f"{stream.name} {one.increment.number}"
            assert not isinstance(day.rows, ManyRows)
            found = {*day.rows[ROW].to_pylist(), *day.refused[ROW].to_pylist()}
            absent = [row for row in _row_ids(stores, one) if row not in found]
            is_header = found and all(split_row_id(row)[1] == 1 for row in absent)  # what was read as a row before
            if absent and not is_header:
                notes.append(f"{name} is held, and {len(absent):,} of its rows are not in the files")
                continue
            result = _ingested(stores, graph, stream, one, day, names, lease, history(stream.name))
            done = "is held again" if result.publication is None else "is published"
            notes.append(f"{name} was read again, because `columns=` or its contract has changed: it {done}")
            yield result


def _days(
    stores: Stores, stream: StreamDeclaration, held: Sequence[HeldIncrement], now: datetime
) -> list[tuple[DayRows, Mapping[int, str]]]:
    """The rows of each held increment as they are read now, and the names of their files; none of other sources."""
    rows = [_row_ids(stores, one) for one in held]
    source = sources_of(stores, stream)[0]
    position = stream_position(stores.ledger, stream.name)
    states = position.states(stores.source_states, stream.name)
    state = states.get(KIND, states.get(""))
    numbers = {split_row_id(row)[0] for of_one in rows for row in of_one}
    request = ReadRequest(
        until=None,
        after=position.day,
        state=None if state is None else with_unread(state, numbers),
        zone=stream.day_zone,
        arrival=from_micros(held[-1].increment.as_of),
        now=now,
        roots=stores.settings.source_roots,
    )
    read = source.read(request)
    good, refused = hidden_rows(stream, read.good, read.refused, stores.surrogates, stores.vault)
    return [
        (DayRows(one.increment.day, _only(good, of_one), _only(refused, of_one)), read.names)
        for one, of_one in zip(held, rows, strict=True)
    ]


def _row_ids(stores: Stores, held: HeldIncrement) -> list[int]:
    """The `_row` of each of its rows and refused lines, without rows of people whose keys are destroyed."""
    tables = [opened_table(stores.vault, held.rows)[0], *([] if held.refused is None else [held.refused])]
    return [row for table in tables for row in table[ROW].to_pylist()]


def _only(rows: pa.Table, those: Sequence[int]) -> pa.Table:
    return rows.filter(pc.is_in(rows[ROW], value_set=pa.array(those, pa.int64())))


def _ingested(
    stores: Stores,
    graph: ProjectGraph,
    stream: StreamDeclaration,
    held: HeldIncrement,
    day: DayRows,
    names: Mapping[int, str],
    lease: Lease,
    history: Sequence[Mapping[str, float]],
) -> IngestResult:
    increment = held.increment
    newest = stores.lake.view().as_of if stores.ledger.last("publish") else increment.as_of
    arrival = IncrementRows(
        stream,
        increment.number,
        day,
        from_micros(increment.arrived_at),
        names=names,
        backfill=increment.backfill,
        known_at=from_micros(max(newest, increment.as_of)),
        replaces_increment=increment.number,
    )
    about = {"settles": str(increment.number), "how": "read again"}
    return ingest_increment(stores, graph, arrival, lease=lease, history=history, details=about)
