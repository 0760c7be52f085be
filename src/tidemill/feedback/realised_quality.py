"""Realised quality: hit rates of the shown items by release and position, next to the expected hit rate.

Repeated predictions and repeated deliveries of an outcome count once. Intervals are Wilson's score intervals at 95%
(Wilson 1927), which are valid for small counts and rates near zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.record_format import Record
from tidemill.core.wilson_interval import wilson_interval
from tidemill.feedback.log_tables import current_outcomes


class RealisedRate(Record, frozen=True):
    """The realised hit rate of one position of one release's recommendations; position 0 is the whole list."""

    release: str
    position: int
    #: Recommendations with an item at this position, and those of them whose item was taken (at 0: any item).
    shown: int
    taken: int
    rate: float
    low: float
    high: float
    #: The hit rate expected from the release's evaluation; only at position 0, and only where it is known.
    expected: float | None


def realised_rates(
    predictions: pa.Table, outcomes: pa.Table, expected: Mapping[str, float] | None = None
) -> list[RealisedRate]:
    """One record for each release and position, in that order, position 0 (the whole list) first.

    `predictions` and `outcomes` have the columns of `prediction_schema` and `outcome_schema`; an outcome with a value
    above zero counts as taken. Outcomes of another model, or of a day on which none of the predictions was served, are
    dropped before the join. `expected` is release -> hit rate of its evaluation.
    """
    shown = _shown(predictions)
    taken = _taken(_of_these(current_outcomes(outcomes), predictions))
    rows = shown.join(taken, ["prediction_id", "item"], join_type="left outer", use_threads=False)
    rows = rows.append_column("hit", pc.fill_null(rows["took"], False).cast(pa.int64()))
    by_position = rows.group_by(["release", "position"], use_threads=False).aggregate(
        [("hit", "sum"), ("hit", "count")]
    )
    lists = rows.group_by(["release", "prediction_id"], use_threads=False).aggregate([("hit", "max")])
    whole = lists.group_by(["release"], use_threads=False).aggregate([("hit_max", "sum"), ("hit_max", "count")])
    expected = expected or {}
    rates = [
        _realised(row["release"], 0, row["hit_max_count"], row["hit_max_sum"], expected.get(row["release"]))
        for row in whole.to_pylist()
    ]
    rates += [
        _realised(row["release"], row["position"], row["hit_count"], row["hit_sum"], None)
        for row in by_position.to_pylist()
    ]
    return sorted(rates, key=lambda rate: (rate.release, rate.position))


def _shown(predictions: pa.Table) -> pa.Table:
    """One row per distinct prediction and position: release, prediction_id, item, position from 1."""
    full = predictions.filter(pc.greater(pc.list_value_length(predictions["items"]), 0))
    ids = full["prediction_id"].to_numpy()
    first = np.sort(np.unique(ids, return_index=True)[1])  # one row for a prediction that two workers computed
    full = full.select(["prediction_id", "release", "items"]).take(pa.array(first, pa.int64()))
    lengths = pc.list_value_length(full["items"]).to_numpy()
    parents = pa.array(np.repeat(np.arange(len(full)), lengths), pa.int64())
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    return pa.table(
        {
            "release": full["release"].take(parents),
            "prediction_id": full["prediction_id"].take(parents),
            "item": pc.list_flatten(full["items"]),
            "position": pa.array(np.arange(len(parents)) - starts + 1, pa.int64()),
        }
    )


def _of_these(outcomes: pa.Table, predictions: pa.Table) -> pa.Table:
    """Drop outcomes whose model or served day matches no prediction; outcomes without either are kept."""
    models = pa.array(pc.unique(predictions["model"]))
    possible = pc.or_(_is_open(outcomes["model"]), pc.is_in(outcomes["model"], models))
    days = [pc.min_max(predictions[name].cast(pa.date32())) for name in ("as_of", "served_at")]
    if all(one["min"].is_valid for one in days):
        low, high = min(one["min"].as_py() for one in days), max(one["max"].as_py() for one in days)
        day = outcomes["served_day"]
        within = pc.and_(pc.greater_equal(day, low), pc.less_equal(day, high))
        possible = pc.and_(possible, pc.fill_null(within, True))
    return outcomes.filter(possible)


def _is_open(names: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(pc.equal(names, ""), True)


def _taken(outcomes: pa.Table) -> pa.Table:
    """Distinct taken items of predictions."""
    positive = outcomes.filter(pc.greater(outcomes["value"], 0)).select(["prediction_id", "item"])
    distinct = positive.group_by(["prediction_id", "item"], use_threads=False).aggregate([])
    return distinct.append_column("took", pa.array([True] * distinct.num_rows, pa.bool_()))


def _realised(release: str, position: int, shown: int, taken: int, expected: float | None) -> RealisedRate:
    low, high = wilson_interval(taken, shown)
    return RealisedRate(
        release=release, position=position, shown=shown, taken=taken, rate=taken / shown, low=low, high=high,
        expected=expected,
    )  # fmt: skip
