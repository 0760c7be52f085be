"""Window evaluation at one boundary: the function gets the rows known by then that are in the window, nothing else.

This is the reference definition of a view. Faster paths are tested for equality with it, and functions that are not
recognised are evaluated this way, one boundary at a time, because they may combine rows in any way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.contract.contract import KNOWN_AT
from tidemill.core.errors import GraphError, UnknownName, nearest
from tidemill.core.ports import Engine
from tidemill.features.epoch_micros import instant, micros_of
from tidemill.features.frame_schema import frame_schema
from tidemill.features.value_intervals import AT, UNTIL, merge_intervals
from tidemill.features.view_spec import ViewSpec
from tidemill.features.windows import Windows

Frames = Mapping[str, nw.LazyFrame[Any]]

#: Rows to collect before equal ones are merged, which bounds the memory.
_GATHERED = 2_000_000


def windows_of(spec: ViewSpec) -> Windows:
    """The boundaries of a view of aggregates; `GraphError` where it has none."""
    if spec.window_us is None or spec.every_us is None:
        raise GraphError(f"the view {spec.name!r} is a row view and has no boundaries")
    return Windows(spec.window_us, spec.every_us)


def boundary_rows(spec: ViewSpec, frames: Frames, engine: Engine, boundary: int) -> tuple[nw.LazyFrame[Any], pa.Schema]:
    """The function's rows at a boundary (its number) as a frame, with `_at`, without an entity none; and their schema.

    `GraphError` where an input has no known time.
    """
    start, end = windows_of(spec).span_of(boundary)
    given = {name: seen(spec, name, frames[name], start, end, known_by=end) for name in spec.inputs}
    frame = spec.function(**given)
    spec.check_entity(frame.collect_schema().names())
    frame = frame.filter(~nw.col(spec.entity).is_null()).with_columns(nw.lit(end, nw.Int64).alias(AT))
    return frame, frame_schema(engine, frame)


def at_boundary(spec: ViewSpec, frames: Frames, engine: Engine, boundary: int) -> pa.Table:
    """The rows of `boundary_rows` in memory; `GraphError` where an entity has more than one."""
    rows = engine.collect(boundary_rows(spec, frames, engine, boundary)[0])
    distinct = pc.count_distinct(rows[spec.entity]).as_py()
    if distinct != rows.num_rows:
        raise GraphError(
            f"the view {spec.name!r} has {rows.num_rows} rows for {distinct} values of {spec.entity} at one boundary",
            tip=f"group by {spec.entity!r} alone, so that each has one row",
        )
    return rows


def each_boundary(spec: ViewSpec, frames: Frames, engine: Engine, first: int, last: int) -> pa.Table:
    """The history from boundary `first` to `last` (included), each evaluated on its own, as value intervals."""
    windows = windows_of(spec)
    done: list[pa.Table] = []
    gathered = 0
    for boundary in range(first, last + 1):
        rows = at_boundary(spec, frames, engine, boundary)
        done.append(rows.append_column(UNTIL, rows[AT]))
        gathered += rows.num_rows
        if gathered > _GATHERED:
            done, gathered = [_merged(done, spec, windows)], 0
    if not done:
        rows = at_boundary(spec, frames, engine, last).slice(0, 0)
        done = [rows.append_column(UNTIL, rows[AT])]
    return _merged(done, spec, windows)


def seen(spec: ViewSpec, name: str, frame: nw.LazyFrame[Any], start: int, end: int, *, known_by: int) -> Any:
    """An input's rows that happened in [start, end) and were known by `known_by`, as filters that reach the files.

    For an input without an event time: all rows known by then.
    """
    time = _time_of(spec, name, frame)
    if spec.known == "known":
        if KNOWN_AT not in frame.collect_schema().names():
            raise GraphError(
                f"the view {spec.name!r} reads {name!r}, whose rows have no known time",
                tip=f'keep {KNOWN_AT} in the table {name!r}, or declare known="event" on the view',
            )
        frame = frame.filter(nw.col(KNOWN_AT) <= instant(frame, KNOWN_AT, known_by))
    if time:
        at = nw.col(time)
        frame = frame.filter(at >= instant(frame, time, start), at < instant(frame, time, end))
    return frame


def first_boundary(spec: ViewSpec, frames: Frames, engine: Engine, last: int) -> int:
    """The first boundary with any row in its window: the one after the earliest event; `last + 1` without events."""
    windows = windows_of(spec)
    times = {name: time for name in spec.inputs if (time := _time_of(spec, name, frames[name]))}
    if not times:
        raise GraphError(
            f"the view {spec.name!r} has a window, but none of its inputs has an event time",
            tip="read a stream, or a table that keeps its event time",
        )
    event_times = []
    for name, time in times.items():
        earliest = engine.collect(frames[name].select(nw.col(time).min().alias("at")))
        event_times += [at for at in micros_of(earliest["at"], time).to_pylist() if at is not None]
    return windows.first_from(min(event_times) + 1) if event_times else last + 1


def _time_of(spec: ViewSpec, name: str, frame: nw.LazyFrame[Any]) -> str:
    """The event-time column of an input, "" where none is declared; `UnknownName` where the table lacks it."""
    time, columns = spec.times.get(name, ""), frame.collect_schema().names()
    if time and time not in columns:
        raise UnknownName(
            f"the view {spec.name!r} reads {name!r}, which has no event time {time!r}", tip=nearest(time, columns)
        )
    return time


def _merged(parts: list[pa.Table], spec: ViewSpec, windows: Windows) -> pa.Table:
    return merge_intervals(pa.concat_tables(parts, promote_options="permissive"), spec.entity, windows.every_us)
