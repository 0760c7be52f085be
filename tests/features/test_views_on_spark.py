"""Views and the point-in-time join on local Spark: the same values as on Polars, row for row."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pytest

from tidemill.backends.polars import PolarsEngine
from tidemill.backends.spark import SparkEngine
from tidemill.core.ports import Engine
from tidemill.features import PointInTimeJoin, ViewSpec, join_frames, point_in_time, view_at, view_history

pytestmark = [
    pytest.mark.spark,
    # Py4J and PySpark leave sockets and files to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkEngine]:
    if shutil.which("java") is None:
        pytest.skip("local Spark needs Java 17, and no `java` is on the path")
    pytest.importorskip("pyspark", reason="no PySpark: Spark was not tried")
    engine = SparkEngine("local[2]")
    yield engine
    engine.session.stop()


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


def test_the_join_as_expressions_is_the_join_on_one_machine(spark: SparkEngine) -> None:
    chance = np.random.default_rng(4)
    examples = pa.table(
        {
            "id": np.arange(40),
            "who": pa.array(chance.choice(["a", "b", "c", "d"], 40), mask=chance.random(40) < 0.1),
            "at": chance.integers(-10, 70, 40),
        }
    )
    stretches = pa.table({"u": ["a", "a", "b"], "x": [1, 2, 3], "_at": [-5, 30, 10], "_until": [10, 60, 40]})
    join = PointInTimeJoin(stretches, "u", "who", {"x": "x"}, ttl_us=7, every_us=5, last_at=60)
    frame = join_frames(
        spark.frame(examples),
        spark.frame(stretches),
        time="at",
        entity="u",
        by="who",
        columns=join.columns,
        ttl_us=7,
        boundaries=join.boundaries,
    )
    made = spark.collect(frame).sort_by("id")
    assert made.to_pylist() == point_in_time(examples, time="at", joins=[join]).to_pylist()
    for ttl in (None, 4):
        join = PointInTimeJoin(_rows(), "u", "who", {"x": "x", "b": "b", "stamp": "_at"}, ttl_us=ttl)
        frame = join_frames(
            spark.frame(examples),
            spark.frame(_rows()),
            time="at",
            entity="u",
            by="who",
            columns=join.columns,
            ttl_us=ttl,
        )
        made = spark.collect(frame).sort_by("id")
        assert made.to_pylist() == point_in_time(examples, time="at", joins=[join]).to_pylist()


def _spec(function: Any) -> ViewSpec:
    return ViewSpec("v", "u", lambda rows: function(rows), ("rows",), {"rows": "at"}, window_us=30, every_us=20)


def _views(engine: Engine, function: Any, rows: pa.Table) -> list[Any]:
    spec = _spec(function)
    given = {"rows": engine.frame(rows)}
    history = view_history(spec, given, engine, start=None, end=70)
    return [
        history.to_pylist(),
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
