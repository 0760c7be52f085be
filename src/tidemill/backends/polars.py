"""Polars engine: table functions on one machine (the default)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals as nw
import polars as pl
import pyarrow as pa

from tidemill.backends import duckdb_sql
from tidemill.backends.arrow_form import plain_rows
from tidemill.core.backend import BackendContext
from tidemill.core.empty_tables import empty_table


class PolarsEngine:
    """Evaluates Narwhals frames on Polars, lazily, with predicate pushdown into the Parquet scan.

    >>> engine = PolarsEngine()
    >>> frame = engine.frame(pa.table({"stars": [4, 5]}))
    >>> engine.collect(frame.filter(nw.col("stars") > 4)).to_pylist()
    [{'stars': 5}]
    """

    name = "polars"

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> PolarsEngine:
        """The engine in this process; the URL has no options."""
        return cls()

    def scan(self, files: Sequence[str], schema: pa.Schema, origin: str | None = None) -> nw.LazyFrame[Any]:
        if not files:
            return self.frame(empty_table(schema.append(pa.field(origin, pa.string())) if origin else schema))
        # With `glob`, a `*` or `[` in a folder's name would be a pattern.
        frame = pl.scan_parquet(list(files), glob=False, hive_partitioning=False, include_file_paths=origin)
        return nw.from_native(frame)

    def frame(self, rows: pa.Table) -> nw.LazyFrame[Any]:
        made = pl.from_arrow(rows, rechunk=False)
        if not isinstance(made, pl.DataFrame):
            raise TypeError(f"rows are a {type(rows).__name__}, but an Arrow table is required")
        return nw.from_native(made.lazy())

    def sql(self, query: str, frames: Mapping[str, nw.LazyFrame[Any]]) -> nw.LazyFrame[Any]:
        return duckdb_sql.query(query, frames)

    def collect(self, frame: nw.LazyFrame[Any]) -> pa.Table:
        made: pl.DataFrame = frame.collect("polars").to_native()
        return plain_rows(made.to_arrow(compat_level=pl.CompatLevel.oldest()))
