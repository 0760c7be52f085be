"""Spark engine: runs the same table functions on a cluster, or on local Spark for tests.

A session whose time zone is not UTC is rejected: in New York, the date of a UTC midnight is the day before.
"""

from __future__ import annotations

import atexit
import os
import re
import secrets
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec
import narwhals as nw
import pyarrow as pa

from tidemill.backends.arrow_form import plain_rows, plain_schema
from tidemill.backends.s3.read_rows import ReadS3Rows
from tidemill.backends.s3.s3_location import S3Location, containing
from tidemill.backends.spark_jobs import Listener, running
from tidemill.core.backend import BackendContext
from tidemill.core.empty_tables import empty_table
from tidemill.core.errors import BackendMissing, SettingError, SourceError
from tidemill.core.ports import FileStager, PersistedFrame, StagedFile

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # Timestamps as instants: tables store UTC microseconds.
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
}
#: Only for a driver in this process; a Spark Connect server has its own.
_DRIVER_SETTINGS = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"}
#: Only for local Spark: 200 shuffle partitions would be mostly empty tasks, and the driver needs no remote access.
_LOCAL_SETTINGS = {
    "spark.sql.shuffle.partitions": "2",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}
#: Rows of a worker in memory at once where a frame is written.
_BATCH_ROWS = 131_072
#: Rows that go from a worker's Python to its JVM at once.
_ARROW_ROWS = 16_384
#: At most so many tasks read the files of a scan on S3, up to eight files each.
_SCAN_TASKS = 64
_PART, _RESULT = "_part", "result"
#: The path of a row's file as it was given: Spark has it as a percent-encoded URL.
_DECODED = "regexp_replace(url_decode(replace(_metadata.file_path, '+', '%2B')), '^file:/+', '/')"
Task = TypeVar("Task")


