"""Table draft: one table within a publication draft, with its initial, added and removed files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from tidemill.core.empty_tables import empty_table
from tidemill.core.ports import Engine, FileStager, PersistedFrame, StagedFile, Tables
from tidemill.core.records.ingest import FileEntry
from tidemill.core.storage.failpoint import failpoint
from tidemill.lake.compaction import files_to_compact
from tidemill.lake.deduplicate import winning_rows
from tidemill.lake.draft_changes import StagedChange
from tidemill.lake.manifest import TableManifest
from tidemill.lake.part_exchange import (
    MEMORY_ROWS,
    ORIGIN,
    ExchangeRows,
    PartChange,
    RewriteFiles,
    exact_columns,
    fit_in_memory,
    merge_changes,
    number_of_parts,
    rows_by_file,
    with_file_names,
)
from tidemill.lake.row_equality import Mask, conform_schema

#: Rows per staging step.
SLICE_ROWS = 131_072


#: The smallest and the largest value of a column: a number, microseconds or days.
ValueRange: TypeAlias = tuple[int | float, int | float]
#: The rows of keys that a scan is limited to.
Keys: TypeAlias = pa.Table | nw.LazyFrame[Any]


class TableDraft:
    """A table as of the future publication `number`. Staged files are on disk, but in no version yet."""

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
        """The files of the next version."""
        return [file for path, file in self._base.items() if path not in self._dropped] + list(self._staged.values())

    @property
    def added(self) -> list[StagedFile]:
        """The files that the next version adds."""
        return list(self._staged.values())

    @property
    def removed(self) -> list[str]:
        """The files of the base version that the next version removes."""
        return sorted(self._dropped)

    @property
    def changed(self) -> bool:
        """Whether a new version is needed."""
        return bool(self.is_new or self.is_reshaped or self._staged or self._dropped)

    @property
    def rows(self) -> int:
        """The number of rows of the next version."""
        return sum(file.entry.rows for file in self.files)

    def scan(
        self, keys: Keys | None = None, origin: str | None = None, within: Mapping[str, ValueRange] = {}
    ) -> tuple[nw.LazyFrame[Any], int]:
        """The table as of the next version, and the number of rows of the scanned files.

        With `keys`: only rows with matching key columns (semi-join), from the files that may contain them; of keys in a
        frame, all values of a column are `within` its range.
        """
        files = [file for file in self.files if may_overlap(file, within)]
        if isinstance(keys, pa.Table):
            files = [file for file in files if may_hold(file, keys)]
        return self._scan(files, keys, origin), sum(file.entry.rows for file in files)

    def _scan(self, files: Sequence[StagedFile], keys: Keys | None, origin: str | None) -> nw.LazyFrame[Any]:
        if keys is not None and files:
            return self._joined(files, keys, "semi", origin)
        return self._engine.scan([self._path(file.entry) for file in files], self.schema, origin)

    def _joined(
        self, files: Sequence[StagedFile], keys: Keys, how: Literal["semi", "anti"], origin: str | None
    ) -> nw.LazyFrame[Any]:
        frame = self._engine.frame(keys) if isinstance(keys, pa.Table) else keys
        return self._scan(files, None, origin).join(frame, on=frame.collect_schema().names(), how=how)

    def _path(self, entry: FileEntry) -> str:
        """The path of a file. Its old hash is verified first, because its rows may be rewritten under a new hash."""
        if entry.path in self._staged:
            return self._tables.locate(self.name, entry.path)
        return self._believe(self.name, entry)

    def pull(self, keys: Keys | None) -> tuple[pa.Table, int]:
        """The rows with these keys (or all rows), each with its file in `ORIGIN`, and the number of rows read."""
        if isinstance(keys, pa.Table) and not keys.num_rows:
            return self._empty(), 0
        frame, n_read = self.scan(keys, ORIGIN)
        if not n_read:
            return self._empty(), 0
        return with_file_names(self._engine.collect(frame), self.schema, self.name), n_read

    def pull_few(self, keys: Keys | None) -> tuple[pa.Table, int] | None:
        """The result of `pull`; `None` if it has too many rows for memory."""
        frame, n_read = self.scan(keys)
        if not fit_in_memory(n_read) and (keys is None or not fit_in_memory(count_rows(self._engine, frame))):
            return None
        return self.pull(keys)

    def _empty(self) -> pa.Table:
        return empty_table(self.schema.append(pa.field(ORIGIN, pa.string())))

    def add(self, rows: pa.Table, wins: Mask | None = None) -> None:
        """Stage rows; with the mask `wins`, only these.

        Many rows are staged in slices: allocating memory for a full copy costs as much as writing it.
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

    def exchange(self, old: pa.Table, gone: Mask, new: pa.Table, keys: Keys | None, wins: Mask | None = None) -> int:
        """Remove the `gone` rows of `old`, add `new` (its `wins`), and rewrite only the files with removed rows.

        `old` is the result of `pull(keys)`. Returns the number of rows read from rewritten files.
        """
        removed = old.filter(pa.array(gone))
        origins = removed[ORIGIN].unique().to_pylist()
        if not origins:
            self.add(new, wins)
            return 0
        files = [file for file in self.files if file.entry.path in set(origins)]
        n_rows = sum(file.entry.rows for file in files)
        if not fit_in_memory(n_rows):
            stager = self.stager()
            self._rewrite_without(PartChange([], stager.stage(removed), rows_by_file(removed)))
            self.add(new, wins)
            return n_rows
        staying = old.filter(pc.and_(pc.is_in(old[ORIGIN], pa.array(origins)), pa.array(~gone))).drop_columns([ORIGIN])
        rest, n_read = [staying], 0
        if keys is not None:
            rest.append(self._others(files, keys))
            n_read = n_rows
        self.drop(origins)
        self.add(pa.concat_tables([*rest, new if wins is None else winning_rows(new, wins)]))
        return n_read

    def _others(self, files: Sequence[StagedFile], keys: Keys) -> pa.Table:
        return conform_schema(self._engine.collect(self._joined(files, keys, "anti", None)), self.schema, self.name)

    def exchange_in_parts(self, new: PersistedFrame, keys: Keys | None) -> PartChange:
        """Replace the rows with these keys (or all rows) by `new`; equal rows stay. The engine compares and writes."""
        stager = self.stager()
        old, n_read = self.scan(keys, ORIGIN)
        if not n_read:
            change = PartChange(self._engine.stage(new.frame, stager))
        else:
            n_old = n_read if keys is None else count_rows(self._engine, old)
            exchange, parts = ExchangeRows(self.name, self.schema, stager), number_of_parts(n_old + new.rows)
            by = exact_columns(self.schema)
            change = merge_changes(self._engine.cogroup(old, new.frame, by, parts, exchange))
        failpoint("publish.staged")
        self.change(change)
        return change

    def change(self, change: PartChange) -> None:
        """Add the files of a change, and remove its rows."""
        self._rewrite_without(change)
        self.take(change.added)

    def _rewrite_without(self, change: PartChange) -> None:
        """Write the files that have lost some of their rows again, and drop those that have lost all."""
        some = [file for file in self.files if 0 < change.gone.get(file.entry.path, 0) < file.entry.rows]
        rest: list[StagedFile] = []
        if some:
            rewrite = RewriteFiles(self.name, self.schema, self.stager())
            rows, removed = self._scan(some, None, ORIGIN), self.scan_staged(change.removed, origins=True)
            names = pa.table({ORIGIN: [file.entry.path for file in some]})
            removed = removed.join(self._engine.frame(names), on=ORIGIN, how="semi")
            parts = number_of_parts(sum(file.entry.rows for file in some))
            by = exact_columns(self.schema)
            rest = merge_changes(self._engine.cogroup(rows, removed, by, parts, rewrite)).added
            failpoint("publish.staged")
        self.drop(list(change.gone))
        self.take(rest)

    def take(self, files: Sequence[StagedFile]) -> None:
        """Add staged files to the next version."""
        self._staged.update((file.entry.path, file) for file in files)

    def stager(self) -> FileStager:
        """A stager of files for the next version."""
        return self._tables.stager(self.name, self.number)

    def scan_staged(self, files: Sequence[StagedFile], *, origins: bool = False) -> nw.LazyFrame[Any]:
        """The rows of staged files; of removed rows with their `origins`."""
        schema = self.schema.append(pa.field(ORIGIN, pa.string())) if origins else self.schema
        frame = self._engine.scan([self._tables.locate(self.name, file.entry.path) for file in files], schema)
        return frame.select(*schema.names)

    def staged_change(self, change: PartChange) -> StagedChange:
        """The rows of a change, to be read before the publication."""
        files = [*change.added, *change.removed]
        frames = [self.scan_staged(change.added)]
        if change.removed:
            frames.append(self.scan_staged(change.removed))
        return StagedChange(sum(file.entry.rows for file in files), nw.concat(frames))

    def drop(self, paths: Sequence[str]) -> None:
        """Remove files from the next version, including files that were staged in this draft."""
        for path in paths:
            if self._staged.pop(path, None) is None:
                self._dropped.add(path)

    def reshape(self, rows: pa.Table) -> None:
        """Replace the schema and all rows."""
        self.restart(rows.schema)
        self.add(rows)

    def restart(self, schema: pa.Schema) -> None:
        """Remove all rows, and have these columns from now on."""
        self.drop([file.entry.path for file in self.files])
        self.schema, self.is_reshaped = schema, True

    def widen(self, schema: pa.Schema) -> None:
        """Add columns: rewrite the files one by one, with nulls in the new columns."""
        files, self.schema, self.is_reshaped = self.files, schema, True
        for file in files:
            rows = self._read(file.entry)
            self.drop([file.entry.path])
            self.add(conform_schema(rows, schema, self.name, fill=True))

    def compact(self, most_rows: int = MEMORY_ROWS) -> None:
        """Merge small files if there are many, which bounds the number of files and the cost per publication. At most
        about `most_rows` rows are merged, in memory.
        """
        chosen = files_to_compact([(file.entry.path, file.entry.rows) for file in self.files], most_rows)
        if chosen:
            entries = {file.entry.path: file.entry for file in self.files}
            parts = [self._read(entries[path]) for path in chosen]
            self.drop(chosen)
            self.add(conform_schema(pa.concat_tables(parts), self.schema, self.name))

    def _read(self, entry: FileEntry) -> pa.Table:
        self._path(entry)
        return self._tables.read(self.name, entry.path)


def count_rows(engine: Engine, frame: nw.LazyFrame[Any]) -> int:
    """The number of rows of a frame."""
    found: int = engine.collect(frame.select(n=nw.len()))["n"][0].as_py()
    return found


def may_hold(file: StagedFile, keys: pa.Table) -> bool:
    """Whether a file may contain any of the keys, according to the ranges of the key columns that have statistics."""
    for column in keys.column_names:
        if column in file.ranges:
            low, high = file.ranges[column]
            values = as_numbers(keys[column])
            if not np.any((values >= low) & (values <= high)):
                return False
    return True


def may_overlap(file: StagedFile, within: Mapping[str, ValueRange]) -> bool:
    """Whether a file may contain values within a range of each of these columns."""
    ranges = [(file.ranges[column], asked) for column, asked in within.items() if column in file.ranges]
    return all(low <= most and least <= high for (low, high), (least, most) in ranges)


def as_numbers(values: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """The values that are not missing, in the numbers of `StagedFile.ranges`."""
    values = values.drop_null()
    if types.is_timestamp(values.type):
        values = values.cast(pa.int64())
    elif types.is_date32(values.type):
        values = values.cast(pa.int32())
    found: np.ndarray[Any, Any] = values.to_numpy()
    return found
