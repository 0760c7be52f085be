"""The same days on Spark: the same tables row for row, and files that Polars wrote are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from play import play, sound, told
from shop_lake import KEY, PASS, Shop, increment, reviews

from tidemill.backends.spark import SparkEngine

pytestmark = [
    pytest.mark.spark,
    # Py4J and PySpark leave sockets and files to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_the_same_days_give_the_same_tables(tmp_path: Path, spark: SparkEngine) -> None:
    for name in ("polars", "spark"):
        (tmp_path / name).mkdir()
    on_polars, on_spark = Shop(tmp_path / "polars"), Shop(tmp_path / "spark", spark)
    play(on_polars)
    play(on_spark)
    assert told(on_spark) == told(on_polars)
    sound(on_spark)


def test_engines_can_change_between_days(tmp_path: Path, spark: SparkEngine) -> None:
    for number, engine in enumerate((None, spark, None), 1):
        shop = Shop(tmp_path, engine)
        rows = reviews(("ann", "x", 0, float(number)), first_row=number, increment=number)
        with shop.lease() as lease, shop.lake.draft(lease) as draft:
            merged = draft.merge_stream("reviews", rows, KEY)
            draft.publish(increment(number), PASS)
        assert (merged.merged, merged.contradicted) == ((1, 0) if number == 1 else (0, 1))
    assert Shop(tmp_path).lake.view().arrow("reviews")["rating"].to_pylist() == [3.0]
