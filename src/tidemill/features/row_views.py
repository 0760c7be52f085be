"""Row views: the function's rows unchanged, with the event time and the known time of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.contract.contract import KNOWN_AT
from tidemill.core.errors import GraphError
from tidemill.core.ports import Engine
from tidemill.features.epoch_micros import micros_of
from tidemill.features.feature_facts import FeatureFacts
from tidemill.features.value_intervals import AT
from tidemill.features.view_spec import ViewSpec


def rows_until(spec: ViewSpec, frames: Mapping[str, nw.LazyFrame[Any]], engine: Engine, end: int) -> pa.Table:
    """The rows that happened and were known by `end`, with `_at` and `_known_at` (int64 microseconds).

    Rows without an entity, an event time or a known time are dropped. With `known="event"` a row is known from its
    event time on. `GraphError` where the function drops a required column.
    """
    rows = engine.collect(spec.function(**{name: frames[name] for name in spec.inputs}))
    spec.check_entity(rows.column_names)
    time = spec.event_column(rows.column_names)
    at = micros_of(rows[time], time)
    known = at if spec.known == "event" else _known(spec, rows)
    rows = rows.drop_columns([name for name in (AT, KNOWN_AT) if name in rows.column_names])
    rows = rows.append_column(AT, at).append_column(KNOWN_AT, known)
    visible = pc.and_(pc.less_equal(at, end), pc.less_equal(known, end))
    return rows.filter(pc.and_(visible, pc.is_valid(rows[spec.entity])))


def newest_of(spec: ViewSpec, rows: pa.Table) -> pa.Table:
    """The current row of each entity after all of `rows`, sorted by entity: the same rule as in the join."""
    kept = FeatureFacts(rows, spec.entity, by_event=spec.known == "event").newest()
    return rows.take(pa.array(kept)).sort_by(spec.entity)


def _known(spec: ViewSpec, rows: pa.Table) -> pa.ChunkedArray:
    if KNOWN_AT not in rows.column_names:
        raise GraphError(
            f"the rows of view {spec.name!r} have no known time: there is no column {KNOWN_AT}",
            tip=f'keep {KNOWN_AT} in the function, or declare known="event" on the view',
        )
    return micros_of(rows[KNOWN_AT], KNOWN_AT)
