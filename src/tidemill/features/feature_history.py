"""Feature history: a view's values over time, for training, and its newest ones, for the online store."""

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
    """All values of a view that counted by `end` (microseconds).

    A view of *rows*: the function's rows, `_at` (event time) and `_known_at`, int64 microseconds; `start` is not used,
    because the newest row before it still counts after it.

    *Aggregates*: stretches: entity, columns, `_at` (first boundary) and `_until` (last boundary), inclusive int64
    microseconds, sorted, from the first boundary at or after `start` (else after the earliest event) up to the last at
    or before `end`. It is what evaluating each boundary alone gives; counts, sums and means that are recognised cost
    two changes per row instead. Late rows enter when they were known, so a history made in one go equals one made day
    by day.

    `GraphError` where rows cannot say when they happened or were known, or an entity has several at one boundary.
    """
    if not spec.aggregated:
        return rows_until(spec, frames, engine, end)
    windows = windows_of(spec)
    last = windows.last_by(end)
    first = windows.first_from(start) if start is not None else first_boundary(spec, frames, engine, last)
    form = recognise_aggregates(spec) if first <= last else None
    timed = form is not None and spec.times.get(form.source)
    made = sliding_window(spec, form, frames, engine, first, last) if form is not None and timed else None
    if made is None:
        made = each_boundary(spec, frames, engine, first, last)
    return with_boundary_metadata(made, windows.every_us, last * windows.every_us)


def view_at(spec: ViewSpec, frames: Frames, engine: Engine, *, as_of: int) -> pa.Table:
    """The row of each entity that counts at `as_of` (microseconds), with `_at`: what goes online.

    Rows: the newest event that was known. Aggregates: the last boundary at or before `as_of` alone, over the rows of
    its window; an entity without rows in it has no value.
    """
    if not spec.aggregated:
        return newest_of(spec, rows_until(spec, frames, engine, as_of))
    return at_boundary(spec, frames, engine, windows_of(spec).last_by(as_of))
