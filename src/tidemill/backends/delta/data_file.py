"""Delta data file: Parquet written with its hash and the statistics that the log has of it."""

from __future__ import annotations

import hashlib
import io
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types

from tidemill.backends.delta.table_storage import TableStorage
from tidemill.core.ports import StagedFile
from tidemill.core.records.ingest import FileEntry

#: Maximum rows per data file; bounds the cost of rewriting a file for a few changed rows.
FILE_ROWS = 131_072
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _HashingSink(io.RawIOBase):
    """A sink that computes the hash during the write, so that the file is not read again."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self.sha256 = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self.sha256.update(content)
        self._sink.write(content)
        self.size += len(content)
        return len(content)

    def tell(self) -> int:
        return self.size


@dataclass(frozen=True)
class DeltaFileStager:
    """Stages data files of at most `FILE_ROWS` rows in the folder of a table."""

    storage: TableStorage
    folder: str
    number: int
    statistics: tuple[str, ...]

    def stage(self, rows: pa.Table) -> list[StagedFile]:
        statistics = [column for column in self.statistics if column in rows.column_names]
        starts = range(0, rows.num_rows, FILE_ROWS)
        staged = [self._write(rows.slice(at, FILE_ROWS), statistics) for at in starts]
        if staged:
            self.storage.sync(self.folder)
        return staged

    def _write(self, rows: pa.Table, statistics: list[str]) -> StagedFile:
        name = f"{self.number:010d}-{secrets.token_hex(4)}.parquet"
        with self.storage.create(f"{self.folder}/{name}") as sink:
            return write_data_file(name, sink, rows, statistics)


def write_data_file(name: str, sink: BinaryIO, rows: pa.Table, statistics: list[str]) -> StagedFile:
    """Write rows into a file of this name, with the statistics of some columns."""
    hashing = _HashingSink(sink)
    # The Parquet files' own statistics exclude text, too: it may contain personal data.
    pq.write_table(rows, hashing, compression="zstd", write_statistics=statistics or False)
    entry = FileEntry(path=name, sha256=hashing.sha256.hexdigest(), size_bytes=hashing.size, rows=rows.num_rows)
    present = [column for column in statistics if rows[column].null_count < rows.num_rows]
    ranges = {column: found for column in present if (found := _range(rows[column])) is not None}
    return StagedFile(entry=entry, ranges=ranges, nulls={column: rows[column].null_count for column in statistics})


def has_range(kind: pa.DataType) -> bool:
    """Whether a column of this type has a smallest and a largest value in the statistics."""
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_timestamp(kind) or types.is_date32(kind))


def _range(values: pa.ChunkedArray) -> tuple[int | float, int | float] | None:
    kind = values.type
    if types.is_floating(kind):
        if not pc.all(pc.is_finite(values)).as_py():
            return None  # readers order NaN differently, and JSON has neither NaN nor infinity
    elif not types.is_integer(kind):
        values = values.cast(pa.int32() if types.is_date32(kind) else pa.int64())
    found = pc.min_max(values).as_py()
    return found["min"], found["max"]


def delta_statistics(file: StagedFile, schema: pa.Schema) -> str:
    """The statistics of a file as Delta's JSON."""
    low = {column: _delta_value(low, schema.field(column).type) for column, (low, _) in file.ranges.items()}
    high = {column: _delta_value(high, schema.field(column).type) for column, (_, high) in file.ranges.items()}
    return json.dumps(
        {"numRecords": file.entry.rows, "minValues": low, "maxValues": high, "nullCount": file.nulls}, allow_nan=False
    )


def _delta_value(value: int | float, kind: pa.DataType) -> Any:
    if types.is_timestamp(kind):
        at = _EPOCH + timedelta(microseconds=int(value))
        return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    if types.is_date32(kind):
        return (date(1970, 1, 1) + timedelta(days=int(value))).isoformat()
    return value
