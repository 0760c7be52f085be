"""Parquet bytes of rows that are stored next to the tables. Compressed, without statistics: rows may be personal."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq


def parquet_from_rows(rows: pa.Table) -> bytes:
    """The content of a Parquet file with these rows."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd", write_statistics=False)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def rows_from_parquet(content: bytes) -> pa.Table:
    """The rows of a Parquet file with this content."""
    return pq.ParquetFile(pa.BufferReader(content)).read()
