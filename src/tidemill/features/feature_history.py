"""Feature history: a view's values over time for training, and its newest values for the online store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import pyarrow as pa

from tidemill.core.empty_tables import empty_table
from tidemill.core.ports import Engine
from tidemill.features.aggregate_recognition import recognise_aggregates
from tidemill.features.row_views import CurrentRows, rows_until
from tidemill.features.sliding_window import sliding_window
from tidemill.features.value_intervals import BoundaryMetadata
from tidemill.features.view_spec import ViewSpec
from tidemill.features.window_evaluation import (
    Frames,
    at_boundary,
    boundary_rows,
    each_boundary,
    first_boundary,
    windows_of,
)


@dataclass(frozen=True)
class ViewHistory:
    """All values of a view that were valid by a time, as a frame of the engine."""

    frame: nw.LazyFrame[Any]
    #: The frame's columns.
    facts: pa.Schema
    #: Makes what `view_history` returns of the frame's rows, or of some of them. It can be pickled.
    read: Callable[[pa.Table], pa.Table]


def history_frame(
    spec: ViewSpec, frames: Frames, engine: Engine, *, start: int | None, end: int, parts: int = 1
) -> ViewHistory:
    """What `view_history` returns, on the engine: aggregates are made in `parts` parts by entity.

    Functions whose aggregates are not recognised are evaluated boundary by boundary, and their intervals merged in this
    process.
    """
    if not spec.aggregated:
        return ViewHistory(*rows_until(spec, frames, engine, end))
    windows = windows_of(spec)
    last = windows.last_by(end)
    first = windows.first_from(start) if start is not None else first_boundary(spec, frames, engine, last)
    read = BoundaryMetadata(windows.every_us, last * windows.every_us)
    form = recognise_aggregates(spec) if first <= last else None
    timed = form is not None and spec.times.get(form.source)
    made = sliding_window(spec, form, frames, engine, (first, last), parts) if form is not None and timed else None
    if made is None:
        rows = each_boundary(spec, frames, engine, first, last)
        made = engine.frame(rows), rows.schema
    return ViewHistory(*made, read)


def view_history(spec: ViewSpec, frames: Frames, engine: Engine, *, start: int | None, end: int) -> pa.Table:
    """All values of a view that were valid by `end` (microseconds), in memory.

    A view of *rows*: the function's rows, `_at` (event time) and `_known_at`, int64 microseconds; `start` is not used,
    because the newest row before it is still valid after it.

    *Aggregates*: value intervals: entity, columns, `_at` (first boundary) and `_until` (last boundary), inclusive int64
    microseconds, sorted, from the first boundary at or after `start` (else after the earliest event) up to the last at
    or before `end`. The result equals the evaluation of each boundary on its own; recognised counts, sums and means
    cost two changes per row instead. Late rows enter when they were known, so a history computed at once equals one
    computed day by day.

    `GraphError` where rows have no event time or known time, or an entity has several rows at one boundary.
    """
    history = history_frame(spec, frames, engine, start=start, end=end)
    return history.read(engine.collect(history.frame))


def view_at(spec: ViewSpec, frames: Frames, engine: Engine, *, as_of: int) -> pa.Table:
    """The current row of each entity at `as_of` (microseconds), with `_at`, for the online store.

    Rows: the newest event that was known, sorted by entity. Aggregates: the value at the last boundary at or before
    `as_of`, over the rows of its window; an entity without rows in the window has no value.
    """
    if spec.aggregated:
        return at_boundary(spec, frames, engine, windows_of(spec).last_by(as_of))
    return engine.collect(current_rows(spec, frames, engine, as_of=as_of)[0]).sort_by(spec.entity)


def current_rows(
    spec: ViewSpec, frames: Frames, engine: Engine, *, as_of: int, parts: int = 1
) -> tuple[nw.LazyFrame[Any], pa.Schema]:
    """The rows of `view_at` as a frame of the engine, in any order, and their schema.

    Whether an entity has several rows at a boundary is not checked here.
    """
    if spec.aggregated:
        return boundary_rows(spec, frames, engine, windows_of(spec).last_by(as_of))
    frame, facts, visible = rows_until(spec, frames, engine, as_of)
    schema = visible(empty_table(facts)).schema
    newest = CurrentRows(visible, by_event=spec.known == "event")
    return engine.map_parts([frame], [spec.entity], parts, newest, schema), schema
