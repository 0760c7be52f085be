"""Snapshot of the lake: all tables as of one publication."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import narwhals as nw
import pyarrow as pa

from tidemill.core.errors import CorruptFile, NotPublished, nearest
from tidemill.core.ports import Engine, StagedFile, Tables
from tidemill.core.records.external_pin import ExternalPin
from tidemill.lake.manifest import Manifests, TableManifest
from tidemill.lake.publications import PublishedVersion


class LakeSnapshot:
    """The tables as of a publication. It is immutable: every read gives the same rows, regardless of later changes."""

    def __init__(self, known: PublishedVersion, tables: Tables, engine: Engine, manifests: Manifests) -> None:
        self._known = known
        self._tables, self._engine, self._manifests = tables, engine, manifests

    @property
    def publication(self) -> int:
        """The number of the publication."""
        return self._known.publication.number

    @property
    def as_of(self) -> int:
        """The data time up to which the tables are complete, in microseconds."""
        return self._known.as_of

    @property
    def versions(self) -> dict[str, int]:
        """Table -> version, for all tables."""
        return dict(self._known.publication.versions)

    @property
    def external(self) -> dict[str, ExternalPin]:
        """External table -> the version that the tables were computed from."""
        return dict(self._known.publication.external)

    def __contains__(self, table: object) -> bool:
        return table in self._known.publication.versions

    def rows(self, table: str) -> int:
        """The number of rows of a table, from its manifest, without reading data."""
        return self._manifest(table).rows

    def schema(self, table: str) -> pa.Schema:
        """The schema of a table."""
        found = self._manifest(table).schema or self._tables.schema(table)
        if found is None:
            raise CorruptFile(f"table `{table}` is published, but its log is missing", tip="tidemill verify")
        return found

    def scan(self, table: str) -> nw.LazyFrame[Any]:
        """A table as a lazy frame of the engine, including the lake's system columns."""
        return self._engine.scan(self.paths(table), self.schema(table))

    def arrow(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        *,
        keys: pa.Table | None = None,
        among: Collection[str] | None = None,
    ) -> pa.Table:
        """A table's rows in memory; with `columns`, only these columns are read.

        `keys` keeps only rows with matching key columns (semi-join); `among` reads only these of the table's `files`.
        """
        frame = self._engine.scan(self.paths(table, among), self.schema(table))
        frame = frame.select(*columns) if columns else frame
        if keys is not None:
            frame = frame.join(self._engine.frame(keys), on=keys.column_names, how="semi")
        return self._engine.collect(frame)

    def data_files(self, table: str) -> tuple[StagedFile, ...]:
        """The table's files with their numbers of rows and the statistics of their columns, without reading data."""
        return self._manifest(table).files

    def file_rows(self, table: str, file: StagedFile, columns: Sequence[str]) -> pa.Table:
        """The rows of one of the `data_files`, after verifying its content. Raises `CorruptFile` if it was changed."""
        self._manifests.verified_path(table, file.entry)
        return self._tables.read(table, file.entry.path, columns).select(columns)

    def files(self, table: str) -> list[str]:
        """The names of the table's files. A file that two versions share has the same rows in both."""
        return [file.entry.path for file in self._manifest(table).files]

    def paths(self, table: str, among: Collection[str] | None = None) -> list[str]:
        """The paths of the table's files, or of those in `among`, after verifying their content.

        Raises `CorruptFile` if a file was changed.
        """
        return [
            self._manifests.verified_path(table, file.entry)
            for file in self._manifest(table).files
            if among is None or file.entry.path in among
        ]

    def _manifest(self, table: str) -> TableManifest:
        publication = self._known.publication
        if table not in publication.versions:
            raise NotPublished(
                f"no table `{table}` in publication {publication.number}", tip=nearest(table, publication.versions)
            )
        return self._manifests.read(table, publication.versions[table], publication.manifests[table])
