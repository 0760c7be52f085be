"""Tables of Spark's catalogue, also of Hive's: they move on, and the pinned version still answers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from external_rows import AT, items_at, opened, prices, read_rows

from tidemill.backends.external.spark_catalogue import ExternalSparkTable
from tidemill.backends.polars import PolarsEngine
from tidemill.core.errors import ExternalMissing, ExternalRefused, ExternalVersionGone


@pytest.fixture
def database(spark: Any, tmp_path: Path) -> Iterator[Any]:
    spark.session.sql(f"CREATE DATABASE shop LOCATION '{tmp_path}/warehouse'")
    yield spark.session
    spark.session.sql("DROP DATABASE shop CASCADE")


def insert(engine: Any, item: str, mode: str = "append") -> None:
    time.sleep(0.01)  # times of modification are milliseconds
    rows = engine.frame(prices(item)).to_native()
    rows.write.mode(mode).format("parquet").partitionBy("on").saveAsTable("shop.prices")


@pytest.mark.spark
def test_the_pinned_files_answer_while_others_are_added(spark: Any, database: Any) -> None:
    insert(spark, "i1")
    table = opened(ExternalSparkTable, "spark:shop.prices")
    first = table.pin(spark)
    insert(spark, "i2")
    newest = table.pin(spark)
    assert not newest.same_rows(first)
    assert (items_at(table, spark, newest), items_at(table, spark, first)) == (["i1", "i2"], ["i1"])
    (row,) = read_rows(table, spark, first)
    assert (row["price"], row["stock"], row["at"], row["on"].day) == (1.25, 3, AT, 1)
    insert(spark, "i3", "overwrite")
    with pytest.raises(ExternalVersionGone, match="deleted or replaced"):
        table.frame(spark, newest)
    database.sql("DROP TABLE shop.prices")
    with pytest.raises(ExternalVersionGone, match="has no table"):
        table.check(spark, newest)


@pytest.mark.spark
def test_what_cannot_be_pinned_is_refused_by_name(spark: Any, database: Any) -> None:
    with pytest.raises(ExternalMissing, match=r"not in Spark's catalogue: shop\.none"):
        opened(ExternalSparkTable, "spark:shop.none").pin(spark)
    database.sql("CREATE VIEW shop.looked AS SELECT 1 AS n")
    with pytest.raises(ExternalRefused, match="table of no format"):
        opened(ExternalSparkTable, "spark:shop.looked").pin(spark)
    with pytest.raises(ExternalRefused, match="the engine polars cannot read"):
        opened(ExternalSparkTable, "spark:shop.prices").pin(PolarsEngine())


#: Hive's catalogue belongs to a session from its start, so it has a process of its own.
HIVE = """
import sys
from pathlib import Path
from tidemill.backends.external.spark_catalogue import ExternalSparkTable
from tidemill.backends.spark import SparkEngine
from tidemill.core.backend import BackendContext
from tidemill.core.errors import ExternalRefused

folder = Path(sys.argv[1])
engine = SparkEngine("local[1]", {
    "spark.sql.catalogImplementation": "hive", "spark.sql.warehouse.dir": f"{folder}/warehouse",
    "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:memory:hive;create=true",
    "spark.hadoop.datanucleus.schema.autoCreateAll": "true",
    "spark.hadoop.hive.metastore.schema.verification": "false",
})
run = engine.session.sql
run("CREATE DATABASE shop")
run("CREATE TABLE shop.prices (item_id string, price decimal(10,2)) PARTITIONED BY (day string) STORED AS PARQUET")
run("INSERT INTO shop.prices PARTITION (day = '2024-01-01') VALUES ('i1', 1.25)")
table = ExternalSparkTable.from_url("spark:shop.prices", BackendContext(project=folder))
first = table.pin(engine)
run("INSERT INTO shop.prices PARTITION (day = '2024-01-02') VALUES ('i2', 2.5)")
newest = table.pin(engine)
print([sorted(map(str, engine.collect(table.frame(engine, pin)).to_pylist())) for pin in (first, newest)])
run("CREATE TABLE shop.texts (item_id string) STORED AS TEXTFILE")
try:
    ExternalSparkTable.from_url("spark:shop.texts", BackendContext(project=folder)).pin(engine)
except ExternalRefused as error:
    print(error.message)
"""


@pytest.mark.spark
@pytest.mark.slow
def test_a_partitioned_table_of_hive(spark: Any, tmp_path: Path) -> None:
    """`spark` says whether there is Java."""
    done = subprocess.run(
        [sys.executable, "-c", HIVE, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (str({"item_id": f"i{n}", "price": 1.25 * n, "day": f"2024-01-0{n}"}) for n in (1, 2))
    assert done.stdout.splitlines()[-2:] == [
        str([[one], [one, two]]),
        "is read by Spark through Hive, which does not say from which files",
    ]
