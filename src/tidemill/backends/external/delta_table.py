"""Delta table of another writer, pinned by version (time travel), read by the paths that its log names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import narwhals as nw
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from tidemill.backends.external.foreign_files import (
    ForeignFile,
    check_present,
    columns_of,
    frame_over,
    location_of,
    place_of,
    version_gone,
)
from tidemill.backends.s3.s3_location import SCHEME
from tidemill.core.backend import BackendContext
from tidemill.core.errors import ExternalMissing, ExternalRefused
from tidemill.core.ports import Engine
from tidemill.core.records.external_pin import ExternalPin
from tidemill.core.redaction import redact

#: Features that change nothing for a reader of data files, or that are checked file by file.
_READABLE = {"timestampNtz", "vacuumProtocolCheck", "v2Checkpoint", "deletionVectors", "columnMapping"}
_PARTITION = "partition."


class ExternalDelta:
    """The Delta table at `delta:PATH` or `delta:s3://…`.

    Column mapping, and files with deletion vectors, are refused: their files say other than the table.
    """

    def __init__(self, place: str, shown: str) -> None:
        self._place, self._shown = place, shown

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> ExternalDelta:
        """The table; relative paths start at the project's folder. Nothing is read yet."""
        return cls(place_of(url, context), redact(url, whole=True))

    def pin(self, engine: Engine, columns: Sequence[str] = ()) -> ExternalPin:
        try:
            table = DeltaTable(self._place, storage_options=self._options())
        except TableNotFoundError as error:
            raise ExternalMissing(f"has no Delta table at {self._shown}") from error
        _refuse_features(table)
        version = {"table": str(table.metadata().id), "version": str(table.version())}
        return ExternalPin(
            kind="delta",
            place=self._shown,
            says=f"version {table.version()}",
            version=version,
            columns=columns_of(pa.schema(table.schema().to_arrow()), columns),
        )

    def check(self, engine: Engine, pin: ExternalPin) -> None:
        check_present(self._files(self._at(pin)), pin)

    def frame(self, engine: Engine, pin: ExternalPin) -> nw.LazyFrame[Any]:
        table = self._at(pin)
        files = self._files(table)
        check_present(files, pin)
        return frame_over(engine, files, pin, table.metadata().partition_columns)

    def _options(self) -> dict[str, str] | None:
        return location_of(self._place).delta_options() if self._place.startswith(SCHEME) else None

    def _at(self, pin: ExternalPin) -> DeltaTable:
        """The table at the pinned version."""
        try:
            table = DeltaTable(self._place, int(pin.version["version"]), storage_options=self._options())
        except TableNotFoundError as error:
            raise version_gone(pin, f"there is no Delta table at {self._shown}") from error
        except DeltaError as error:
            raise version_gone(pin, "its log no longer has that version") from error
        if str(table.metadata().id) != pin.version["table"]:
            raise version_gone(pin, "another table was created in its place")
        _refuse_features(table)
        return table

    def _files(self, table: DeltaTable) -> list[ForeignFile]:
        actions = pa.table(table.get_add_actions(flatten=True))
        names = [name for name in actions.column_names if name.startswith(_PARTITION)]
        values = actions.select(names).rename_columns([name.removeprefix(_PARTITION) for name in names]).to_pylist()
        return [
            ForeignFile(self._path(path), value)
            for path, value in zip(actions["path"].to_pylist(), values or [{}] * actions.num_rows, strict=True)
        ]

    def _path(self, logged: str) -> str:
        """The path of a file; in the log it is relative to the table and percent-encoded, or a URL of its own."""
        path = unquote(logged)
        if path.startswith("file:"):
            return "/" + path.removeprefix("file:").lstrip("/")
        return path if "://" in path or path.startswith("/") else f"{self._place.rstrip('/')}/{path}"


def _refuse_features(table: DeltaTable) -> None:
    protocol = table.protocol()
    features = set(protocol.reader_features or ())
    mapped = table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none"
    unknown = sorted(features - _READABLE) + ["columnMapping"] * mapped
    if "deletionVectors" in features and any(batch.num_rows for batch in table.deletion_vectors()):
        unknown.append("deletionVectors")
    if unknown:
        raise ExternalRefused(
            f"uses {' and '.join(unknown)} of the Delta protocol, which are not read",
            tip="ask its owner for a copy without them; deletion vectors go with `REORG TABLE … APPLY (PURGE)`",
        )
