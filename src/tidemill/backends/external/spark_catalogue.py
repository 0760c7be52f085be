"""Table of Spark's catalogue, such as Hive's, pinned by a fingerprint of the files that Spark reads for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import narwhals as nw

from tidemill.backends.external.foreign_files import columns_of, version_gone
from tidemill.core.backend import BackendContext, split_scheme
from tidemill.core.errors import ExternalMissing, ExternalRefused
from tidemill.core.ports import Engine
from tidemill.core.records.external_pin import ExternalPin, table_type

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Providers whose tables are nothing but their files; a table of Hive's own is checked by its columns of metadata.
_OF_FILES = {"parquet", "orc", "csv", "json", "hive"}
_MODIFIED = "unix_millis(_metadata.file_modification_time)"


class ExternalSparkTable:
    """The table at `spark:DATABASE.TABLE`, in the catalogue of the engine's session. Only Spark reads it.

    Files that are added later do not belong to a pinned version. Tables of Delta Lake, Iceberg and
    other systems, and those that Spark reads through Hive (text), are refused.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> ExternalSparkTable:
        """The table; no session starts yet."""
        return cls(split_scheme(url)[1])

    def pin(self, engine: Engine, columns: Sequence[str] = ()) -> ExternalPin:
        from pyspark.sql.pandas.types import to_arrow_schema

        frame = self._table(engine)
        found = columns_of(to_arrow_schema(frame.schema, timezone="UTC"), columns)
        listed = self._listed(frame)
        sha256 = _fingerprint(listed)
        newest = max((modified for _, _, modified in listed), default=0)
        return ExternalPin(
            kind="spark",
            place=f"spark:{self._name}",
            says=f"{len(listed)} file{'s' * (len(listed) != 1)} with fingerprint {sha256[:12]}",
            version={"sha256": sha256, "newest_ms": str(newest)},
            columns=found,
        )

    def check(self, engine: Engine, pin: ExternalPin) -> None:
        self._pinned(engine, pin)

    def frame(self, engine: Engine, pin: ExternalPin) -> nw.LazyFrame[Any]:
        from pyspark.sql import functions
        from pyspark.sql.pandas.types import from_arrow_type

        frame = self._pinned(engine, pin)
        columns = [
            functions.col(f"`{name}`").cast(from_arrow_type(table_type(kind))).alias(name)
            for name, kind in pin.columns.items()
        ]
        made: nw.LazyFrame[Any] = nw.from_native(frame.select(*columns))
        return made

    def _pinned(self, engine: Engine, pin: ExternalPin) -> DataFrame:
        """The rows of the files of the pinned version, which are those that are not newer than its newest one."""
        try:
            frame = self._table(engine)
        except ExternalMissing as error:
            raise version_gone(pin, f"Spark's catalogue has no table {self._name}") from error
        frame = frame.where(f"{_MODIFIED} <= {pin.version['newest_ms']}")
        if _fingerprint(self._listed(frame)) != pin.version["sha256"]:
            raise version_gone(pin, "its files were deleted or replaced")
        return frame

    def _table(self, engine: Engine) -> DataFrame:
        if engine.name != "spark":
            raise ExternalRefused(
                f"is a table of Spark's catalogue, which the engine {engine.name} cannot read",
                tip='set engine = "spark", or name its files: `parquet:PATH`, `delta:PATH`, `iceberg:CATALOGUE/NAME`',
            )
        session: Any = engine.session  # type: ignore[attr-defined]  # the engine is Spark's
        with self._missing():
            described = session.sql(f"DESCRIBE EXTENDED {self._name}").collect()
            provider = next((row.data_type.lower() for row in described if row.col_name == "Provider"), "")
            if provider not in _OF_FILES:
                raise ExternalRefused(
                    f"is a table of {provider or 'no format'}, which `spark:` does not pin",
                    tip="write `delta:PATH` or `iceberg:CATALOGUE/NAME` for tables of these formats",
                )
            session.catalog.refreshTable(self._name)
            found: DataFrame = session.table(self._name)
        return found

    def _listed(self, frame: DataFrame) -> list[tuple[str, int, int]]:
        """Path, size and time of modification of each file that has rows."""
        from pyspark.errors import AnalysisException

        try:
            files = frame.selectExpr("_metadata.file_path", "_metadata.file_size", _MODIFIED)
        except AnalysisException as error:
            raise ExternalRefused(
                "is read by Spark through Hive, which does not say from which files",
                tip="store it as Parquet or ORC, or read a copy",
            ) from error
        return sorted((str(path), int(size), int(at)) for path, size, at in files.distinct().collect())

    @contextmanager
    def _missing(self) -> Iterator[None]:
        from pyspark.errors import AnalysisException

        try:
            yield
        except AnalysisException as error:
            raise ExternalMissing(f"is not in Spark's catalogue: {self._name}") from error


def _fingerprint(listed: Sequence[tuple[str, int, int]]) -> str:
    text = "".join(f"{path}\t{size}\t{modified}\n" for path, size, modified in listed)
    return hashlib.sha256(text.encode()).hexdigest()
