"""Polars engine: table functions on one machine (the default)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import narwhals as nw
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.io.plugins import register_io_source

from tidemill.backends import duckdb_sql
from tidemill.backends.arrow_form import plain_rows
from tidemill.backends.s3.s3_location import containing
from tidemill.core.backend import BackendContext
from tidemill.core.empty_tables import empty_table
from tidemill.core.ports import EngineStage, FileStager, PersistedFrame, StagedFile

#: Rows in memory at once where a frame is written.
_BATCH_ROWS = 131_072
_PART = "_part"
Task = TypeVar("Task")


class PolarsEngine:
    """Evaluates Narwhals frames on Polars, lazily, with predicate pushdown into the Parquet scan. What does not stay in
    memory goes to the folder for temporary files.

    >>> engine = PolarsEngine()
    >>> frame = engine.frame(pa.table({"stars": [4, 5]}))
    >>> engine.collect(frame.filter(nw.col("stars") > 4)).to_pylist()
    [{'stars': 5}]
    """

    name, in_process = "polars", True

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> PolarsEngine:
        """The engine in this process; the URL has no options."""
        return cls()

    def scan(
        self, files: Sequence[str], schema: pa.Schema, origin: str | None = None, *, evolved: bool = False
    ) -> nw.LazyFrame[Any]:
        if not files:
            return self.frame(empty_table(schema.append(pa.field(origin, pa.string())) if origin else schema))
        # With `glob`, a `*` or `[` in a folder's name would be a pattern.
        given: dict[str, Any] = {"glob": False, "hive_partitioning": False, "include_file_paths": origin}
        if evolved:
            given |= {"schema": pl.DataFrame(empty_table(schema)).schema, "cast_options": _widening()}
            given |= {"missing_columns": "insert", "extra_columns": "ignore"}
        remote = containing(files)
        if remote:
            given |= {"storage_options": remote[0].polars_options(), "credential_provider": None}
        return nw.from_native(pl.scan_parquet(list(files), **given))

    def frame(self, rows: pa.Table) -> nw.LazyFrame[Any]:
        made = pl.from_arrow(rows, rechunk=False)
        if not isinstance(made, pl.DataFrame):
            raise TypeError(f"rows are a {type(rows).__name__}, but an Arrow table is required")
        return nw.from_native(made.lazy())

    def sql(self, query: str, frames: Mapping[str, nw.LazyFrame[Any]]) -> nw.LazyFrame[Any]:
        return duckdb_sql.query(query, frames)

    def collect(self, frame: nw.LazyFrame[Any]) -> pa.Table:
        made: pl.DataFrame = frame.collect("polars").to_native()
        return _arrow(made)

    def watch(self, listener: Callable[[Sequence[EngineStage]], None] | None) -> None:
        pass

    @contextmanager
    def persist(self, frame: nw.LazyFrame[Any], schema: pa.Schema) -> Iterator[PersistedFrame]:
        types = pl.DataFrame(empty_table(schema)).schema
        with tempfile.TemporaryDirectory(prefix="tidemill-") as folder:
            file = Path(folder) / "frame.parquet"
            kept = frame.to_native().select(pl.col(name).cast(kind) for name, kind in types.items())
            kept.sink_parquet(file, compression="lz4", statistics=False)
            found = pl.scan_parquet(file, glob=False)
            yield PersistedFrame(nw.from_native(found), found.select(pl.len()).collect().item())

    @contextmanager
    def read(
        self, tasks: Sequence[Task], reader: Callable[[Task], Iterable[pa.Table]], schema: pa.Schema
    ) -> Iterator[PersistedFrame]:
        with tempfile.TemporaryDirectory(prefix="tidemill-") as folder:
            files, n_rows = [], 0
            for number, task in enumerate(tasks):
                files.append(f"{folder}/{number:07d}.parquet")
                with pq.ParquetWriter(files[-1], schema, compression="lz4", use_dictionary=False) as writer:
                    for rows in reader(task):
                        writer.write_table(rows.select(schema.names).cast(schema))
                        n_rows += rows.num_rows
            yield PersistedFrame(self.scan(files, schema), n_rows)

    def map_rows(
        self, frame: nw.LazyFrame[Any], apply: Callable[[pa.Table], pa.Table], schema: pa.Schema
    ) -> nw.LazyFrame[Any]:
        types = pl.DataFrame(empty_table(schema)).schema

        def of_batch(rows: pl.DataFrame) -> pl.DataFrame:
            return pl.DataFrame(apply(_arrow(rows)).select(schema.names).cast(schema))

        mapped: pl.LazyFrame = frame.to_native().map_batches(of_batch, schema=types, streamable=True)
        return nw.from_native(mapped)

    def stage(self, frame: nw.LazyFrame[Any], stager: FileStager) -> list[StagedFile]:
        staged: list[StagedFile] = []

        def write(rows: pl.DataFrame) -> None:
            staged.extend(stager.stage(_arrow(rows)))

        # unlike `collect_batches`, it waits for each batch to be written
        frame.to_native().sink_batches(write, chunk_size=_BATCH_ROWS)
        return staged

    def cogroup(
        self,
        left: nw.LazyFrame[Any],
        right: nw.LazyFrame[Any],
        by: Sequence[str],
        parts: int,
        apply: Callable[[pa.Table, pa.Table], bytes],
    ) -> list[bytes]:
        return [apply(*rows) for rows in _parts([left, right], by, parts)]

    def map_parts(
        self,
        frames: Sequence[nw.LazyFrame[Any]],
        by: Sequence[str],
        parts: int,
        apply: Callable[..., pa.Table],
        schema: pa.Schema,
    ) -> nw.LazyFrame[Any]:
        def rows(columns: list[str] | None, predicate: pl.Expr | None, most: int | None, _: int | None) -> Any:
            for of_part in _parts(frames, by, parts) if most != 0 else ():
                made: Any = pl.from_arrow(apply(*of_part).select(schema.names).cast(schema), rechunk=False)
                made = made if predicate is None else made.filter(predicate)
                made = made.select(columns or schema.names).head(made.height if most is None else most)
                most = most if most is None else most - made.height
                yield made
                if most == 0:
                    return

        return nw.from_native(register_io_source(rows, schema=pl.DataFrame(empty_table(schema)).schema))

    def batches(self, frame: nw.LazyFrame[Any]) -> Iterator[pa.Table]:
        for batch in frame.to_native().collect_batches(chunk_size=_BATCH_ROWS):
            if batch.height:
                rows = _arrow(batch)
                yield from (rows.slice(start, _BATCH_ROWS) for start in range(0, rows.num_rows, _BATCH_ROWS))


def _widening() -> pl.ScanCastOptions:
    """Casts that keep every value, except that times of nanoseconds are cut to microseconds."""
    return pl.ScanCastOptions(
        integer_cast="upcast",
        float_cast="upcast",
        datetime_cast=["nanosecond-downcast", "millisecond-upcast", "convert-timezone"],
        categorical_to_string="allow",
    )


def _parts(frames: Sequence[nw.LazyFrame[Any]], by: Sequence[str], parts: int) -> Iterator[list[pa.Table]]:
    """The rows of each frame in each part that has any; of several parts, by way of files."""
    if parts == 1:
        whole = [_arrow(frame.to_native().collect()) for frame in frames]
        if any(rows.num_rows for rows in whole):
            yield whole
        return
    with tempfile.TemporaryDirectory(prefix="tidemill-") as folder:
        sides: list[pl.LazyFrame] = [frame.to_native() for frame in frames]
        for number, side in enumerate(sides):
            key = (pl.struct(by).hash() % parts).alias(_PART)
            target = pl.PartitionBy(Path(folder, str(number)), key=key, include_key=False)
            side.sink_parquet(target, compression="lz4", statistics=False, mkdir=True)
        for part in range(parts):
            files = [sorted(Path(folder, str(number), f"{_PART}={part}").glob("*")) for number in range(len(sides))]
            if any(files):
                yield [_part_rows(of_one, side) for of_one, side in zip(files, sides, strict=True)]


def _arrow(rows: pl.DataFrame) -> pa.Table:
    return plain_rows(rows.to_arrow(compat_level=pl.CompatLevel.oldest()))


def _part_rows(files: Sequence[Path], side: pl.LazyFrame) -> pa.Table:
    if not files:
        return _arrow(pl.DataFrame(schema=side.collect_schema()))
    return _arrow(pl.read_parquet(list(files), glob=False, hive_partitioning=False))
