"""Views on local Spark, and the join of their values: the same as on Polars, row for row."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pytest
from test_engine_join import by_row, in_memory, on_engine

from tidemill.backends.polars import PolarsEngine
from tidemill.backends.spark import SparkEngine
from tidemill.core.ports import Engine
from tidemill.features import PointInTimeJoin, ViewSpec, point_in_time, view_at, view_history
from tidemill.features.feature_history import current_rows

pytestmark = [
    pytest.mark.spark,
    # Py4J and PySpark leave sockets and files to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def _rows(n: int = 300) -> pa.Table:
    chance = np.random.default_rng(3)
    at, known = chance.integers(0, 60, n), chance.integers(0, 60, n)
    return pa.table(
        {
            "u": pa.array(chance.choice(["a", "b", "c"], n), mask=chance.random(n) < 0.05),
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "_at": pa.array(at),
            "_known_at": pa.array(known, mask=chance.random(n) < 0.05),
            "_row": pa.array(chance.integers(0, 3, n)),
            "x": pa.array(chance.integers(0, 3, n).astype(float), mask=chance.random(n) < 0.2),
            "b": pa.array(chance.choice(["p", "q"], n)),
        }
    )


def _spec(function: Any) -> ViewSpec:
    return ViewSpec("v", "u", lambda rows: function(rows), ("rows",), {"rows": "at"}, window_us=30, every_us=20)


def _views(engine: Engine, function: Any, rows: pa.Table) -> list[Any]:
    spec = _spec(function)
    given = {"rows": engine.frame(rows)}
    history = view_history(spec, given, engine, start=None, end=70)
    examples = pa.table({"who": ["a", "b", "d", "c"] * 5, "at": np.arange(0, 100, 5)})
    join = PointInTimeJoin.from_view(spec, history, "who", {"value": history.column_names[1]})
    return [
        history.to_pylist(),
        point_in_time(examples, time="at", joins=[join], statuses=True).to_pylist(),
        sorted(view_at(spec, given, engine, as_of=50).to_pylist(), key=repr),
        str(history.schema),
    ]


def test_views_of_aggregates_are_the_same(spark: SparkEngine) -> None:
    def counted(rows: Any) -> Any:
        good = rows.filter(nw.col("x") > 0)
        return good.group_by("u").agg(n=nw.len(), total=nw.col("x").sum(), mean=nw.col("x").mean())

    def extremes(rows: Any) -> Any:
        return rows.group_by("u").agg(low=nw.col("x").min(), high=nw.col("_row").max())

    rows = _rows().set_column(3, "_known_at", _rows()["_known_at"].cast(pa.timestamp("us", "UTC")))
    for function in (counted, extremes):
        assert _views(spark, function, rows) == _views(PolarsEngine(), function, rows)


def test_joins_in_parts_are_the_same(spark: SparkEngine) -> None:
    """Row for row and to the bit, with ties, late rows, missing values and NaN."""
    chance = np.random.default_rng(5)
    n = 400
    times = [pa.array(chance.integers(0, 41, n), pa.timestamp("us", "UTC"), mask=chance.random(n) < 0.05) for _ in "ab"]
    facts = pa.table(
        {
            "u": pa.array(chance.choice([*"xyzvw"], n), mask=chance.random(n) < 0.05),
            "at": times[0],
            "_known_at": times[1],
            "_row": pa.array(chance.integers(0, 3, n)),
            "x": pa.array(chance.choice([0.1, 0.2, 1e16, -1e16, np.nan], n), mask=chance.random(n) < 0.1),
            "b": pa.array(chance.choice([*"pq"], n)),
        }
    )
    asked = pa.table(
        {
            "who": pa.array(chance.choice([*"xyzvwu"], 100), mask=chance.random(100) < 0.1),
            "when": pa.array(chance.integers(0, 50, 100), pa.timestamp("us", "UTC")),
            "id": np.arange(100),
        }
    )
    views = ["rows", "rows by event", "totals"]
    expected = in_memory(PolarsEngine(), facts, asked, views)
    for parts in (1, 3):
        found = on_engine(spark, facts, asked, views, parts)
        assert found.schema.equals(expected.schema)
        assert by_row(found) == by_row(expected)


def test_current_rows_are_the_same(spark: SparkEngine) -> None:
    rows = _rows()
    spec = ViewSpec("v", "u", lambda rows: rows, ("rows",), {"rows": "_at"})
    polars = PolarsEngine()
    expected = view_at(spec, {"rows": polars.frame(rows)}, polars, as_of=50)
    frame, schema = current_rows(spec, {"rows": spark.frame(rows)}, spark, as_of=50, parts=2)
    found = spark.collect(frame)
    assert found.schema.equals(schema)
    assert found.sort_by("u").equals(expected)
