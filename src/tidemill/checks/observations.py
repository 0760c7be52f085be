"""Observations of an increment's rows: the counts that the expectations need, from one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import narwhals as nw
import pyarrow as pa

from tidemill.checks.expectations import (
    AnyExpectation,
    Between,
    Freshness,
    LikeHistory,
    NotNull,
    RefusedShare,
    RepeatedShare,
)
from tidemill.checks.validate_expectations import time_column, validate
from tidemill.core.ports import Engine
from tidemill.core.records.ingest import RowCounts


class Observations(NamedTuple):
    """The observed values, by the index of the expectation that needs them."""

    #: `(k, n)`: k of n rows.
    shares: dict[int, tuple[int, int]]
    #: `(column, newest instant in microseconds, rows)`.
    newest: dict[int, tuple[str, int | None, int]]
    #: Values of learned metrics by name; a metric without rows to measure is absent.
    metrics: dict[str, float]


def observe(
    rows: nw.LazyFrame[Any] | pa.Table,
    expectations: Sequence[AnyExpectation],
    *,
    engine: Engine | None,
    counts: RowCounts | None,
    event_time: str | None,
) -> Observations:
    """Compute everything that `expectations` need from `rows` in one aggregation."""
    frame, schema = _frame(rows, engine)
    for expectation in expectations:
        validate(expectation, schema, event_time=event_time)
    aggregations: dict[str, nw.Expr] = {"n": nw.len()}
    for number, expectation in enumerate(expectations):
        for name, expression in _asks(expectation, schema, event_time).items():
            aggregations[f"{number}_{name}"] = expression
    # a prefix that no column has: case-insensitive engines would otherwise confuse a column with a result
    row = _collect(frame.select(**{f"_seen_{name}": aggregation for name, aggregation in aggregations.items()}), engine)
    values = {name: row[f"_seen_{name}"][0] for name in aggregations}
    return _read(values, expectations, schema, counts, event_time)


def _asks(expectation: AnyExpectation, schema: nw.Schema, event_time: str | None) -> dict[str, nw.Expr]:
    """The aggregations of one expectation; shares of refused and repeated rows are computed from the counts."""
    match expectation:
        case Between(column=name, low=low, high=high):
            column = nw.col(name)
            inside = (column >= low) if low is not None else (column <= high)
            if low is not None and high is not None:
                inside = inside & (column <= high)
            if schema[name].is_float():
                inside = inside & ~column.is_nan()  # engines differ on whether NaN is the largest value
            return {"k": inside.cast(nw.Int64).sum(), "of": column.count()}
        case NotNull(column=name):
            return {"k": nw.col(name).count()}
        case Freshness():
            column = nw.col(time_column(expectation, schema, event_time))
            return {"newest": column.max(), "of": column.count()}
        case LikeHistory(metric="mean", column=str(name)):
            column = nw.col(name).cast(nw.Float64)
            kept = nw.when(column.is_finite()).then(column)  # one NaN would make the mean NaN
            return {"mean": kept.mean()}
        case LikeHistory(metric="null_share", column=str(name)):
            return {"k": nw.col(name).count()}
    return {}


def _read(
    values: dict[str, Any],
    expectations: Sequence[AnyExpectation],
    schema: nw.Schema,
    counts: RowCounts | None,
    event_time: str | None,
) -> Observations:
    n = int(values["n"] or 0)
    refused, repeated = _of_counts(counts)
    seen = Observations({}, {}, _always(n, counts, refused, repeated))
    for number, expectation in enumerate(expectations):
        k, of = (int(values.get(f"{number}_{name}") or 0) for name in ("k", "of"))
        match expectation:
            case Between():
                seen.shares[number] = (k, of)
            case NotNull():
                seen.shares[number] = (k, n)
            case RefusedShare():
                seen.shares[number] = refused
            case RepeatedShare():
                seen.shares[number] = repeated
            case Freshness():
                column = time_column(expectation, schema, event_time)
                seen.newest[number] = (column, values[f"{number}_newest"], of)
            case LikeHistory(metric="mean") if values[f"{number}_mean"] is not None:
                seen.metrics[expectation.measures] = float(values[f"{number}_mean"])
            case LikeHistory(metric="null_share") if n:
                seen.metrics[expectation.measures] = 1 - k / n
    return seen


def _always(n: int, counts: RowCounts | None, refused: tuple[int, int], repeated: tuple[int, int]) -> dict[str, float]:
    """Metrics recorded for every increment, so that a check declared later has a history."""
    row_count = {"row_count": float(n if counts is None else counts.arrived)}
    shares = {"refused_share": refused, "repeated_share": repeated}
    return row_count | {name: k / of for name, (k, of) in shares.items() if of}


def _of_counts(counts: RowCounts | None) -> tuple[tuple[int, int], tuple[int, int]]:
    """Refused of all rows that arrived, and repeated (with equal or different values) of all good rows."""
    if counts is None:
        return (0, 0), (0, 0)
    return (counts.refused, counts.arrived), (counts.repeated + counts.contradicted, counts.arrived - counts.refused)


def _frame(rows: nw.LazyFrame[Any] | pa.Table, engine: Engine | None) -> tuple[Any, nw.Schema]:
    if isinstance(rows, pa.Table):
        frame: Any = engine.frame(rows) if engine is not None else nw.from_native(rows, eager_only=True)
        return frame, nw.Schema.from_arrow(rows.schema)
    return rows, rows.collect_schema()


def _collect(frame: Any, engine: Engine | None) -> dict[str, list[Any]]:
    """One row of results as plain values; times as microseconds."""
    if isinstance(frame, nw.DataFrame):
        table = frame.to_arrow()
    else:
        table = engine.collect(frame) if engine is not None else frame.collect(backend="pyarrow").to_arrow()
    return {name: [_plain(value) for value in table[name]] for name in table.column_names}


def _plain(value: pa.Scalar) -> Any:
    if pa.types.is_timestamp(value.type):
        return value.cast(pa.timestamp("us", value.type.tz)).value if value.is_valid else None
    return value.as_py()
