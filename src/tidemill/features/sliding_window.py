"""Sliding-window counts, sums and means at every boundary, in one pass: each row enters once and leaves once.

A row is added at the first boundary that includes it and removed after the last (`Windows.counted`). Sorted by entity
and boundary, the cumulative sums of these changes are the totals at every boundary at which anything changed. The cost
is two changes per row, independent of the window and of the number of boundaries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tidemill.core.contract.contract import KNOWN_AT
from tidemill.core.empty_tables import empty_table
from tidemill.core.ports import Engine
from tidemill.features.aggregate_recognition import AggregateView, Total
from tidemill.features.epoch_micros import plain_micros
from tidemill.features.exact_sums import FixedPoint
from tidemill.features.frame_schema import frame_schema
from tidemill.features.value_intervals import AT, UNTIL, merge_intervals
from tidemill.features.view_spec import ViewSpec
from tidemill.features.window_evaluation import seen, windows_of
from tidemill.features.windows import Windows

Ints = NDArray[np.int64]
_EVENT, _KNOWN = "_tm_event", "_tm_known"
_WHOLE = (nw.Int8, nw.Int16, nw.Int32, nw.Int64, nw.UInt8, nw.UInt16, nw.UInt32, nw.Boolean)


def sliding_window(
    spec: ViewSpec,
    form: AggregateView,
    frames: Mapping[str, nw.LazyFrame[Any]],
    engine: Engine,
    span: tuple[int, int],
    parts: int,
) -> tuple[nw.LazyFrame[Any], pa.Schema] | None:
    """The history from the first to the last boundary of `span` (included) as value intervals, and its schema; `None`
    for non-numeric sums or means.

    Integers are exact. Sums of floats are exact before they are rounded once (see `exact_sums`). An entity's intervals
    depend on its rows alone, so the result does not depend on the number of parts.
    """
    windows = windows_of(spec)
    rows = _rows(spec, form, frames, *span)
    if rows is None:
        return None
    totals = EntityTotals(
        spec.entity, tuple((measure.column, measure.total) for measure in form.measures), windows, *span
    )
    made = totals(empty_table(frame_schema(engine, rows))).schema
    frame = engine.map_parts([rows], [spec.entity], parts, totals, made)
    for step in form.after:
        frame = step(frame, (AT, UNTIL))
    spec.check_entity(frame.collect_schema().names())
    merge = MergeIntervals(spec.entity, windows.every_us)
    schema = merge(empty_table(frame_schema(engine, frame))).schema
    return engine.map_parts([frame], [spec.entity], parts, merge, schema), schema


def _rows(
    spec: ViewSpec, form: AggregateView, frames: Mapping[str, nw.LazyFrame[Any]], first: int, last: int
) -> nw.LazyFrame[Any] | None:
    """The rows that can count between two boundaries: entity, times and measured values; `None` as above."""
    windows, name = windows_of(spec), form.source
    end = windows.span_of(last)[1]
    frame = seen(spec, name, frames[name], windows.span_of(first)[0], end, known_by=end)
    time = spec.times[name]
    frame = frame.with_columns(
        nw.col(time).alias(_EVENT), nw.col(KNOWN_AT if spec.known == "known" else time).alias(_KNOWN)
    )
    for step in form.before:
        frame = step(frame, (_EVENT, _KNOWN))
    values = [measure.value.alias(measure.column) for measure in form.measures if measure.value is not None]
    frame = frame.select(spec.entity, _EVENT, _KNOWN, *values)
    kinds = frame.collect_schema()
    for measure in form.measures:
        if measure.total in ("sum", "mean") and kinds[measure.column] not in (*_WHOLE, nw.Float64):
            return None
    used: nw.LazyFrame[Any] = frame.filter(~nw.col(spec.entity).is_null())
    return used


@dataclass(frozen=True)
class EntityTotals:
    """The totals of the rows of some entities at all boundaries from `first` to `last`, as intervals."""

    entity: str
    #: The column of each measure, and what it is of the values in it.
    measures: tuple[tuple[str, Total], ...]
    windows: Windows
    first: int
    last: int

    def __call__(self, rows: pa.Table) -> pa.Table:
        event, has_event = plain_micros(rows[_EVENT], _EVENT)
        known, has_known = plain_micros(rows[_KNOWN], _KNOWN)
        enters, leaves = self.windows.counted(event, known)
        enters, leaves = np.maximum(enters, self.first), np.minimum(leaves, self.last)
        used = (enters <= leaves) & has_event & has_known & _valid(rows[self.entity])
        rows = rows.filter(pa.array(used))
        totals = _Changes(rows[self.entity].combine_chunks(), enters[used], leaves[used], self.first, self.last)
        columns: dict[str, Any] = {column: _total(column, total, rows, totals) for column, total in self.measures}
        return totals.stretches(self.entity, columns, self.windows.every_us)


@dataclass(frozen=True)
class MergeIntervals:
    """Merges the intervals of some entities, see `merge_intervals`."""

    entity: str
    every_us: int

    def __call__(self, rows: pa.Table) -> pa.Table:
        return merge_intervals(rows, self.entity, self.every_us)


@dataclass(frozen=True)
class _Runs:
    """Runs of equal totals: entity code, first and last boundary, and position among the sorted changes."""

    entity: Ints
    first: Ints
    last: Ints
    place: Ints


class _Changes:
    """Rows as changes to totals, sorted by entity and boundary once, for all totals."""

    def __init__(self, entities: pa.Array, enters: Ints, leaves: Ints, first: int, last: int) -> None:
        encoded = entities.dictionary_encode()
        self._names = encoded.dictionary
        codes = encoded.indices.to_numpy().astype(np.int64)
        self._codes = codes
        span = last - first + 2  # boundary `last + 1` closes the runs that are open at the end
        keys = np.concatenate([codes * span + (enters - first), codes * span + (leaves + 1 - first)])
        self._order = np.argsort(keys, kind="stable")
        keys = keys[self._order]
        ends = np.flatnonzero(np.r_[keys[1:] != keys[:-1], True]) if len(keys) else np.zeros(0, np.int64)
        entity, boundary = keys[ends] // span, keys[ends] % span + first
        # a run that begins at an entity's last change has no rows, so it needs no end
        until = np.r_[boundary[1:] - 1, 0] if len(ends) else boundary
        self.counted = self._sums(np.ones(len(codes), np.int64), ends)
        kept = np.flatnonzero(self.counted > 0)
        self.counted = self.counted[kept]
        self._runs = _Runs(entity[kept], boundary[kept], until[kept], ends[kept])

    def sums(self, values: Ints) -> Ints:
        """The sum of integers (n_rows,) in each run, int64 (n_runs,)."""
        return self._sums(values, self._runs.place)

    def float_sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum of finite floats (n_rows,) in each run, float64 (n_runs,)."""
        form = FixedPoint.of_groups(values, self._codes, len(self._names))
        parts = [self.sums(part) for part in form.take(self._codes).parts(values)]
        return form.take(self._runs.entity).values(parts)

    def stretches(self, entity: str, columns: Mapping[str, Any], every_us: int) -> pa.Table:
        names = self._names.take(pa.array(self._runs.entity))
        at, until = self._runs.first * every_us, self._runs.last * every_us
        return pa.table({entity: names, **columns, AT: at, UNTIL: until})

    def _sums(self, values: Ints, places: Ints) -> Ints:
        # A later change reverses every change, so one cumulative sum over all entities is 0 where the next one begins.
        changes = np.concatenate([values, -values])[self._order]
        return np.asarray(np.cumsum(changes)[places])


