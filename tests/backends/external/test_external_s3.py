"""External tables on a store that speaks S3, on each engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from external_rows import items_at, opened, prices, read_rows
from s3_server import BUCKET, S3Server, s3_server, workers_with_credentials

from tidemill.backends.external.delta_table import ExternalDelta
from tidemill.backends.external.foreign_files import file_system
from tidemill.backends.external.parquet_files import ExternalParquet
from tidemill.backends.polars import PolarsEngine
from tidemill.backends.s3.s3_location import S3Location
from tidemill.core.errors import ExternalVersionGone
from tidemill.core.ports import Engine


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as found:
        yield found


class S3Tests:
    name: str

    def test_a_delta_table(self, engine: Engine, server: S3Server) -> None:
        url = server.url(f"{self.name}/prices")
        place, options = f"s3://{BUCKET}/{self.name}/prices", S3Location.from_url(url).delta_options()
        write_deltalake(place, prices("i1"), partition_by=["shop"], storage_options=options)
        table = opened(ExternalDelta, f"delta:{url}")
        first = table.pin(engine)
        write_deltalake(place, prices("i2"), mode="overwrite", storage_options=options)
        assert items_at(table, engine, table.pin(engine)) == ["i2"]
        assert [(row["item_id"], row["shop"]) for row in read_rows(table, engine, first)] == [("i1", "a b/é")]
        written = DeltaTable(place, storage_options=options)
        written.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
        with pytest.raises(ExternalVersionGone, match="no longer exist"):
            table.check(engine, first)

    def test_parquet_files(self, engine: Engine, server: S3Server) -> None:
        table = opened(ExternalParquet, f"parquet:{server.url(f'{self.name}/files')}")
        system, path = file_system(f"s3://{BUCKET}/{self.name}/files")
        for year in (2024, 2025):
            pq.write_table(prices(f"i{year}"), f"{path}/year={year}/part-0.parquet", filesystem=system)
        pin = table.pin(engine)
        found = [(row["item_id"], row["year"]) for row in read_rows(table, engine, pin)]
        assert found == [("i2024", 2024), ("i2025", 2025)]
        system.delete_file(f"{path}/year=2024/part-0.parquet")
        with pytest.raises(ExternalVersionGone, match="deleted or replaced"):
            table.frame(engine, pin)


class TestOnPolars(S3Tests):
    name = "polars"

    @pytest.fixture
    def engine(self) -> Engine:
        return PolarsEngine()


@pytest.mark.spark
class TestOnSpark(S3Tests):
    name = "spark"

    @pytest.fixture
    def engine(self, spark: Any, server: S3Server) -> Iterator[Engine]:
        with workers_with_credentials(spark):
            yield spark
