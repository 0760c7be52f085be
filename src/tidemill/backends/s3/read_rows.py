"""Rows of Parquet files on S3, as the workers of an engine read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from tidemill.backends.s3.s3_folder import S3Folder
from tidemill.backends.s3.s3_location import S3Location
from tidemill.core.errors import CorruptFile

#: Rows that are passed on at once.
_BATCH_ROWS = 10_000


@dataclass(frozen=True)
class ReadS3Rows:
    """Reads files by their numbers in `paths`. It can be pickled, and holds no credentials."""

    location: S3Location
    paths: Sequence[str]
    schema: pa.Schema
    #: The column for the URL of each row's file.
    origin: str | None = None

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The rows of the files whose numbers stand in the first column of the batches."""
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield from self.file(self.paths[number])

    def file(self, path: str) -> Iterator[pa.RecordBatch]:
        """The rows of one file in the schema, with nulls for columns that it does not have."""
        url = f"{self.location}/{path}"
        try:
            content = S3Folder(self.location).read(path)
        except FileNotFoundError:
            raise CorruptFile(f"{url} is missing", tip="tidemill verify") from None
        with pq.ParquetFile(pa.BufferReader(content)) as source:
            names = [name for name in self.schema.names if name in source.schema_arrow.names]
            for rows in source.iter_batches(_BATCH_ROWS, columns=names):
                yield self._conform(rows, url)

    def _conform(self, rows: pa.RecordBatch, url: str) -> pa.RecordBatch:
        columns = [
            rows[field.name].cast(field.type) if field.name in rows.schema.names else pa.nulls(len(rows), field.type)
            for field in self.schema
        ]
        if self.origin is None:
            return pa.RecordBatch.from_arrays(columns, schema=self.schema)
        origins = pa.repeat(pa.scalar(url), len(rows))
        return pa.RecordBatch.from_arrays(
            [*columns, origins], schema=self.schema.append(pa.field(self.origin, pa.string()))
        )
