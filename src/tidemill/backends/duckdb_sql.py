"""SQL on one machine by DuckDB, over Polars frames.

A query sees its frames only, no file and no network. One thread computes it: so sums of floats are the same each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import narwhals as nw
import polars as pl
import pyarrow as pa

from tidemill.backends.arrow_form import plain_decimals, plain_rows
from tidemill.core.errors import BackendMissing

_CONFIG = {"enable_external_access": "false", "threads": "1", "default_null_order": "nulls_first_on_asc_last_on_desc"}


def query(text: str, frames: Mapping[str, nw.LazyFrame[Any]]) -> nw.LazyFrame[Any]:
    """The result of a query over Polars frames by name."""
    with _duckdb().connect(":memory:", config=_CONFIG) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, frame in frames.items():
            rows = frame.collect("polars").to_native().to_arrow(compat_level=pl.CompatLevel.oldest())
            connection.register(name, plain_rows(rows))
        found: pa.Table = connection.sql(text).to_arrow_table()
    made = pl.from_arrow(plain_decimals(found), rechunk=False)
    assert isinstance(made, pl.DataFrame)
    return nw.from_native(made.lazy())


def _duckdb() -> Any:
    try:
        import duckdb
    except ModuleNotFoundError as missing:
        raise BackendMissing("tables in SQL need DuckDB", tip="pip install 'tidemill[sql]'") from missing
    return duckdb
