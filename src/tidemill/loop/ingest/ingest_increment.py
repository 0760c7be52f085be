"""Ingestion of one increment: from arrived rows to a publication of every table, or to a hold.

Rows are merged into the stream's table, the dependent tables are recomputed, all are checked, and only then does one
publication name all new versions at once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.checks import defaults, evaluate, split_refused
from tidemill.core.canonical import fingerprint
from tidemill.core.clock import as_of, to_micros
from tidemill.core.contract.contract import INCREMENT, KNOWN_AT, ROW
from tidemill.core.ports import Lease
from tidemill.core.records.ingest import Increment, Publication, RowCounts, Verdict
from tidemill.core.row_ids import split_row_id
from tidemill.lake.commitment import commitment
from tidemill.loop.ingest.arrivals import DayRows
from tidemill.loop.ingest.rebuild_tables import table_codes
from tidemill.loop.ingest.sealed_table import sealed_table
from tidemill.loop.ingest.table_build import TableBuild
from tidemill.loop.project.declarations import StreamDeclaration
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.sources.posted_events import DAMAGED

_TIME = pa.timestamp("us", "UTC")


@dataclass(frozen=True)
class IngestResult:
    """The result of ingesting an increment: its verdict and, unless held, its publication."""

    increment: Increment
    verdict: Verdict
    #: `None` if it is held.
    publication: Publication | None
    #: Table rows read for it, and CPU microseconds.
    rows_read: int
    cpu_us: int


@dataclass(frozen=True)
class IncrementRows:
    """The rows of an increment, and the metadata for its record."""

    stream: StreamDeclaration
    number: int
    day: DayRows
    arrived_at: datetime
    #: Number in `_row` -> file name, for display.
    names: Mapping[int, str] = field(default_factory=dict)
    backfill: bool = False
    #: The known time of its rows; `None`: the end of its day.
    known_at: datetime | None = None
    replaces_increment: int | None = None

    @property
    def as_of(self) -> datetime:
        """The end of its day in the stream's zone."""
        return as_of(self.day.day, self.stream.day_zone)


