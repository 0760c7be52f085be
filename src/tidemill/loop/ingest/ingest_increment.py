"""Ingestion of one increment: from arrived rows to a publication of every table, or to a hold.

Rows are merged into the stream's table, the dependent tables are recomputed, all are checked, and only then does one
publication name all new versions at once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.checks import defaults, evaluate, split_refused
from tidemill.core.canonical import fingerprint
from tidemill.core.clock import as_of, to_micros
from tidemill.core.contract.contract import INCREMENT, KNOWN_AT, ROW
from tidemill.core.ports import Lease
from tidemill.core.processes.memory import require_memory
from tidemill.core.records.ingest import Increment, Publication, RowCounts, Verdict
from tidemill.core.row_ids import split_row_id
from tidemill.lake.commitment import commitment, frame_commitment
from tidemill.loop.ingest.arrivals import DayRows, event_times
from tidemill.loop.ingest.arrived_rows import ManyRows, in_memory
from tidemill.loop.ingest.lay_in import lay_in
from tidemill.loop.ingest.rebuild_tables import table_codes
from tidemill.loop.ingest.sealed_table import sealed_table
from tidemill.loop.ingest.table_build import Rows, TableBuild
from tidemill.loop.ingest.worker_rows import UNFIT
from tidemill.loop.project.declarations import StreamDeclaration
from tidemill.loop.project.graph import ProjectGraph, contract_schema
from tidemill.loop.project.stores import Stores

_TIME = pa.timestamp("us", "UTC")
#: Bytes of memory that sealing a held row takes, about.
HELD_ROW_BYTES = 1_500


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
    arrival = replace(arrival, day=replace(arrival.day, rows=in_memory(arrival.day.rows)))
    unfit, broken, good = _divided(arrival)
    build = TableBuild(stores, graph, stores.lake.draft(lease))
    counts = lay_in(build, arrival.stream, arrival.day, good, broken.num_rows)
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
        sha256 = stores.lake.quarantine(arrival.stream.name, arrival.number, _refused(stores, arrival, unfit, broken))
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
    rows = arrival.day.rows
    if isinstance(rows, ManyRows):
        what = f"to hold increment {arrival.number} of `{arrival.stream.name}` ({rows.num_rows:,} rows)"
        require_memory(HELD_ROW_BYTES * rows.num_rows, what, tip="ingest fewer days at once: tidemill run --until DAY")
        rows = rows.collect()
    return sealed_table(stores.vault, rows, arrival.stream.contract.role("subject"))


def _divided(arrival: IncrementRows) -> tuple[pa.Table, pa.Table, Rows]:
    """The rows that the contract refuses, each one's column and reason, and the other rows with the lake's columns."""
    rows, contract = arrival.day.rows, arrival.stream.contract
    if isinstance(rows, ManyRows):
        unfit = rows.engine.collect(rows.frame.filter(nw.col(UNFIT)).select(*rows.schema.names)).cast(rows.schema)
        broken = split_refused(contract, unfit.drop_columns(["_day"]))[1]
        return unfit, broken, _stamped_frame(arrival, rows)
    good, broken = split_refused(contract, rows.drop_columns(["_day"]))
    unfit = rows.filter(pc.is_in(rows[ROW], value_set=broken[ROW].combine_chunks()))
    n = good.num_rows
    fit = rows if n == rows.num_rows else rows.filter(pc.is_in(rows[ROW], value_set=good[ROW].combine_chunks()))
    good = good.append_column(INCREMENT, pa.array([arrival.number] * n, pa.int64()))
    return unfit, broken, good.append_column(KNOWN_AT, _known_times(arrival, fit["_day"]))


def _stamped_frame(arrival: IncrementRows, rows: ManyRows) -> nw.LazyFrame[Any]:
    """The rows that the contract accepts, with its defaults and the lake's own columns."""
    contract = arrival.stream.contract
    days = pa.array(rows.by_day, pa.int32()).cast(pa.date32())
    known = pa.table({"_day": days, KNOWN_AT: _known_times(arrival, pa.chunked_array([days]))})
    defaults = {column.name: column.default for column in contract.columns if column.optional}
    given = [nw.col(name).fill_null(value) for name, value in defaults.items() if value is not None]
    frame = rows.frame.filter(~nw.col(UNFIT)).join(rows.engine.frame(known), on="_day")
    frame = frame.with_columns(nw.lit(arrival.number, nw.Int64).alias(INCREMENT), *given)
    return frame.select(*contract_schema(contract).names)


def _known_times(arrival: IncrementRows, days: pa.ChunkedArray) -> pa.Array:
    """The known time of rows of these days."""
    if arrival.backfill:
        return _ends_of_days(days, arrival.stream)
    at = arrival.known_at or arrival.as_of
    return pa.array([to_micros(at)] * len(days), pa.int64()).cast(_TIME)


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
    rows = arrival.day.rows
    return evaluate(
        stream.name,
        rows.frame.drop("_day", UNFIT) if isinstance(rows, ManyRows) else rows.drop_columns(["_day"]),
        own if stream.snapshot else [*defaults(own), *own],
        engine=stores.engine,
        counts=counts,
        as_of=to_micros(arrival.as_of),
        event_time=stream.contract.event_time,
        history=history,
    )


def _names(arrival: IncrementRows) -> dict[str, str]:
    """The names of the files of the increment's rows, by number."""
    rows = arrival.day.rows
    if isinstance(rows, ManyRows):
        return {str(number): name for number, name in arrival.names.items()}
    numbers = pc.unique(pc.shift_right(rows[ROW].combine_chunks(), 40)).to_pylist()
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
    first, last = event_times(rows, stream.contract.event_time) if rows.num_rows else (None, None)
    name = f"{stores.identity.id}/{stream.name}/{arrival.number}"
    if isinstance(rows, ManyRows):
        sealed = frame_commitment(rows.engine, rows.frame.select(*rows.schema.names), stores.keys, name)
    else:
        sealed = commitment(rows, stores.keys.subject, name)
    return Increment(
        stream=stream.name,
        number=arrival.number,
        day=arrival.day.day,
        as_of=to_micros(arrival.as_of),
        backfill=arrival.backfill,
        arrived_at=to_micros(arrival.arrived_at),
        first_event=first,
        last_event=last,
        counts=counts,
        commitment=sealed,
        replaces_increment=arrival.replaces_increment,
    )


def _refused(stores: Stores, arrival: IncrementRows, unfit: pa.Table, broken: pa.Table) -> pa.Table:
    """The rows of the increment that go to quarantine: refused by the parser or the contract."""
    parsed = arrival.day.refused.drop_columns(["_day"])
    if not broken.num_rows:
        return parsed
    at = broken[ROW].to_pylist()
    whole = {row[ROW]: row for row in unfit.to_pylist()}
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