class SparkEngine:
    """Evaluates Narwhals frames on Spark. `url` is `local[2]`, a master such as `spark://HOST:PORT` or `k8s://HOST:PORT`,
    or `sc://HOST` for Spark Connect; `conf` are Spark properties of its session.

    The session starts with the first frame. Files must be accessible to every executor under the same path. Raises
    `BackendMissing` without PySpark or Java, and `SettingError` for a property that would change rows, or if a session
    that runs already is not in UTC or has another master.
    """

    name, in_process = "spark", False

    def __init__(self, url: str = "local[2]", conf: Mapping[str, str] | None = None) -> None:
        self.url, self.conf = url, dict(conf or {})
        for name in self.conf:
            if not name.startswith("spark."):
                tip = "for example spark.executor.memory=4g"
                raise SettingError(f"the engine's option {name!r} is not a property of Spark", tip=tip)
            if name in _SETTINGS and self.conf[name] != _SETTINGS[name]:
                raise SettingError(f"the engine needs {name}={_SETTINGS[name]}", tip=f"leave {name} out")
        self._started: SparkSession | None = None
        self._listener: Listener | None = None

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> SparkEngine:
        """The engine of `spark` (local), `spark:local[4]`, `spark:k8s://HOST:PORT`, `spark://HOST:PORT` or `sc://HOST`,
        with properties after a `?`: `spark://HOST:PORT?spark.executor.memory=4g`. Nothing starts yet.
        """
        place, _, options = url.partition("?")
        try:
            conf = dict(parse_qsl(options, keep_blank_values=True, strict_parsing=bool(options)))
        except ValueError:
            raise SettingError(f"the options of the engine {place!r} are not NAME=VALUE&NAME=VALUE") from None
        master = place if place.startswith(("spark://", "sc://")) else place.removeprefix("spark").removeprefix(":")
        return cls(master, conf) if master else cls(conf=conf)

    @property
    def session(self) -> SparkSession:
        """The Spark session, started on first use."""
        if self._started is None:
            self._started = _start(self.url, self.conf)
        return self._started

    def scan(
        self, files: Sequence[str], schema: pa.Schema, origin: str | None = None, *, evolved: bool = False
    ) -> nw.LazyFrame[Any]:
        if not files:
            return self.frame(empty_table(schema.append(pa.field(origin, pa.string())) if origin else schema))
        from pyspark.sql import functions as sql

        remote = containing(files)
        if remote:
            return self._scan_s3(*remote, plain_schema(schema), origin)
        frame = self.session.read.schema(_spark_schema(schema)).parquet(*map(_literal, files))
        if origin and evolved:
            _check_decoded(frame.inputFiles(), files)
            frame = frame.withColumn(origin, sql.expr(_DECODED))
        elif origin:
            frame = frame.withColumn(origin, sql.col("_metadata.file_path"))
        return nw.from_native(frame)

    def _scan_s3(
        self, location: S3Location, paths: list[str], schema: pa.Schema, origin: str | None
    ) -> nw.LazyFrame[Any]:
        """Each task reads its files with the client of the workers' Python: Spark itself would need Hadoop's jars."""
        read = ReadS3Rows(location, paths, schema, origin)
        made = schema.append(pa.field(origin, pa.string())) if origin else schema
        tasks = min(len(paths), max(_SCAN_TASKS, len(paths) // 8))
        numbers = self.session.range(0, len(paths), 1, tasks)
        with _no_pandas_warning():
            return nw.from_native(numbers.mapInArrow(read, _spark_schema(made)))

    def frame(self, rows: pa.Table) -> nw.LazyFrame[Any]:
        rows = plain_rows(rows)
        with _no_pandas_warning():
            made = self.session.createDataFrame(rows, schema=_spark_schema(rows.schema))
        return nw.from_native(made)

    def sql(self, query: str, frames: Mapping[str, nw.LazyFrame[Any]]) -> nw.LazyFrame[Any]:
        from pyspark.sql import functions
        from pyspark.sql.types import DecimalType

        self.session.conf.set("spark.sql.ansi.doubleQuotedIdentifiers", "true")  # as in DuckDB
        views = {name: f"tidemill_{secrets.token_hex(8)}" for name in frames}
        for name, view in views.items():
            frames[name].to_native().createTempView(view)
        given = ", ".join(f"`{name}` AS (SELECT * FROM {view})" for name, view in views.items())
        found = self.session.sql(f"WITH {given} SELECT * FROM (\n{query}\n)" if given else query)
        decimals = {
            field.name: functions.col(f"`{field.name}`").cast("double" if field.dataType.scale else "bigint")
            for field in found.schema
            if isinstance(field.dataType, DecimalType)
        }
        if not self.url.startswith("sc://"):  # Spark Connect asks for them again when the frame is collected
            for view in views.values():
                self.session.catalog.dropTempView(view)
        return nw.from_native(found.withColumns(decimals) if decimals else found)

    def collect(self, frame: nw.LazyFrame[Any]) -> pa.Table:
        with running(self.session, self._listener):
            return plain_rows(frame.to_native().toArrow())

    def watch(self, listener: Listener | None) -> None:
        self._listener = listener

    @contextmanager
    def persist(self, frame: nw.LazyFrame[Any], schema: pa.Schema) -> Iterator[PersistedFrame]:
        from pyspark import StorageLevel
        from pyspark.sql import functions

        types = _spark_schema(schema)
        columns = [functions.col(f"`{field.name}`").cast(field.dataType).alias(field.name) for field in types]
        kept = frame.to_native().select(*columns).persist(StorageLevel.DISK_ONLY)
        try:
            with running(self.session, self._listener):
                rows = kept.count()
            yield PersistedFrame(nw.from_native(kept), rows)
        finally:
            kept.unpersist()

    @contextmanager
    def read(
        self, tasks: Sequence[Task], reader: Callable[[Task], Iterable[pa.Table]], schema: pa.Schema
    ) -> Iterator[PersistedFrame]:
        items, plain = list(tasks), plain_schema(schema)

        def read_tasks(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for number in (number for batch in batches for number in batch.column(0).to_pylist()):
                for rows in reader(items[number]):
                    yield from rows.select(plain.names).cast(plain).to_batches(max_chunksize=_ARROW_ROWS)

        if items:
            numbers = self.session.range(0, len(items), 1, len(items))
            with _no_pandas_warning():
                frame = nw.from_native(numbers.mapInArrow(read_tasks, _spark_schema(schema)))
        else:
            frame = self.frame(empty_table(schema))
        with self.persist(frame, schema) as kept:
            yield kept

    def map_rows(
        self, frame: nw.LazyFrame[Any], apply: Callable[[pa.Table], pa.Table], schema: pa.Schema
    ) -> nw.LazyFrame[Any]:
        plain = plain_schema(schema)

        def of_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for rows in _tables(batches, _ARROW_ROWS):
                yield from apply(rows).select(plain.names).cast(plain).to_batches(max_chunksize=_ARROW_ROWS)

        with _no_pandas_warning():
            made: nw.LazyFrame[Any] = nw.from_native(frame.to_native().mapInArrow(of_batches, _spark_schema(schema)))
        return made

    def stage(self, frame: nw.LazyFrame[Any], stager: FileStager) -> list[StagedFile]:
        def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for rows in _tables(batches, _BATCH_ROWS):
                yield _results(msgspec.json.encode(file) for file in stager.stage(rows))

        # one action: another one would write all files again
        with running(self.session, self._listener), _no_pandas_warning():
            made = frame.to_native().mapInArrow(write, f"{_RESULT} binary").toArrow()
        return [msgspec.json.decode(file, type=StagedFile) for file in made[_RESULT].to_pylist()]

    def cogroup(
        self,
        left: nw.LazyFrame[Any],
        right: nw.LazyFrame[Any],
        by: Sequence[str],
        parts: int,
        apply: Callable[[pa.Table, pa.Table], bytes],
    ) -> list[bytes]:
        schemas = [_arrow_schema(frame) for frame in (left, right)]

        def of_part(first: pa.Table, second: pa.Table) -> pa.Table:
            return pa.Table.from_batches([_results([apply(*map(_rows_of_part, (first, second), schemas))])])

        sides = [_grouped(frame, by, parts) for frame in (left, right)]
        with running(self.session, self._listener), _no_pandas_warning():
            made = sides[0].cogroup(sides[1]).applyInArrow(of_part, f"{_RESULT} binary").toArrow()
        results: list[bytes] = made[_RESULT].to_pylist()
        return results

    def map_parts(
        self,
        frames: Sequence[nw.LazyFrame[Any]],
        by: Sequence[str],
        parts: int,
        apply: Callable[..., pa.Table],
        schema: pa.Schema,
    ) -> nw.LazyFrame[Any]:
        from pyspark.sql.pandas.types import to_arrow_schema

        schemas = [_arrow_schema(frame) for frame in frames]
        kinds = _spark_schema(schema)
        form = to_arrow_schema(kinds, timezone="UTC")  # Spark compares also the names of items of lists

        def of_part(*sides: pa.Table) -> pa.Table:
            made = apply(*map(_rows_of_part, sides, schemas))
            return made.select(schema.names).cast(form)

        def of_one(rows: pa.Table) -> pa.Table:  # Spark looks at the number of arguments
            return of_part(rows)

        def of_two(left: pa.Table, right: pa.Table) -> pa.Table:
            return of_part(left, right)

        grouped = [_grouped(frame, by, parts) for frame in frames]
        with _no_pandas_warning():
            made = (
                grouped[0].applyInArrow(of_one, kinds)
                if len(grouped) == 1
                else grouped[0].cogroup(grouped[1]).applyInArrow(of_two, kinds)
            )
        return nw.from_native(made)  # type: ignore[no-any-return]

    def batches(self, frame: nw.LazyFrame[Any]) -> Iterator[pa.Table]:
        def as_bytes(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for rows in _tables(batches, _BATCH_ROWS):
                sink = pa.BufferOutputStream()
                with pa.ipc.new_stream(sink, rows.schema) as writer:
                    writer.write_table(rows)
                yield _results([sink.getvalue().to_pybytes()])

        with running(self.session, self._listener), _no_pandas_warning():
            found = frame.to_native().mapInArrow(as_bytes, f"{_RESULT} binary").toLocalIterator()
            for row in found:
                yield pa.ipc.open_stream(row[_RESULT]).read_all()


def _grouped(frame: nw.LazyFrame[Any], by: Sequence[str], parts: int) -> Any:
    """The rows by part, under attributes of their own: Spark confuses those of two frames made from one."""
    from pyspark.sql import functions

    found = frame.to_native()
    names = [functions.col(f"`{name}`").alias(name) for name in found.columns]
    return found.select(*names, _part_of(by, parts).alias(_PART)).groupBy(_PART)


def _rows_of_part(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows of one side of a part; Spark leaves out the columns of a side without rows."""
    return plain_rows(rows.drop_columns([_PART])) if rows.num_columns else empty_table(schema)


def _part_of(by: Sequence[str], parts: int) -> Any:
    """The number of the part of each row, from 0, as a Spark column."""
    from pyspark.sql import functions

    return functions.pmod(functions.xxhash64(*(functions.col(f"`{name}`") for name in by)), functions.lit(parts))


@contextmanager
def _no_pandas_warning() -> Iterator[None]:
    """PySpark 4.2 warns about its own use of pandas 3, also for Arrow tables."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _tables(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Batches as tables of `rows` rows, and a last one of fewer."""
    waiting: list[pa.RecordBatch] = []
    n_waiting = 0
    for batch in batches:
        start = 0
        while n_waiting + batch.num_rows - start >= rows:
            waiting.append(batch.slice(start, rows - n_waiting))
            yield plain_rows(pa.Table.from_batches(waiting))
            start += waiting[-1].num_rows
            waiting, n_waiting = [], 0
        if start < batch.num_rows:
            waiting.append(batch.slice(start))
            n_waiting += batch.num_rows - start
    if waiting:
        yield plain_rows(pa.Table.from_batches(waiting))


def _results(found: Iterable[bytes]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({_RESULT: pa.array(found, pa.binary())})


def _check_decoded(found: Sequence[str], given: Sequence[str]) -> None:
    """Raise `SourceError` unless decoding Spark's names of the files, as `_DECODED` does, gives the paths."""
    strange = {re.sub("^file:/+", "/", unquote(name)) for name in found} ^ set(given)
    if strange:
        raise SourceError(f"Spark has another name for {len(strange)} files, for example {min(strange)}")


def _literal(path: str) -> str:
    """Escape a path for Hadoop, which would treat brackets and asterisks as a glob pattern."""
    return re.sub(r"([\\{}\[\]*?])", r"\\\1", path)


def _spark_schema(schema: pa.Schema) -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(plain_schema(schema))


def _arrow_schema(frame: nw.LazyFrame[Any]) -> pa.Schema:
    from pyspark.sql.pandas.types import to_arrow_schema

    return plain_schema(to_arrow_schema(frame.to_native().schema, timezone="UTC"))


def _start(url: str, conf: Mapping[str, str]) -> SparkSession:
    try:
        from pyspark.sql import SparkSession
    except ModuleNotFoundError as error:
        raise BackendMissing("the engine `spark` needs PySpark", tip="pip install 'tidemill[spark]'") from error
    connect = url.startswith("sc://")
    if not connect and url.startswith("local") and shutil.which("java") is None:
        raise BackendMissing("local Spark needs Java 17 or later, but there is no `java` on the path")
    active = SparkSession.getActiveSession()
    if active is not None:
        return _in_utc(_of_master(active, url, connect=connect))
    builder = SparkSession.builder.appName("tidemill")
    builder = builder.remote(url) if connect else builder.master(url)
    settings = _SETTINGS if connect else _SETTINGS | _DRIVER_SETTINGS
    if url.startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # where `tidemill` is; else it would be `python3`
        settings = settings | _LOCAL_SETTINGS | _local_folders()
    for key, value in {**settings, **conf}.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    if not connect:
        session.sparkContext.setLogLevel("ERROR")
    return _in_utc(session)


def _local_folders() -> dict[str, str]:
    # Otherwise Spark creates a warehouse folder in the current directory.
    folder = tempfile.mkdtemp(prefix="tidemill-spark-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return {"spark.sql.warehouse.dir": folder, "spark.checkpoint.dir": f"{folder}/checkpoints"}


def _of_master(session: SparkSession, url: str, *, connect: bool) -> SparkSession:
    """A session that runs already, unless it is one of another master."""
    if url.startswith("local"):
        return session
    remote = type(session).__module__.startswith("pyspark.sql.connect")
    master = "Spark Connect" if remote else session.sparkContext.master
    if remote != connect or not (remote or master == url):
        raise SettingError(
            f"a Spark session of {master} runs in this process, and the engine is {url}", tip="stop that session first"
        )
    return session


def _in_utc(session: SparkSession) -> SparkSession:
    zone = session.conf.get("spark.sql.session.timeZone")
    if zone not in ("UTC", "Etc/UTC", "Z", "+00:00"):
        raise SettingError(
            f"the running Spark session has the time zone {zone}, which would change the days of a stream",
            tip="set spark.sql.session.timeZone to UTC, or stop that session",
        )
    return session
