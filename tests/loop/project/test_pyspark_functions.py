"""Table functions of PySpark: the same tables as by Narwhals, and refused by name on other engines."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from conftest_loop import FIRST, Project, daily

from tidemill.core.errors import GraphError, SettingRefused, TypeMismatch
from tidemill.loop.project.mill import Mill

TABLES = """

@mill.table(by="item_id")
def by_narwhals(ratings):
    return ratings.group_by("item_id").agg(n=nw.len(), best=nw.col("rating").max())


@mill.table(by="item_id", engine="spark")
def by_pyspark(ratings):
    from pyspark.sql import functions

    return ratings.groupBy("item_id").agg(functions.count("*").alias("n"), functions.max("rating").alias("best"))


@mill.table
def behind(by_pyspark):
    return by_pyspark.filter(nw.col("best") > 3)
"""


def test_they_are_refused_by_name_on_polars(project: Project) -> None:
    file = project.path / "mill.py"
    file.write_text(file.read_text() + TABLES)
    with pytest.raises(GraphError, match="table 'by_pyspark' is a function of PySpark, and the engine is polars"):
        project.open()


def test_other_engines_are_refused() -> None:
    with pytest.raises(SettingRefused, match="engine='polars'"):
        Mill("shop").table(engine="polars")  # type: ignore[call-overload]


@pytest.mark.spark
def test_they_make_the_same_tables(project: Project, spark: Any) -> None:
    settings, file = project.path / "tidemill.toml", project.path / "mill.py"
    settings.write_text(settings.read_text().replace("[laptop]\n", '[laptop]\nengine = "spark"\n', 1))
    file.write_text(file.read_text() + TABLES)
    project.write("reviews.csv", daily(2))
    project.run(FIRST)
    project.run(FIRST + timedelta(days=1))
    rows = project.rows("by_pyspark")
    assert rows and rows == project.rows("by_narwhals")
    assert project.rows("behind") == [row for row in rows if row["best"] > 3]
    code = project.open()[1].codes["by_pyspark"]
    file.write_text(file.read_text().replace('best"))\n', 'best"))[["item_id", "n", "best"]]\n'))
    assert project.open()[1].codes["by_pyspark"] != code
    file.write_text(file.read_text().replace("def behind(by_pyspark):", "def behind(by_pyspark):\n    return 1"))
    with pytest.raises(TypeMismatch, match="behind returns a int"):
        project.open()
