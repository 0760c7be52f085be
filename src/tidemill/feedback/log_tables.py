"""Predictions and outcomes as tables of the lake; times are UTC microseconds, subjects surrogates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.records.serving import Outcome, Prediction
from tidemill.feedback.record_decoder import SWITCH_STATES

_TIME = pa.timestamp("us", "UTC")


def prediction_schema() -> pa.Schema:
    """One row per answer. Lists run by position; repeats and 304s have empty ones and point at the full row by id."""
    return pa.schema(
        [
            ("prediction_id", pa.string()),
            ("kind", pa.string()),
            ("model", pa.string()),
            ("release", pa.string()),
            ("arm", pa.string()),
            ("policy", pa.string()),
            ("propensity", pa.float64()),
            ("served_at", _TIME),
            ("as_of", _TIME),
            ("subject", pa.string()),
            ("n", pa.int64()),
            ("items", pa.list_(pa.string())),
            ("scores", pa.list_(pa.float64())),
            ("reasons", pa.list_(pa.string())),
            ("short", pa.string()),
            ("features", pa.string()),
            ("context", pa.string()),
            ("latency_us", pa.int64()),
            # from here on: since format 2
            ("deployment", pa.string()),
            ("switch", pa.string()),
            ("item_propensities", pa.list_(pa.float64())),
            ("exclude", pa.list_(pa.string())),
            ("n_exclude", pa.int64()),
            ("candidates", pa.list_(pa.string())),
            ("n_candidates", pa.int64()),
            ("publication", pa.int64()),
            ("trace_id", pa.string()),
            ("format", pa.int64()),
        ]
    )


def outcome_schema() -> pa.Schema:
    """One row per delivered outcome; the same one delivered again is another row."""
    return pa.schema(
        [
            ("prediction_id", pa.string()),
            ("item", pa.string()),
            ("what", pa.string()),
            ("value", pa.float64()),
            ("happened_at", _TIME),
            ("received_at", _TIME),
            # from here on: since format 2
            ("label", pa.string()),
            ("model", pa.string()),
            ("served_day", pa.date32()),
            ("format", pa.int64()),
        ]
    )


def prediction_rows(found: Sequence[Prediction]) -> pa.Table:
    """The records as rows."""
    lists: dict[str, list[Any]] = {
        "items": [[answered.item for answered in one.items] for one in found],
        "scores": [[answered.score for answered in one.items] for one in found],
        "reasons": [[answered.reason for answered in one.items] for one in found],
    }
    return _table(prediction_schema(), found, lists)


def outcome_rows(found: Sequence[Outcome]) -> pa.Table:
    """The records as rows."""
    return _table(outcome_schema(), found, {})


def current_predictions(rows: pa.Table) -> pa.Table:
    """Rows of the table `predictions`, of whatever age, with all columns of today.

    In rows of format 1 `policy` holds the state of the switch: it moves to `switch`, and the policy is `single`. What
    was not logged then is null.
    """
    rows = _with_columns(rows, prediction_schema())
    old = pc.and_(pc.is_null(rows["switch"]), pc.is_in(rows["policy"], pa.array(SWITCH_STATES)))
    if not pc.any(old).as_py():
        return rows
    switch = pc.if_else(old, rows["policy"], rows["switch"])
    policy = pc.if_else(old, "single", rows["policy"])
    return _replaced(_replaced(rows, "switch", switch), "policy", policy)


def current_outcomes(rows: pa.Table) -> pa.Table:
    """Rows of the table `outcomes`, of whatever age, with all columns of today; null where nothing was logged."""
    return _with_columns(rows, outcome_schema())


def _with_columns(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    for field in schema:
        if field.name not in rows.column_names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows


def _replaced(rows: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, values)


def _table(schema: pa.Schema, found: Sequence[object], made: Mapping[str, list[Any]]) -> pa.Table:
    columns = {}
    for field in schema:
        values = made[field.name] if field.name in made else [getattr(one, field.name) for one in found]
        columns[field.name] = pa.array(values, pa.int64() if field.type == _TIME else field.type)
    rows = pa.table(columns)
    return rows.cast(schema)
