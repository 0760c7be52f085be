"""Predictions and outcomes as tables of the lake; times are UTC microseconds, subjects surrogates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.records.prediction import Outcome, Prediction
from tidemill.feedback.record_decoder import SWITCH_STATES

_TIME = pa.timestamp("us", "UTC")


def prediction_schema() -> pa.Schema:
    """One row per prediction. Lists are by position; those of repeats and 304s are empty (the id has the full row)."""
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
            ("unseen", pa.list_(pa.string())),
        ]
    )


def outcome_schema() -> pa.Schema:
    """One row per delivered outcome; an outcome that is delivered again is another row."""
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


def prediction_rows(predictions: Sequence[Prediction]) -> pa.Table:
    """The records as rows of `prediction_schema`."""
    lists: dict[str, list[Any]] = {
        "items": [[scored.item for scored in prediction.items] for prediction in predictions],
        "scores": [[scored.score for scored in prediction.items] for prediction in predictions],
        "reasons": [[scored.reason for scored in prediction.items] for prediction in predictions],
    }
    return _table(prediction_schema(), predictions, lists)


def outcome_rows(outcomes: Sequence[Outcome]) -> pa.Table:
    """The records as rows of `outcome_schema`."""
    return _table(outcome_schema(), outcomes, {})


def current_predictions(rows: pa.Table) -> pa.Table:
    """Rows of the table `predictions`, of any age, with all columns of the current format.

    In rows of format 1 `policy` is the state of the switch: it moves to `switch`, and the policy becomes `single`.
    Columns that were not logged yet are null.
    """
    rows = _with_columns(rows, prediction_schema())
    old = pc.and_(pc.is_null(rows["switch"]), pc.is_in(rows["policy"], pa.array(SWITCH_STATES)))
    if not pc.any(old).as_py():
        return rows
    switch = pc.if_else(old, rows["policy"], rows["switch"])
    policy = pc.if_else(old, "single", rows["policy"])
    return _replaced(_replaced(rows, "switch", switch), "policy", policy)


def current_outcomes(rows: pa.Table) -> pa.Table:
    """Rows of the table `outcomes`, of any age, with all columns of the current format; null where not logged yet."""
    return _with_columns(rows, outcome_schema())


def _with_columns(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    for field in schema:
        if field.name not in rows.column_names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows


def _replaced(rows: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, values)


def _table(schema: pa.Schema, records: Sequence[object], lists: Mapping[str, list[Any]]) -> pa.Table:
    columns = {}
    for field in schema:
        values = lists[field.name] if field.name in lists else [getattr(record, field.name) for record in records]
        columns[field.name] = pa.array(values, pa.int64() if field.type == _TIME else field.type)
    rows = pa.table(columns)
    return rows.cast(schema)
