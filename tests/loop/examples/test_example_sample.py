"""A sample of examples: the declared share, whole groups, the same ones each time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from tidemill.backends.polars import PolarsEngine
from tidemill.backends.spark import SparkEngine
from tidemill.core.errors import GraphError
from tidemill.loop.examples.example_sample import sample_examples
from tidemill.loop.project.declarations import TabularDeclaration

ENGINE = PolarsEngine()
MODEL = TabularDeclaration("eta", "rides", "minutes", None, None, (), (), None, None, None, (), {}, "", "", sample=0.25)


def drawn(rows: pa.Table, parts: int = 1, **more: Any) -> pa.Table:
    return ENGINE.collect(sample_examples(ENGINE, ENGINE.frame(rows), replace(MODEL, **more), parts))


@pytest.mark.parametrize("step", [1, 2, 1 << 20, (1 << 40) + 1])
def test_rows_are_drawn_by_their_key(step: int) -> None:
    rows = pa.table({"_row": np.arange(20_000) * step, "n": np.arange(20_000)})
    found = drawn(rows)
    assert found.num_rows == pytest.approx(5_000, rel=0.06)
    assert [half.num_rows for half in (found.filter(pa.array(found["n"].to_numpy() % 2 == i)) for i in (0, 1))] == [
        pytest.approx(2_500, rel=0.1)
    ] * 2
    assert set(found["n"].to_pylist()) <= set(drawn(rows, sample=0.5)["n"].to_pylist())
    assert drawn(rows.slice(0, 10_000))["n"].to_pylist() == [n for n in found["n"].to_pylist() if n < 10_000]
    assert drawn(rows, sample=1.0).num_rows == 20_000


@pytest.mark.parametrize("kind", [pa.string(), pa.int64()])
def test_groups_are_drawn_whole(kind: pa.DataType) -> None:
    groups = pa.array(np.arange(20_000) % 4_000).cast(kind)
    rows = pa.table({"who": groups, "n": np.arange(20_000)})
    found = drawn(rows, parts=3, group="who")
    counts = found["who"].value_counts()
    assert len(counts) == pytest.approx(1_000, rel=0.1)
    assert all(cast(dict[str, Any], one.as_py())["counts"] == 5 for one in counts)
    assert sorted(found["n"].to_pylist()) == sorted(drawn(rows, group="who")["n"].to_pylist())


def test_examples_without_a_key_are_refused() -> None:
    with pytest.raises(GraphError, match="needs a key"):
        drawn(pa.table({"n": [1]}))


@pytest.mark.spark
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_spark_draws_the_same(spark: SparkEngine) -> None:
    rows = pa.table({"_row": np.arange(5_000) * ((1 << 40) + 1), "who": np.arange(5_000) // 7})
    for model in (MODEL, replace(MODEL, group="who")):
        found = spark.collect(sample_examples(spark, spark.frame(rows), model, 2))
        assert found.sort_by("_row").equals(ENGINE.collect(sample_examples(ENGINE, ENGINE.frame(rows), model, 1)))
