"""Feature history: a view's values over time for training, and its newest values for the online store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import narwhals as nw
import pyarrow as pa

from tidemill.core.ports import Engine
from tidemill.features.aggregate_recognition import recognise_aggregates
from tidemill.features.row_views import newest_of, rows_until
from tidemill.features.sliding_window import sliding_window
from tidemill.features.value_intervals import with_boundary_metadata
from tidemill.features.view_spec import ViewSpec
from tidemill.features.window_evaluation import at_boundary, each_boundary, first_boundary, windows_of

Frames = Mapping[str, nw.LazyFrame[Any]]


def view_history(spec: ViewSpec, frames: Frames, engine: Engine, *, start: int | None, end: int) -> pa.Table:
    """All values of a view that were valid by `end` (microseconds).

    A view of *rows*: the function's rows, `_at` (event time) and `_known_at`, int64 microseconds; `start` is not used,
    because the newest row before it is still valid after it.

    *Aggregates*: value intervals: entity, columns, `_at` (first boundary) and `_until` (last boundary), inclusive int64
    microseconds, sorted, from the first boundary at or after `start` (else after the earliest event) up to the last at
    or before `end`. The result equals the evaluation of each boundary on its own; recognised counts, sums and means
    cost two changes per row instead. Late rows enter when they were known, so a history computed at once equals one
    computed day by day.

    `GraphError` where rows have no event time or known time, or an entity has several rows at one boundary.
    """
    if not spec.aggregated:
        return rows_until(spec, frames, engine, end)
    windows = windows_of(spec)
    last = windows.last_by(end)
    first = windows.first_from(start) if start is not None else first_boundary(spec, frames, engine, last)
    form = recognise_aggregates(spec) if first <= last else None
    timed = form is not None and spec.times.get(form.source)
    history = sliding_window(spec, form, frames, engine, first, last) if form is not None and timed else None
    if history is None:
        history = each_boundary(spec, frames, engine, first, last)
    return with_boundary_metadata(history, windows.every_us, last * windows.every_us)


def view_at(spec: ViewSpec, frames: Frames, engine: Engine, *, as_of: int) -> pa.Table:
    """The current row of each entity at `as_of` (microseconds), with `_at`, for the online store.

    Rows: the newest event that was known. Aggregates: the value at the last boundary at or before `as_of`, over the
    rows of its window; an entity without rows in the window has no value.
    """
    if not spec.aggregated:
        return newest_of(spec, rows_until(spec, frames, engine, as_of))
    return at_boundary(spec, frames, engine, windows_of(spec).last_by(as_of))