def ingest_increment(
    stores: Stores,
    graph: ProjectGraph,
    arrival: IncrementRows,
    *,
    lease: Lease,
    history: Sequence[Mapping[str, float]] = (),
    details: Mapping[str, str] | None = None,
    accepted: bool = False,
) -> IngestResult:
    """Publish an increment, or hold it. `accepted` publishes it regardless of the verdict, as a person decided."""
    started = time.process_time_ns()
    good, broken = split_refused(arrival.stream.contract, arrival.day.rows.drop_columns(["_day"]))
    build = TableBuild(stores, graph, stores.lake.draft(lease))
    counts = _lay_in(build, arrival, _stamped(arrival, good), broken.num_rows)
    increment = _record(stores, arrival, counts)
    verdicts = [_check_stream(stores, graph, arrival, counts, history)]
    changed = build.moved | ({arrival.stream.name} if build.changed[arrival.stream.name].n_changed else set())
    verdicts += [build.make(table, arrival.as_of, history) for table in graph.downstream(changed)]
    if arrival.day.outlier is not None:
        verdicts.append(Verdict(outcome="hold", failures=(arrival.day.outlier,), checked=1))
    verdict = merge_verdicts(verdicts)
    about = {
        **(details or {}),
        "codes": table_codes(graph),
        "rows_read": str(build.draft.rows_read),
        "cpu_us": str((time.process_time_ns() - started) // 1000),
    }
    publication = None
    if verdict.outcome == "hold" and not accepted:
        named = {**about, "names": _names(arrival), "reading": reading_of(stores, arrival.stream)}
        build.draft.hold(increment, verdict, _held(stores, arrival), refused=arrival.day.refused, details=named)
    else:
        sha256 = stores.lake.quarantine(arrival.stream.name, arrival.number, _refused(stores, arrival, broken))
        about |= {"quarantine": sha256} if sha256 else {}
        build.pin_external()
        publication = build.draft.publish(increment, verdict, details=about)
    return IngestResult(
        increment, verdict, publication, build.draft.rows_read, (time.process_time_ns() - started) // 1000
    )


def reading_of(stores: Stores, stream: StreamDeclaration) -> str:
    """Fingerprint of how the rows of a stream are read: the options of its source's URL, and its contract."""
    options = stores.settings.sources.get(stream.name, "").partition("?")[2]
    return fingerprint([options, msgspec.json.encode(stream.contract).decode()])


def _held(stores: Stores, arrival: IncrementRows) -> pa.Table:
    return sealed_table(stores.vault, arrival.day.rows, arrival.stream.contract.role("subject"))


def _lay_in(build: TableBuild, arrival: IncrementRows, rows: pa.Table, refused: int) -> RowCounts:
    """Merge the arrived rows into the stream's table."""
    stream = arrival.stream
    if stream.snapshot:
        rows = _newest(build, stream, rows)
    merged = build.draft.merge_stream(stream.name, rows, stream.key, personal=build.graph.personal(stream.name))
    build.changed[stream.name] = merged
    return RowCounts(
        arrived=arrival.day.rows.num_rows + arrival.day.refused.num_rows,
        refused=refused + arrival.day.refused.num_rows,
        damaged=pc.sum(pc.starts_with(arrival.day.refused["reason"], DAMAGED)).as_py() or 0,
        repeated=merged.repeated,
        contradicted=merged.contradicted,
        merged=merged.merged,
    )


def _newest(build: TableBuild, stream: StreamDeclaration, rows: pa.Table) -> pa.Table:
    """The rows of a snapshot that are newer than the stored ones."""
    key, order = list(stream.key), [stream.contract.event_time, ROW]
    engine = build.stores.engine
    new = engine.collect(engine.frame(rows).unique(key, keep="last", order_by=order))
    if not new.num_rows:
        return new
    kept = engine.collect(build.draft.scan(stream.name, new.select(key)))
    both = pa.concat_tables([kept.select(new.column_names).cast(new.schema), new])
    newest = engine.collect(engine.frame(both).unique(key, keep="last", order_by=order))
    return newest.filter(pc.is_in(newest[ROW], value_set=new[ROW].combine_chunks()))


def _stamped(arrival: IncrementRows, rows: pa.Table) -> pa.Table:
    """The rows with the lake's own columns: their increment and their known time."""
    n = rows.num_rows
    if arrival.backfill:
        days = arrival.day.rows["_day"]
        on = pc.is_in(arrival.day.rows[ROW], value_set=rows[ROW].combine_chunks())
        known = _ends_of_days(days.filter(on), arrival.stream)
    else:
        at = arrival.known_at or arrival.as_of
        known = pa.array([to_micros(at)] * n, pa.int64()).cast(_TIME)
    return rows.append_column(INCREMENT, pa.array([arrival.number] * n, pa.int64())).append_column(KNOWN_AT, known)


def _ends_of_days(days: pa.ChunkedArray, stream: StreamDeclaration) -> pa.Array:
    """For each day, its end in the stream's time zone plus the stream's declared delay."""
    encoded = pc.dictionary_encode(days.combine_chunks())
    delay = timedelta(days=stream.delay_days)
    ends = [to_micros(as_of(day, stream.day_zone) + delay) for day in encoded.dictionary.to_pylist()]
    return pc.take(pa.array(ends, pa.int64()).cast(_TIME), encoded.indices)


def _check_stream(
    stores: Stores,
    graph: ProjectGraph,
    arrival: IncrementRows,
    counts: RowCounts,
    history: Sequence[Mapping[str, float]],
) -> Verdict:
    stream = arrival.stream
    own = graph.mill.expectations.get(stream.name, [])
    return evaluate(
        stream.name,
        arrival.day.rows.drop_columns(["_day"]),
        own if stream.snapshot else [*defaults(own), *own],
        engine=stores.engine,
        counts=counts,
        as_of=to_micros(arrival.as_of),
        event_time=stream.contract.event_time,
        history=history,
    )


def _names(arrival: IncrementRows) -> dict[str, str]:
    """The names of the files of the increment's rows, by number."""
    numbers = pc.unique(pc.shift_right(arrival.day.rows[ROW].combine_chunks(), 40)).to_pylist()
    return {str(number): arrival.names[number] for number in numbers if number in arrival.names}


def merge_verdicts(verdicts: Sequence[Verdict]) -> Verdict:
    """All verdicts of an increment combined: the most severe outcome, every failure."""
    outcomes = [verdict.outcome for verdict in verdicts]
    outcome = "hold" if "hold" in outcomes else "warn" if "warn" in outcomes else "pass"
    return Verdict(
        outcome=outcome,  # type: ignore[arg-type]  # one of three, by construction
        failures=tuple(failure for verdict in verdicts for failure in verdict.failures),
        checked=sum(verdict.checked for verdict in verdicts),
        notes=tuple(note for verdict in verdicts for note in verdict.notes),
        metrics={name: value for verdict in verdicts for name, value in verdict.metrics.items()},
    )


def _record(stores: Stores, arrival: IncrementRows, counts: RowCounts) -> Increment:
    stream, rows = arrival.stream, arrival.day.rows
    times = pc.min_max(rows[stream.contract.event_time].cast(pa.int64())).as_py() if rows.num_rows else {}
    name = f"{stores.identity.id}/{stream.name}/{arrival.number}"
    return Increment(
        stream=stream.name,
        number=arrival.number,
        day=arrival.day.day,
        as_of=to_micros(arrival.as_of),
        backfill=arrival.backfill,
        arrived_at=to_micros(arrival.arrived_at),
        first_event=times.get("min"),
        last_event=times.get("max"),
        counts=counts,
        commitment=commitment(rows, stores.keys.subject, name),
        replaces_increment=arrival.replaces_increment,
    )


def _refused(stores: Stores, arrival: IncrementRows, broken: pa.Table) -> pa.Table:
    """The rows of the increment that go to quarantine: refused by the parser or the contract."""
    parsed = arrival.day.refused.drop_columns(["_day"])
    if not broken.num_rows:
        return parsed
    at = broken[ROW].to_pylist()
    whole = {
        row[ROW]: row
        for row in arrival.day.rows.filter(
            pc.is_in(arrival.day.rows[ROW], value_set=broken[ROW].combine_chunks())
        ).to_pylist()
    }
    rows = {
        ROW: at,
        "file": [arrival.names.get(file, str(file)) for file, _ in map(split_row_id, at)],
        "line": [line for _, line in map(split_row_id, at)],
        "column": broken["column"].to_pylist(),
        "reason": broken["reason"].to_pylist(),
        "raw": _sealed_rows(stores, arrival.stream, [whole[row] for row in at]),
    }
    return pa.concat_tables([parsed, pa.table(rows).select(parsed.column_names).cast(parsed.schema)])


def _sealed_rows(stores: Stores, stream: StreamDeclaration, rows: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Each row sealed under the keys of the people that it names."""
    columns = stream.contract.role("subject")
    people = [[row[column] for column in columns if row[column]] for row in rows]
    keys = stores.vault.keys_of({surrogate for named in people for surrogate in named})
    return [
        stores.vault.seal_with(keys, msgspec.json.encode(row), named) for row, named in zip(rows, people, strict=True)
    ]
