"""Iceberg tables of a local catalogue, on each engine: they move on, and the pinned snapshot still answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from external_rows import AT, items_at, opened, prices, read_rows

from tidemill.backends.external.iceberg_table import ExternalIceberg
from tidemill.backends.polars import PolarsEngine
from tidemill.core.errors import ExternalMissing, ExternalRefused, ExternalVersionGone, SettingError
from tidemill.core.ports import Engine


class Catalogue:
    """A catalogue in SQLite, with a namespace `shop`."""

    def __init__(self, folder: Path) -> None:
        catalog = pytest.importorskip("pyiceberg.catalog", reason="no PyIceberg: Iceberg was not tried")
        self.properties = {"uri": f"sqlite:///{folder}/catalogue.db", "warehouse": f"file://{folder}/ware house"}
        self.catalogue = catalog.load_catalog("local", **self.properties)
        self.catalogue.create_namespace("shop")

    def create(self, rows: pa.Table, *partitions: str) -> Any:
        table = self.catalogue.create_table("shop.prices", schema=rows.schema)
        with table.update_spec() as update:
            for name in partitions:
                update.add_identity(name)
        table.append(rows)
        return table

    def external(self, name: str = "shop.prices") -> ExternalIceberg:
        options = "&".join(f"{key}={value}" for key, value in self.properties.items())
        found: ExternalIceberg = opened(ExternalIceberg, f"iceberg:local/{name}?{options}")
        return found


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(tmp_path)


class IcebergTests:
    def test_the_pinned_snapshot_answers_while_the_table_moves_on(self, engine: Engine, catalogue: Catalogue) -> None:
        written = catalogue.create(prices("i1", "i2"), "shop", "on")
        table = catalogue.external()
        first = table.pin(engine)
        with written.update_schema() as update:
            update.union_by_name(prices("i0").append_column("note", pa.array(["-"])).schema)
        later = prices("i3", shop="100%+").append_column("note", pa.array(["new"]))
        written.append(later)
        written.delete("item_id = 'i1'")  # rewrites its file
        newest = table.pin(engine)
        assert not newest.same_rows(first)
        assert [row["note"] for row in read_rows(table, engine, newest)] == [None, "new"]
        assert items_at(table, engine, newest) == ["i2", "i3"]
        assert items_at(table, engine, first) == ["i1", "i2"]
        row = read_rows(table, engine, first)[0]
        assert (row["price"], row["shop"], row["at"], row["on"].day) == (1.25, "a b/é", AT, 1)
        table.check(engine, first)

    def test_a_table_without_rows_has_columns(self, engine: Engine, catalogue: Catalogue) -> None:
        catalogue.catalogue.create_table("shop.prices", schema=prices("i1").schema)
        table = catalogue.external()
        pin = table.pin(engine, ["price", "item_id"])
        assert (pin.says, read_rows(table, engine, pin)) == ("no snapshot", [])


class TestOnPolars(IcebergTests):
    @pytest.fixture
    def engine(self) -> Engine:
        return PolarsEngine()

    def test_an_expired_snapshot_is_gone(self, engine: Engine, catalogue: Catalogue) -> None:
        written = catalogue.create(prices("i1"))
        table = catalogue.external()
        pin = table.pin(engine)
        written.append(prices("i2"))
        written.maintenance.expire_snapshots().by_id(int(pin.version["snapshot"])).commit()
        with pytest.raises(ExternalVersionGone, match="the snapshot has expired"):
            table.frame(engine, pin)
        newest = table.pin(engine)
        catalogue.catalogue.drop_table("shop.prices")
        catalogue.create(prices("i1"))
        with pytest.raises(ExternalVersionGone, match="another table"):
            table.check(engine, newest)

    def test_a_renamed_column_is_refused_by_name(self, engine: Engine, catalogue: Catalogue) -> None:
        written = catalogue.create(prices("i1"))
        with written.update_schema() as update:
            update.rename_column("stock", "left")
        with pytest.raises(ExternalRefused, match="column 'left' that was renamed"):
            catalogue.external().pin(engine)
        assert items_at(catalogue.external(), engine, catalogue.external().pin(engine, ["item_id"])) == ["i1"]

    def test_what_is_no_table_is_named(self, engine: Engine, catalogue: Catalogue) -> None:
        with pytest.raises(ExternalMissing, match="no Iceberg table"):
            catalogue.external("shop.none").pin(engine)
        with pytest.raises(SettingError, match="CATALOGUE/NAMESPACE"):
            opened(ExternalIceberg, "iceberg:prices")
        with pytest.raises(SettingError, match="'nowhere' that cannot be opened"):
            opened(ExternalIceberg, "iceberg:nowhere/shop.prices").pin(engine)
        assert "catalogue.db" not in catalogue.external()._shown  # a URI may have a password


@pytest.mark.spark
class TestOnSpark(IcebergTests):
    @pytest.fixture
    def engine(self, spark: Any) -> Engine:
        engine: Engine = spark
        return engine
