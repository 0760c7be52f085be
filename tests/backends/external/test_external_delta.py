"""Delta tables of other writers, on each engine: they move on, and the pinned version still answers."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from external_rows import AT, items_at, opened, prices, read_rows

from tidemill.backends.external.delta_table import ExternalDelta
from tidemill.backends.polars import PolarsEngine
from tidemill.core.errors import ExternalMissing, ExternalRefused, ExternalVersionGone
from tidemill.core.ports import Engine

#: Written by Spark 4.2 with Delta Lake 4.4: `prices` (two rows, one more, one deleted), `marked` (a deletion vector in
#: its second version) and `mapped` (column mapping).
BY_SPARK = Path(__file__).parent / "data" / "spark_delta.zip"


class DeltaTests:
    def test_a_table_that_spark_wrote(self, engine: Engine, tmp_path: Path) -> None:
        with zipfile.ZipFile(BY_SPARK) as packed:
            packed.extractall(tmp_path)
        table = opened(ExternalDelta, "delta:prices", tmp_path)
        pin = table.pin(engine)
        assert (pin.says, items_at(table, engine, pin)) == ("version 2", ["i2", "i3"])
        old = msgspec.structs.replace(pin, version=pin.version | {"version": "0"})
        rows = read_rows(table, engine, old)
        assert [(row["item_id"], row["shop"], row["at"]) for row in rows] == [("i1", "a b/é", AT), ("i2", "a b/é", AT)]
        with pytest.raises(ExternalRefused, match="uses deletionVectors of the Delta protocol"):
            opened(ExternalDelta, "delta:marked", tmp_path).pin(engine)
        with pytest.raises(ExternalRefused, match="uses columnMapping of the Delta protocol"):
            opened(ExternalDelta, "delta:mapped", tmp_path).pin(engine)

    def test_the_pinned_version_answers_while_the_table_moves_on(self, engine: Engine, tmp_path: Path) -> None:
        write_deltalake(tmp_path / "prices", prices("i1", "i2"), partition_by=["shop", "on"])
        table = opened(ExternalDelta, "delta:prices", tmp_path)
        first = table.pin(engine)
        assert first.says == "version 0"
        later = prices("i3", shop="100%+").append_column("note", pa.array(["new"]))
        write_deltalake(tmp_path / "prices", later, mode="append", schema_mode="merge")
        DeltaTable(tmp_path / "prices").delete("item_id = 'i1'")
        newest = table.pin(engine)
        assert not newest.same_rows(first)
        assert items_at(table, engine, newest) == ["i2", "i3"]
        assert [row["note"] for row in read_rows(table, engine, newest)] == [None, "new"]
        assert items_at(table, engine, first) == ["i1", "i2"]
        row = read_rows(table, engine, first)[0]
        assert (row["price"], row["shop"], row["at"], row["on"].day) == (1.25, "a b/é", AT, 1)
        table.check(engine, first)

    def test_only_the_listed_columns_are_read(self, engine: Engine, tmp_path: Path) -> None:
        rows = prices("i1").append_column("tags", pa.array([["a"]]))
        write_deltalake(tmp_path / "prices", rows, partition_by=["shop"])
        table = opened(ExternalDelta, f"delta:{tmp_path}/prices")
        with pytest.raises(ExternalRefused, match=r"'tags' of the unsupported type list"):
            table.pin(engine)
        pin = table.pin(engine, ["shop", "item_id"])
        assert read_rows(table, engine, pin) == [{"shop": "a b/é", "item_id": "i1"}]

    def test_a_table_without_rows_has_columns(self, engine: Engine, tmp_path: Path) -> None:
        write_deltalake(tmp_path / "prices", prices("i1").slice(0, 0))
        table = opened(ExternalDelta, f"delta:{tmp_path}/prices")
        assert read_rows(table, engine, table.pin(engine)) == []


class TestOnPolars(DeltaTests):
    @pytest.fixture
    def engine(self) -> Engine:
        return PolarsEngine()

    def test_a_vacuumed_version_is_gone(self, engine: Engine, tmp_path: Path) -> None:
        write_deltalake(tmp_path / "prices", prices("i1"))
        table = opened(ExternalDelta, f"delta:{tmp_path}/prices")
        pin = table.pin(engine)
        written = DeltaTable(tmp_path / "prices")
        write_deltalake(written, prices("i2"), mode="overwrite")
        written.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
        with pytest.raises(ExternalVersionGone, match=r"version 0: 1 of its 1 files no longer exist"):
            table.frame(engine, pin)
        with pytest.raises(ExternalVersionGone):
            table.check(engine, pin)

    def test_another_table_in_its_place_is_not_the_pinned_one(self, engine: Engine, tmp_path: Path) -> None:
        for name in ("prices", "other"):
            write_deltalake(tmp_path / name, prices("i1"))
        pin = opened(ExternalDelta, f"delta:{tmp_path}/prices").pin(engine)
        with pytest.raises(ExternalVersionGone, match="another table"):
            opened(ExternalDelta, f"delta:{tmp_path}/other").check(engine, pin)
        with pytest.raises(ExternalMissing, match="no Delta table"):
            opened(ExternalDelta, f"delta:{tmp_path}/neither").pin(engine)

    def test_a_moved_folder_is_the_same_version(self, engine: Engine, tmp_path: Path) -> None:
        write_deltalake(tmp_path / "prices", prices("i1"))
        pin = opened(ExternalDelta, f"delta:{tmp_path}/prices").pin(engine)
        (tmp_path / "prices").rename(tmp_path / "elsewhere")
        moved = opened(ExternalDelta, f"delta:{tmp_path}/elsewhere")
        assert moved.pin(engine).same_rows(pin)
        assert items_at(moved, engine, pin) == ["i1"]


@pytest.mark.spark
class TestOnSpark(DeltaTests):
    @pytest.fixture
    def engine(self, spark: Any) -> Engine:
        engine: Engine = spark
        return engine
