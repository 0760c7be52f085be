"""Row views: the function's rows unchanged, with the event time and the known time of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.contract.contract import KNOWN_AT
from tidemill.core.empty_tables import empty_table
from tidemill.core.errors import GraphError
from tidemill.core.ports import Engine
from tidemill.features.epoch_micros import instant, micros_of
from tidemill.features.feature_facts import FeatureFacts
from tidemill.features.frame_schema import frame_schema
from tidemill.features.value_intervals import AT
from tidemill.features.view_spec import ViewSpec


@dataclass(frozen=True)
class VisibleRows:
    """Of rows of a function, those that happened and were known by `end`, with `_at` and `_known_at` (int64
    microseconds). It is applied to any part of the rows, and is pickled with what is done with them.
    """

    entity: str
    #: The columns with the event time and the known time.
    time: str
    known: str
    end: int

    def __call__(self, rows: pa.Table) -> pa.Table:
        at, known = micros_of(rows[self.time], self.time), micros_of(rows[self.known], self.known)
        rows = rows.drop_columns([name for name in (AT, KNOWN_AT) if name in rows.column_names])
        rows = rows.append_column(AT, at).append_column(KNOWN_AT, known)
        visible = pc.and_(pc.less_equal(at, self.end), pc.less_equal(known, self.end))
        return rows.filter(pc.and_(visible, pc.is_valid(rows[self.entity])))


@dataclass(frozen=True)
class CurrentRows:
    """The current row of each entity after all of some rows: the same rule as in the join."""

    visible: VisibleRows
    by_event: bool

    def __call__(self, rows: pa.Table) -> pa.Table:
        rows = self.visible(rows)
        kept = FeatureFacts(rows, self.visible.entity, by_event=self.by_event).newest()
        return rows.take(pa.array(kept))


def rows_until(
    spec: ViewSpec, frames: Mapping[str, nw.LazyFrame[Any]], engine: Engine, end: int
) -> tuple[nw.LazyFrame[Any], pa.Schema, VisibleRows]:
    """The rows of the function, without most that are not visible by `end`; their schema; what gives the visible ones.

    Rows without an entity, an event time or a known time are not visible. With `known="event"` a row is known from its
    event time on. `GraphError` where the function drops a required column.
    """
    frame = spec.function(**{name: frames[name] for name in spec.inputs})
    columns = frame.collect_schema()
    spec.check_entity(columns.names())
    time = spec.event_column(columns.names())
    known = time if spec.known == "event" else _known(spec, columns.names())
    schema = frame_schema(engine, frame)
    for name in (time, known):
        micros_of(empty_table(schema)[name], name)  # refuses what is no time, before any row is read
    frame = frame.filter(~nw.col(spec.entity).is_null())
    for name in dict.fromkeys((time, known)):
        if columns[name].is_integer() or getattr(columns[name], "time_zone", None):
            frame = frame.filter(nw.col(name) <= instant(frame, name, end))
    return frame, schema, VisibleRows(spec.entity, time, known, end)


def _known(spec: ViewSpec, columns: list[str]) -> str:
    if KNOWN_AT not in columns:
        raise GraphError(
            f"the rows of view {spec.name!r} have no known time: there is no column {KNOWN_AT}",
            tip=f'keep {KNOWN_AT} in the function, or declare known="event" on the view',
        )
    return KNOWN_AT
