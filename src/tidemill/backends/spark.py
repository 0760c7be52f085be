"""Spark engine: runs the same table functions on a cluster, or on local Spark for tests.

A session whose time zone is not UTC is rejected: in New York, the date of a UTC midnight is the day before.
"""

from __future__ import annotations

import atexit
import re
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import narwhals as nw
import pyarrow as pa

from tidemill.backends.arrow_form import plain_rows, plain_schema
from tidemill.core.backend import BackendContext
from tidemill.core.empty_tables import empty_table
from tidemill.core.errors import BackendMissing, SettingError

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


class SparkEngine:
    """Evaluates Narwhals frames on Spark. `url` is `local[2]`, a master such as `spark://HOST:PORT` or `k8s://HOST:PORT`,
    or `sc://HOST` for Spark Connect; `conf` are Spark properties of its session.

    The session starts with the first frame. Files must be accessible to every executor under the same path. Raises
    `BackendMissing` without PySpark or Java, and `SettingError` for a property that would change rows, or if a session
    that runs already is not in UTC or has another master.
    """

    name = "spark"

    def __init__(self, url: str = "local[2]", conf: Mapping[str, str] | None = None) -> None:
        self.url, self.conf = url, dict(conf or {})
        for name in self.conf:
            if not name.startswith("spark."):
                tip = "for example spark.executor.memory=4g"
                raise SettingError(f"the engine's option {name!r} is not a property of Spark", tip=tip)
            if name in _SETTINGS and self.conf[name] != _SETTINGS[name]:
                raise SettingError(f"the engine needs {name}={_SETTINGS[name]}", tip=f"leave {name} out")
        self._started: SparkSession | None = None

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

    def scan(self, files: Sequence[str], schema: pa.Schema, origin: str | None = None) -> nw.LazyFrame[Any]:
        if not files:
            return self.frame(empty_table(schema.append(pa.field(origin, pa.string())) if origin else schema))
        from pyspark.sql import functions as sql

        frame = self.session.read.schema(_spark_schema(schema)).parquet(*map(_literal, files))
        if origin:
            frame = frame.withColumn(origin, sql.col("_metadata.file_path"))
        return nw.from_native(frame)

    def frame(self, rows: pa.Table) -> nw.LazyFrame[Any]:
        rows = plain_rows(rows)
        with warnings.catch_warnings():
            # PySpark 4.2 warns about its own use of pandas, also for an Arrow table.
            warnings.simplefilter("ignore", FutureWarning)
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
        return plain_rows(frame.to_native().toArrow())


def _literal(path: str) -> str:
    """Escape a path for Hadoop, which would treat brackets and asterisks as a glob pattern."""
    return re.sub(r"([\\{}\[\]*?])", r"\\\1", path)


def _spark_schema(schema: pa.Schema) -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(plain_schema(schema))


def _start(url: str, conf: Mapping[str, str]) -> SparkSession:
    try:
        from pyspark.sql import SparkSession
    except ModuleNotFoundError as error:
        raise BackendMissing("the engine `spark` needs PySpark", tip="pip install 'tidemill[spark]'") from error
    connect = url.startswith("sc://")
    if not connect and url.startswith("local") and shutil.which("java") is None:
        raise BackendMissing("local Spark needs Java 17 or later, but there is no `java` on the path")
    running = SparkSession.getActiveSession()
    if running is not None:
        return _in_utc(_of_master(running, url, connect=connect))
    builder = SparkSession.builder.appName("tidemill")
    builder = builder.remote(url) if connect else builder.master(url)
    settings = _SETTINGS if connect else _SETTINGS | _DRIVER_SETTINGS
    if url.startswith("local"):
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
    return {"spark.sql.warehouse.dir": folder}


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