def _total(name: str, total: Total, rows: pa.Table, changes: _Changes) -> pa.Array:
    if total == "len":
        return pa.array(changes.counted)
    column = rows[name].combine_chunks()
    valid = _valid(column)
    counts = changes.sums(valid.astype(np.int64))
    if total == "count":
        return pa.array(counts)
    sums = _sum_of(column, changes)
    if total == "sum":
        return pa.array(sums)
    with np.errstate(invalid="ignore"):
        return pa.array(sums / np.maximum(counts, 1), mask=counts == 0)


def _sum_of(column: Any, changes: _Changes) -> NDArray[Any]:
    """Missing values add nothing; a NaN, or infinities of both signs, make a sum NaN while they are in the window."""
    if not pa.types.is_floating(column.type):
        whole = column.cast(pa.int64())
        return changes.sums(pc.fill_null(whole, 0).to_numpy(zero_copy_only=False))
    values = pc.fill_null(column, 0.0).to_numpy(zero_copy_only=False)
    finite = np.isfinite(values)
    sums = changes.float_sums(np.where(finite, values, 0.0))
    if not finite.all():
        up, down, no_number = (
            changes.sums(found.astype(np.int64)) > 0
            for found in (values == np.inf, values == -np.inf, np.isnan(values))
        )
        sums = np.select([no_number | (up & down), up, down], [np.nan, np.inf, -np.inf], sums)
    return sums


def _valid(column: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.asarray(whole.is_valid().to_numpy(zero_copy_only=False))
