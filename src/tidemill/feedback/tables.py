"""Predictions and outcomes as tables of the lake; times are UTC microseconds, subjects surrogates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from tidemill.core.records import Outcome, Prediction

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


def _table(schema: pa.Schema, found: Sequence[object], made: Mapping[str, list[Any]]) -> pa.Table:
    columns = {}
    for field in schema:
        values = made[field.name] if field.name in made else [getattr(one, field.name) for one in found]
        columns[field.name] = pa.array(values, pa.int64() if field.type == _TIME else field.type)
    rows = pa.table(columns)
    return rows.cast(schema)
