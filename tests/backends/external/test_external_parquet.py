"""Parquet files of other writers, on each engine: files are added and replaced, and the pin says which are read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from external_rows import items_at, opened, prices, read_rows

from tidemill.backends.external.parquet_files import ExternalParquet
from tidemill.backends.polars import PolarsEngine
from tidemill.core.errors import ExternalMissing, ExternalRefused, ExternalVersionGone
from tidemill.core.ports import Engine


def write(file: Path, rows: pa.Table) -> None:
    """Write a file, a moment after all others."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, file)
    latest = max((one.stat().st_mtime_ns for one in file.parents[1].rglob("*.parquet") if one != file), default=0)
    os.utime(file, ns=(latest + 1_000_000, max(latest + 1_000_000, 1_700_000_000_000_000_000)))


class ParquetTests:
    def test_the_pinned_files_answer_while_others_are_added(self, engine: Engine, tmp_path: Path) -> None:
        write(tmp_path / "prices" / "a.parquet", prices("i1"))
        table = opened(ExternalParquet, "parquet:prices", tmp_path)
        first = table.pin(engine)
        assert first.says.startswith("1 file with fingerprint ")
        write(tmp_path / "prices" / "b.parquet", prices("i2").append_column("note", pa.array(["new"])))
        newest = table.pin(engine)
        assert not newest.same_rows(first)
        assert [(row["item_id"], row["note"]) for row in read_rows(table, engine, newest)] == [
            ("i1", None),
            ("i2", "new"),
        ]
        assert items_at(table, engine, first) == ["i1"]
        table.check(engine, first)

    def test_folders_of_hive_partitions_are_columns(self, engine: Engine, tmp_path: Path) -> None:
        rows = prices("i1").drop_columns(["shop"])
        write(tmp_path / "prices" / "year=2024" / "month=01" / "shop=a%20b" / "part-0.parquet", rows)
        missing = "shop=__HIVE_DEFAULT_PARTITION__"
        write(
            tmp_path / "prices" / "year=2025" / "month=11" / missing / "part-0.parquet",
            prices("i2").select(["item_id"]),
        )
        (tmp_path / "prices" / "_SUCCESS").touch()
        table = opened(ExternalParquet, f"parquet:{tmp_path}/prices")
        pin = table.pin(engine)
        assert pin.columns == {"item_id": "str", "year": "int", "month": "str", "shop": "str"}
        assert read_rows(table, engine, pin) == [
            {"item_id": "i1", "year": 2024, "month": "01", "shop": "a b"},
            {"item_id": "i2", "year": 2025, "month": "11", "shop": None},
        ]


class TestOnPolars(ParquetTests):
    @pytest.fixture
    def engine(self) -> Engine:
        return PolarsEngine()

    def test_a_replaced_or_deleted_file_ends_the_pinned_version(self, engine: Engine, tmp_path: Path) -> None:
        for name in ("a", "b"):
            write(tmp_path / "prices" / f"{name}.parquet", prices(name))
        table = opened(ExternalParquet, f"parquet:{tmp_path}/prices")
        pin = table.pin(engine)
        write(tmp_path / "prices" / "a.parquet", prices("other"))
        with pytest.raises(ExternalVersionGone, match="deleted or replaced"):
            table.frame(engine, pin)
        (tmp_path / "prices" / "a.parquet").unlink()
        with pytest.raises(ExternalVersionGone):
            table.check(engine, pin)

    def test_a_pattern_names_files_of_one_folder(self, engine: Engine, tmp_path: Path) -> None:
        write(tmp_path / "prices[1]" / "day-1.parquet", prices("i1"))
        write(tmp_path / "prices[1]" / "other.parquet", prices("i2"))
        write(tmp_path / "prices[1]" / "below" / "day-2.parquet", prices("i3"))
        table = opened(ExternalParquet, f"parquet:{tmp_path}/prices[[]1]/day-*.parquet")
        assert items_at(table, engine, table.pin(engine)) == ["i1"]
        one = opened(ExternalParquet, f"parquet:{tmp_path}/prices[[]1]/other.parquet")
        assert items_at(one, engine, one.pin(engine)) == ["i2"]

    def test_what_is_no_table_is_named(self, engine: Engine, tmp_path: Path) -> None:
        with pytest.raises(ExternalMissing, match="no Parquet file"):
            opened(ExternalParquet, f"parquet:{tmp_path}/none").pin(engine)
        (tmp_path / "text").mkdir()
        (tmp_path / "text" / "rows.csv").write_text("a,b\n")
        with pytest.raises(ExternalRefused, match="not Parquet"):
            opened(ExternalParquet, f"parquet:{tmp_path}/text").pin(engine)
        write(tmp_path / "mixed" / "a.parquet", prices("i1"))
        write(tmp_path / "mixed" / "year=2024" / "b.parquet", prices("i1"))
        with pytest.raises(ExternalRefused, match="same keys"):
            opened(ExternalParquet, f"parquet:{tmp_path}/mixed").pin(engine)
        (tmp_path / "delta" / "_delta_log").mkdir(parents=True)
        (tmp_path / "delta" / "_delta_log" / "0.json").touch()
        with pytest.raises(ExternalRefused, match="Delta table"):
            opened(ExternalParquet, f"parquet:{tmp_path}/delta").pin(engine)


@pytest.mark.spark
class TestOnSpark(ParquetTests):
    @pytest.fixture
    def engine(self, spark: Any) -> Engine:
        engine: Engine = spark
        return engine

    def test_files_that_spark_wrote_with_its_own_times(self, engine: Any, tmp_path: Path) -> None:
        """Spark writes times as INT96, which have no zone."""
        engine.frame(prices("i1")).to_native().write.partitionBy("on").parquet(f"{tmp_path}/prices")
        table = opened(ExternalParquet, f"parquet:{tmp_path}/prices")
        pin = table.pin(engine)
        (row,) = read_rows(table, engine, pin)
        assert row["at"] == prices("i1")["at"][0].as_py()
        assert read_rows(table, PolarsEngine(), pin) == [row]
