"""Iceberg table of a catalogue, pinned by snapshot, read by the files that the snapshot lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import narwhals as nw
import pyarrow as pa

from tidemill.backends.external.foreign_files import (
    ForeignFile,
    check_present,
    columns_of,
    frame_over,
    version_gone,
)
from tidemill.core.backend import BackendContext, split_scheme
from tidemill.core.errors import BackendMissing, ExternalMissing, ExternalRefused, SettingError
from tidemill.core.ports import Engine
from tidemill.core.records.external_pin import ExternalPin
from tidemill.core.redaction import redact

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

#: The snapshot of a table that never had rows.
_NONE = "none"


class ExternalIceberg:
    """The Iceberg table at `iceberg:CATALOGUE/NAMESPACE.TABLE`, in a catalogue of PyIceberg's configuration.

    Properties of the catalogue may follow: `?type=sql&uri=sqlite:///…`. Deletes of rows beside the files
    (merge-on-read), renamed columns and files other than Parquet are refused.
    """

    def __init__(self, catalogue: str, name: str, properties: dict[str, str], shown: str) -> None:
        self._catalogue, self._name, self._properties, self._shown = catalogue, name, properties, shown

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> ExternalIceberg:
        """The table; its catalogue is not asked yet."""
        place, _, options = split_scheme(url)[1].partition("?")
        catalogue, _, name = place.partition("/")
        if "." not in name:
            raise SettingError(f"has the place {place!r}", tip="write `iceberg:CATALOGUE/NAMESPACE.TABLE`")
        return cls(catalogue, name, dict(parse_qsl(options)), redact(url, whole=True))

    def pin(self, engine: Engine, columns: Sequence[str] = ()) -> ExternalPin:
        table = self._load()
        snapshot = table.current_snapshot()
        schema = table.schema()
        found = columns_of(_plain_schema(schema), columns)
        _refuse_renamed(table, schema, found)
        number = str(snapshot.snapshot_id) if snapshot else _NONE
        version = {"table": str(table.metadata.table_uuid), "snapshot": number, "schema": str(schema.schema_id)}
        return ExternalPin(
            kind="iceberg",
            place=self._shown,
            says=f"snapshot {number}" if snapshot else "no snapshot",
            version=version,
            columns=found,
        )

    def check(self, engine: Engine, pin: ExternalPin) -> None:
        table = self._at(pin)
        check_present(_files(table, pin)[0], pin)

    def frame(self, engine: Engine, pin: ExternalPin) -> nw.LazyFrame[Any]:
        table = self._at(pin)
        files, partitions = _files(table, pin)
        check_present(files, pin)
        return frame_over(engine, files, pin, partitions)

    def _load(self) -> Table:
        try:
            from pyiceberg.catalog import load_catalog
            from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
        except ModuleNotFoundError as missing:
            raise BackendMissing("Iceberg tables need PyIceberg", tip="pip install 'tidemill[iceberg]'") from missing
        try:
            return load_catalog(self._catalogue, **self._properties).load_table(self._name)
        except (NoSuchTableError, NoSuchNamespaceError) as error:
            raise ExternalMissing(f"has no Iceberg table at {self._shown}") from error
        except ValueError as error:  # how PyIceberg says that a catalogue is not configured
            raise SettingError(
                f"has a catalogue {self._catalogue!r} that cannot be opened: {redact(str(error))}",
                tip="describe it in ~/.pyiceberg.yaml, or in variables PYICEBERG_CATALOG__NAME__URI",
            ) from error

    def _at(self, pin: ExternalPin) -> Table:
        """The table, which still has the pinned snapshot."""
        try:
            table = self._load()
        except ExternalMissing as error:
            raise version_gone(pin, f"there is no table at {self._shown}") from error
        if str(table.metadata.table_uuid) != pin.version["table"]:
            raise version_gone(pin, "another table was created in its place")
        number = pin.version["snapshot"]
        if number != _NONE and table.snapshot_by_id(int(number)) is None:
            raise version_gone(pin, "the snapshot has expired")
        _refuse_renamed(table, table.schemas()[int(pin.version["schema"])], pin.columns)
        return table


def _plain_schema(schema: Schema) -> pa.Schema:
    found: pa.Schema = schema.as_arrow()
    return found.remove_metadata()


def _refuse_renamed(table: Table, schema: Schema, columns: Iterable[str]) -> None:
    """Raise `ExternalRefused` for a column that files may have under another name, or as another column."""
    names: dict[int, set[str]] = {}
    numbers: dict[str, set[int]] = {}
    for known in table.schemas().values():
        for field in known.fields:
            names.setdefault(field.field_id, set()).add(field.name)
            numbers.setdefault(field.name, set()).add(field.field_id)
    for name in columns:
        field = schema.find_field(name)
        if len(names[field.field_id]) > 1 or len(numbers[name]) > 1:
            raise ExternalRefused(
                f"has a column {name!r} that was renamed or replaced, so that older files have it under another name",
                tip="ask its owner to rewrite the table, or leave the column out: mill.external(…, columns=[…])",
            )
        if field.initial_default is not None:
            raise ExternalRefused(
                f"has a column {name!r} with a default for older files, which is not read",
                tip="ask its owner to rewrite the table, or leave the column out: mill.external(…, columns=[…])",
            )


def _files(table: Table, pin: ExternalPin) -> tuple[list[ForeignFile], tuple[str, ...]]:
    """The data files of the pinned snapshot, and the columns whose values are those of their partitions."""
    if pin.version["snapshot"] == _NONE:
        return [], ()
    found: list[DataFile] = []
    for task in table.scan(snapshot_id=int(pin.version["snapshot"])).plan_files():
        if task.delete_files:
            raise ExternalRefused(
                "has deletes of rows beside its files (merge-on-read), which are not read",
                tip="ask its owner to compact it (`rewrite_data_files`), or to write it with copy-on-write",
            )
        if task.file.file_format.value != "PARQUET":
            raise ExternalRefused(f"has files of the format {task.file.file_format.value}, and only Parquet is read")
        found.append(task.file)
    values = [_identities(table, file) for file in found]
    shared = set.intersection(*map(set, values)) if values else set()
    paths = [_path(file.file_path) for file in found]
    return [ForeignFile(path, value) for path, value in zip(paths, values, strict=True)], tuple(sorted(shared))


def _identities(table: Table, file: DataFile) -> dict[str, Any]:
    """The values of the columns by which the file's partition is divided unchanged; files need not contain them."""
    spec = table.specs()[file.spec_id]
    names = [
        (place, table.schema().find_column_name(field.source_id))
        for place, field in enumerate(spec.fields)
        if str(field.transform) == "identity"
    ]
    return {name: file.partition[place] for place, name in names if name is not None}


def _path(location: str) -> str:
    return "/" + location.removeprefix("file:").lstrip("/") if location.startswith("file:") else location
