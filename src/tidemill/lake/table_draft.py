"""Table draft: one table within a publication draft, with its initial files, files added and files removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from tidemill.core.empty_tables import empty_table
from tidemill.core.ports import Engine, StagedFile, Tables
from tidemill.core.records.ingest import FileEntry
from tidemill.core.storage.failpoint import failpoint
from tidemill.lake.compaction import files_to_compact
from tidemill.lake.deduplicate import winning_rows
from tidemill.lake.manifest import TableManifest
from tidemill.lake.row_equality import Mask, conform_schema

#: The column that says which file a row lies in.
ORIGIN = "_origin"
#: Rows that are staged at a time.
SLICE_ROWS = 131_072


class TableDraft:
    """A table as it will be after the publication `number`. Staged files are on disk; no version names them."""

    def __init__(
        self,
        tables: Tables,
        engine: Engine,
        name: str,
        number: int,
        base: TableManifest | None,
        schema: pa.Schema,
        believe: Callable[[str, FileEntry], str],
    ) -> None:
        self.name, self.number, self.schema = name, number, schema
        self._tables, self._engine, self._believe = tables, engine, believe
        self._base = {file.entry.path: file for file in (base.files if base else ())}
        self._staged: dict[str, StagedFile] = {}
        self._dropped: set[str] = set()
        self.is_new = base is None
        self.is_reshaped = False

    @property
    def files(self) -> list[StagedFile]:
        """The files of the table as it will be."""
        return [file for path, file in self._base.items() if path not in self._dropped] + list(self._staged.values())

    @property
    def added(self) -> list[StagedFile]:
        """Files that the coming version names for the first time."""
        return list(self._staged.values())

    @property
    def removed(self) -> list[str]:
        """Files of the base version that the coming one drops."""
        return sorted(self._dropped)

    @property
    def changed(self) -> bool:
        """Whether a new version is needed."""
        return bool(self.is_new or self.is_reshaped or self._staged or self._dropped)

    @property
    def rows(self) -> int:
        """How many rows the table will have."""
        return sum(file.entry.rows for file in self.files)

    def scan(self, keys: pa.Table | None = None, origin: str | None = None) -> tuple[nw.LazyFrame[Any], int]:
        """The table as it will be, and how many rows its files hold.

        With `keys`: only rows whose values in its columns occur there, from those files alone that may hold them.
        """
        files = self.files if keys is None else [file for file in self.files if may_hold(file, keys)]
        return self._scan(files, keys, origin), sum(file.entry.rows for file in files)

    def _scan(self, files: Sequence[StagedFile], keys: pa.Table | None, origin: str | None) -> nw.LazyFrame[Any]:
        paths = [self._path(file.entry) for file in files]
        frame = self._engine.scan(paths, self.schema, origin)
        if keys is None:
            return frame
        return frame.join(self._engine.frame(keys), on=keys.column_names, how="semi")

    def _path(self, entry: FileEntry) -> str:
        """Where a file lies; what is read is written again under a new hash, so its old one is looked at first."""
        if entry.path in self._staged:
            return self._tables.locate(self.name, entry.path)
        return self._believe(self.name, entry)

    def pull(self, keys: pa.Table | None) -> tuple[pa.Table, int]:
        """The rows with these keys (all without), each with the file it lies in, and how many rows were looked at."""
        if keys is not None and not keys.num_rows:
            return self._empty(), 0
        frame, looked_at = self.scan(keys, ORIGIN)
        if not looked_at:
            return self._empty(), 0
        found = self._engine.collect(frame)
        return conform_schema(found.drop_columns([ORIGIN]), self.schema, self.name).append_column(
            ORIGIN, _file_names(found[ORIGIN])
        ), looked_at

    def _empty(self) -> pa.Table:
        return empty_table(self.schema.append(pa.field(ORIGIN, pa.string())))

    def add(self, rows: pa.Table, wins: Mask | None = None) -> None:
        """Stage rows; with `wins`, those alone.

        Many are staged slice by slice: fresh memory for a copy of everything costs as much as writing it.
        """
        wins = np.ones(rows.num_rows, np.bool_) if wins is None else wins
        at_once = SLICE_ROWS if 2 * wins.sum() > len(wins) else max(1, len(wins))
        for start in range(0, rows.num_rows, at_once):
            self._stage(winning_rows(rows.slice(start, at_once), wins[start : start + at_once]))

    def _stage(self, rows: pa.Table) -> None:
        if rows.num_rows:
            for file in self._tables.stage(self.name, self.number, rows):
                self._staged[file.entry.path] = file
            failpoint("publish.staged")

    def exchange(
        self, old: pa.Table, gone: Mask, new: pa.Table, keys: pa.Table | None, wins: Mask | None = None
    ) -> int:
        """Take the `gone` rows of `old` out, put `new` (its `wins`) in, and rewrite only the files that held them.

        `old` is what `pull(keys)` gave. Returns how many rows of rewritten files had to be read.
        """
        origins = old[ORIGIN].filter(pa.array(gone)).unique().to_pylist()
        if not origins:
            self.add(new, wins)
            return 0
        files = [file for file in self.files if file.entry.path in set(origins)]
        staying = old.filter(pc.and_(pc.is_in(old[ORIGIN], pa.array(origins)), pa.array(~gone))).drop_columns([ORIGIN])
        rest, looked_at = [staying], 0
        if keys is not None:
            rest.append(self._others(files, keys))
            looked_at = sum(file.entry.rows for file in files)
        self.drop(origins)
        self.add(pa.concat_tables([*rest, new if wins is None else winning_rows(new, wins)]))
        return looked_at

    def _others(self, files: Sequence[StagedFile], keys: pa.Table) -> pa.Table:
        frame = self._scan(files, None, None)
        frame = frame.join(self._engine.frame(keys), on=keys.column_names, how="anti")
        return conform_schema(self._engine.collect(frame), self.schema, self.name)

    def drop(self, paths: Sequence[str]) -> None:
        """Leave files out of the coming version; one that was staged in this draft simply goes."""
        for path in paths:
            if self._staged.pop(path, None) is None:
                self._dropped.add(path)

    def reshape(self, rows: pa.Table) -> None:
        """Other columns, and other rows altogether."""
        self.drop([file.entry.path for file in self.files])
        self.schema, self.is_reshaped = rows.schema, True
        self.add(rows)

    def widen(self, schema: pa.Schema) -> None:
        """More columns: each file is written again, one at a time, with nulls in the new ones."""
        files, self.schema, self.is_reshaped = self.files, schema, True
        for file in files:
            rows = self._read(file.entry)
            self.drop([file.entry.path])
            self.add(conform_schema(rows, schema, self.name, fill=True))

    def compact(self) -> None:
        """Merge small files where there are many: what one publication does stays bounded, and so do files and time."""
        chosen = files_to_compact([(file.entry.path, file.entry.rows) for file in self.files])
        if chosen:
            entries = {file.entry.path: file.entry for file in self.files}
            parts = [self._read(entries[path]) for path in chosen]
            self.drop(chosen)
            self.add(conform_schema(pa.concat_tables(parts), self.schema, self.name))

    def _read(self, entry: FileEntry) -> pa.Table:
        self._path(entry)
        return self._tables.read(self.name, entry.path)


def may_hold(file: StagedFile, keys: pa.Table) -> bool:
    """Whether a file can hold any of the keys, by the ranges of those key columns that have them."""
    for column in keys.column_names:
        if column in file.ranges:
            low, high = file.ranges[column]
            values = _as_numbers(keys[column])
            if not np.any((values >= low) & (values <= high)):
                return False
    return True


def _as_numbers(values: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    values = values.drop_null()
    if types.is_timestamp(values.type):
        values = values.cast(pa.int64())
    elif types.is_date32(values.type):
        values = values.cast(pa.int32())
    found: np.ndarray[Any, Any] = values.to_numpy()
    return found


def _file_names(paths: pa.ChunkedArray) -> pa.ChunkedArray:
    """The last part of each path: engines give the paths of files with a scheme or without."""
    return pc.replace_substring_regex(paths, r"^.*/", "")
