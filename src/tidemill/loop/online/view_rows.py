"""Online rows of a feature view: the current row of each entity as of a publication."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.contract.contract import KNOWN_AT
from tidemill.core.ports import Latest
from tidemill.features import ViewSpec, newest_by_key
from tidemill.features.column_statistics import ColumnStatistics, column_statistics
from tidemill.features.feature_history import current_rows
from tidemill.features.value_intervals import AT
from tidemill.lake import LakeSnapshot
from tidemill.lake.part_exchange import parts_of
from tidemill.loop.online.feature_metadata_files import DeclaredView
from tidemill.loop.project.declarations import FeatureViewDeclaration
from tidemill.loop.project.graph import ProjectGraph, naming_function


def newest_rows(graph: ProjectGraph, view: LakeSnapshot, features: FeatureViewDeclaration) -> pa.Table:
    """The rows of `newest_batches` in memory, sorted by entity."""
    return newest_batches(graph, view, features).read_all().sort_by(features.entity)


def newest_batches(graph: ProjectGraph, view: LakeSnapshot, features: FeatureViewDeclaration) -> pa.RecordBatchReader:
    """One row per entity: the view's columns, and `_at` (int64 microseconds). The engine computes them while they are
    read.

    For aggregates, the values at the last boundary at or before the publication's as-of; an entity without rows in its
    window has no row. For rows, the newest event known by then, with `_at` its event time. Rows without an event time
    or a known time are used unchanged, with `_at` their event time if they have one, else the as-of.
    """
    spec, engine = view_spec(graph, features), graph.engine
    frames = {name: view.scan(name) for name in features.inputs}
    schema = graph.schemas[features.name]
    parts = parts_of(max(view.rows(name) for name in features.inputs))
    made = schema.append(pa.field(AT, pa.int64()))
    with naming_function(f"features {features.name!r}"):
        if spec.aggregated or _dated(spec, schema):
            frame = current_rows(spec, frames, engine, as_of=view.as_of, parts=parts)[0].select(*made.names)
        else:
            newest = UndatedRows(features.entity, event_time(graph, features.name), view.as_of)
            frame = features.function(**frames).select(*schema.names)
            frame = engine.map_parts([frame], [features.entity], parts, newest, made)

    def batches() -> Iterator[pa.RecordBatch]:
        with naming_function(f"features {features.name!r}"):
            for rows in engine.batches(frame):
                yield from rows.select(made.names).cast(made).to_batches()

    return pa.RecordBatchReader.from_batches(made, batches())


def _dated(spec: ViewSpec, schema: pa.Schema) -> bool:
    """Whether rows of a view have an event time and a known time."""
    times = {time for name in spec.inputs if (time := spec.times.get(name, ""))}
    return bool(times & set(schema.names)) and (spec.known == "event" or KNOWN_AT in schema.names)


@dataclass(frozen=True)
class UndatedRows:
    """Of rows of a view without known times, the newest of each entity; `_at` is its event time, else the as-of."""

    entity: str
    #: The column of the event time; empty if there is none.
    time: str
    as_of: int

    def __call__(self, rows: pa.Table) -> pa.Table:
        now = pa.scalar(self.as_of, pa.int64())
        kept = newest_by_key(rows, self.entity, order_by=[self.time] if self.time else [])
        at = pc.fill_null(kept[self.time].cast(pa.int64()), now) if self.time else pa.repeat(now, kept.num_rows)
        return kept.append_column(AT, at)


def view_spec(graph: ProjectGraph, features: FeatureViewDeclaration) -> ViewSpec:
    """The specification of `features`; a table without a stream's event time has an empty one in `times`."""
    return ViewSpec(
        name=features.name,
        entity=features.entity,
        function=features.function,
        inputs=features.inputs,
        times={name: event_time(graph, name) for name in features.inputs},
        window_us=features.window_us,
        every_us=features.every_us,
        ttl_us=features.ttl_us,
        known=features.known,
    )


def event_time(graph: ProjectGraph, table: str) -> str:
    """The event-time column of a stream, table or view; empty if it keeps none of its streams' event times."""
    names = graph.schemas[table].names
    times = (stream.contract.event_time for stream in graph.streams_of(table))
    return next((time for time in times if time in names), "")


def online_rows(latest: Latest, view: DeclaredView) -> pa.Table:
    """One row per entity with the declared columns and `_at`; no columns if the view was never materialised."""
    keys = latest.keys(view.name)
    if not keys:
        return pa.table({})
    there = latest.get(view.name, keys[0]) or {}  # rows of a run with earlier code may have other columns
    names = [name for name in (*view.columns, AT) if name in there]
    return latest.take(view.name, keys, names)[0]


def online_figures(rows: pa.Table, view: DeclaredView) -> tuple[ColumnStatistics, ...]:
    """Statistics of the declared columns that exist; only types if there are no rows."""
    if not rows.num_columns:
        return tuple(ColumnStatistics(name=name, type=kind, missing=0.0) for name, kind in view.columns.items())
    names = [name for name in view.columns if name in rows.column_names]
    return tuple(column_statistics(rows, names, personal={*view.hidden}))
