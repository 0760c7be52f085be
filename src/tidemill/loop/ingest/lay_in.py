"""Laying in: the arrived rows of an increment become rows of their stream's table."""

from __future__ import annotations

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.contract.contract import ROW
from tidemill.core.records.ingest import RowCounts
from tidemill.lake import StagedMerge, StreamMerge
from tidemill.loop.ingest.arrivals import DayRows
from tidemill.loop.ingest.table_build import Rows, TableBuild
from tidemill.loop.project.declarations import StreamDeclaration
from tidemill.loop.project.graph import contract_schema
from tidemill.sources.posted_events import DAMAGED


def lay_in(build: TableBuild, stream: StreamDeclaration, day: DayRows, rows: Rows, refused: int) -> RowCounts:
    """Merge the arrived rows, with the lake's columns, into the stream's table. `refused` others do not fit."""
    if stream.snapshot:
        rows = _newest(build, stream, rows)
    personal = build.graph.personal(stream.name)
    merged: StreamMerge | StagedMerge
    if isinstance(rows, nw.LazyFrame):
        schema = contract_schema(stream.contract)
        merged = build.draft.merge_frame(stream.name, rows, schema, stream.key, personal=personal)
    else:
        merged = build.draft.merge_stream(stream.name, rows, stream.key, personal=personal)
    build.changed[stream.name] = merged
    return RowCounts(
        arrived=day.rows.num_rows + day.refused.num_rows,
        refused=refused + day.refused.num_rows,
        damaged=pc.sum(pc.starts_with(day.refused["reason"], DAMAGED)).as_py() or 0,
        repeated=merged.repeated,
        contradicted=merged.contradicted,
        merged=merged.merged,
    )


def _newest(build: TableBuild, stream: StreamDeclaration, rows: Rows) -> Rows:
    """The rows of a snapshot that are newer than the stored ones."""
    key, order = list(stream.key), [stream.contract.event_time, ROW]
    engine, names = build.stores.engine, contract_schema(stream.contract).names
    new = rows if isinstance(rows, nw.LazyFrame) else engine.frame(rows)
    new = new.select(*names).unique(key, keep="last", order_by=order)
    if isinstance(rows, pa.Table):
        rows = engine.collect(new)
        if not rows.num_rows:
            return rows
        new = engine.frame(rows)
    kept = build.draft.scan(stream.name, rows.select(key) if isinstance(rows, pa.Table) else new.select(*key))
    both = nw.concat([kept.select(*names).with_columns(_new=nw.lit(False)), new.with_columns(_new=nw.lit(True))])
    newest = both.unique(key, keep="last", order_by=order).filter(nw.col("_new")).select(*names)
    return newest if isinstance(rows, nw.LazyFrame) else engine.collect(newest).select(names)
