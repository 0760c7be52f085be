"""The row of each entity of a feature view that counts at the end of a publication: what goes online."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.schema import KNOWN_AT
from tidemill.features import ViewSpec, newest, view_at
from tidemill.features.stretches import AT
from tidemill.lake import View
from tidemill.loop.graph import Graph, told_of
from tidemill.loop.nodes import Features
from tidemill.loop.views.view_specs import event_time, view_spec


def newest_rows(graph: Graph, view: View, features: Features) -> pa.Table:
    """One row per entity: the view's columns, and `_at` (int64 microseconds), sorted by entity.

    Of aggregates, those of the last boundary at or before the publication's as-of; an entity without rows in its window
    has none. Of rows, the newest event that was known by then, and `_at` is when it happened. Rows that do not say when
    they happened or were known count as they are, `_at` being their event time where they have one, else the as-of.
    """
    spec = view_spec(graph, features)
    frames = {name: view.scan(name) for name in features.inputs}
    schema = graph.schemas[features.name]
    with told_of(f"features {features.name!r}"):
        if spec.aggregated or _dated(spec, schema):
            rows = view_at(spec, frames, graph.engine, as_of=view.as_of)
        else:
            rows = _undated(graph, features, graph.engine.collect(features.function(**frames)), view.as_of)
    kept = {name: rows[name].cast(schema.field(name).type) for name in schema.names}
    return pa.table({**kept, AT: rows[AT]})


def _dated(spec: ViewSpec, schema: pa.Schema) -> bool:
    """Whether rows of a view can say when they happened and when they were known."""
    times = {time for name in spec.inputs if (time := spec.times.get(name, ""))}
    return bool(times & set(schema.names)) and (spec.known == "event" or KNOWN_AT in schema.names)


def _undated(graph: Graph, features: Features, rows: pa.Table, as_of: int) -> pa.Table:
    time, now = event_time(graph, features.name), pa.scalar(as_of, pa.int64())
    kept = newest(rows, features.entity, order_by=[time] if time else [])
    at = pc.fill_null(kept[time].cast(pa.int64()), now) if time else pa.repeat(now, kept.num_rows)
    return kept.append_column(AT, at)
