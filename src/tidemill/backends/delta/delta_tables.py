"""Versioned tables in Delta Lake format, written with delta-rs: any Delta reader sees the same versions.

Files are written first, with the number of their later commit in the name, and a transaction id makes commits
idempotent. Behaviour of deltalake 1.6 that shaped this: a repeated append through a *path* is accepted twice, a repeat
through an already open *handle* is rejected; a zero-length last log file opens without an error and with rows missing;
logs of versions older than thirty days are deleted unless that is switched off.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from tidemill.backends.arrow_form import plain_schema
from tidemill.backends.delta.data_file import DeltaFileStager, delta_statistics, has_range
from tidemill.backends.delta.delta_log import (
    APP,
    checkpoint_files,
    entry_names,
    is_parquet,
    pointed_version,
    read_commit,
    version_of,
)
from tidemill.core.backend import BackendContext
from tidemill.core.errors import CorruptFile, SchemaChanged, StaleWriter
from tidemill.core.library_errors import refuse_limit, require_error
from tidemill.core.ports import FileStamp, StagedFile, TableCommit
from tidemill.core.records.ingest import FileEntry
from tidemill.core.storage.durable_files import remove_durably, sync_file, sync_folder
from tidemill.core.storage.failpoint import failpoint

_LOG = "_delta_log"
_FOREVER = "interval 36500 days"
#: How long a checkpoint lists removed files.
_TOMBSTONES, _AN_HOUR = "delta.deletedFileRetentionDuration", "interval 1 hour"


@dataclass
class _StagedNames:
    """The names of a table's files with a number of at least `number`, and the folder's time as they were listed."""

    number: int
    mtime_ns: int
    names: set[str]


class DeltaTables:
    """Delta tables in the subfolders of `root`.

    Handles are cached between commits, so that a commit does not read the log. delta-rs rejects a commit through an
    outdated handle, which raises `StaleWriter`.
    """

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)
        self._handles: dict[str, DeltaTable] = {}
        self._schemas: dict[str, pa.Schema] = {}
        self._staged: dict[str, _StagedNames] = {}

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> DeltaTables:
        """Tables in the folder of `url`."""
        return cls(context.path(url))

    def create(self, table: str, schema: pa.Schema, personal: Sequence[str]) -> int:
        schema = plain_schema(schema)
        found = self.schema(table)
        if found is None:
            return self._make(table, schema, personal, "error")
        if found.equals(schema):
            return int(self._handle(table).version())
        if self._handle(table).transaction_version(APP) is not None:
            raise SchemaChanged(f"table `{table}` has the columns {_says(found)}, but {_says(schema)} were requested")
        return self._make(table, schema, personal, "overwrite")

    def schema(self, table: str) -> pa.Schema | None:
        if table not in self._schemas:
            try:
                handle = self._handle(table)
            except TableNotFoundError:
                return None
            self._schemas[table] = plain_schema(pa.schema(handle.schema().to_arrow()))
        return self._schemas[table]

    def stage(self, table: str, number: int, rows: pa.Table) -> list[StagedFile]:
        folder = self._root / table
        found = self._staged_names(table, number)
        staged = self.stager(table, number).stage(rows)
        if staged:
            found.names.update(file.entry.path for file in staged)
            found.mtime_ns = folder.stat().st_mtime_ns
        return staged

    def stager(self, table: str, number: int) -> DeltaFileStager:
        return DeltaFileStager(self._root / table, number, tuple(self._statistics(table)))

    def discard(self, table: str, number: int) -> int:
        if self.schema(table) is None:
            return 0
        found = self._staged_names(table, number).names
        return self._remove_unnamed(table, found, self._named_since(table, number) if found else ())

    def commit(
        self,
        table: str,
        number: int,
        base: int,
        add: Sequence[StagedFile],
        remove: Sequence[str],
        note: Mapping[str, str],
        schema: pa.Schema | None = None,
    ) -> int:
        handle = self._writable(table, base)
        done = handle.transaction_version(APP) or 0
        if done >= number:
            taken = self._commit_of(table, number)
            self._remove_others(table, number, taken.added)
            return taken.version
        if handle.version() != base:
            self._handles.pop(table)
            raise StaleWriter(f"table `{table}` is at version {handle.version()}, but {base} was expected")
        try:
            handle.create_write_transaction(
                # An overwrite removes all existing files and replaces the schema.
                [*self._adds(table, add, schema), *(() if schema else self._removes(table, remove))],
                "overwrite" if schema else "append",
                Schema.from_arrow(schema) if schema else handle.schema(),
                commit_properties=CommitProperties(
                    custom_metadata={APP: json.dumps(dict(note))},
                    app_transactions=[Transaction(APP, number)],
                    max_commit_retries=0,
                ),
                post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
            )
        except CommitFailedError as error:
            self._handles.pop(table, None)
            raise StaleWriter(f"another writer committed to table `{table}` after version {base}") from error
        self._make_durable(table, base + 1)
        if schema:  # an open handle does not see a changed schema
            self._handles.pop(table)
            self._schemas.pop(table, None)
        else:
            handle.update_incremental()  # an open handle does not see its own commit
        self._remove_others(table, number, [file.entry.path for file in add])
        return base + 1

    def files(self, table: str, version: int) -> list[str]:
        try:
            actions = pa.table(DeltaTable(self._root / table, version=version).get_add_actions(flatten=True))
        except DeltaError as error:
            raise CorruptFile(f"table `{table}` cannot be read at version {version}: {error}") from error
        return sorted(actions["path"].to_pylist())

    def history(self, table: str) -> Iterator[TableCommit]:
        log = self._root / table / _LOG
        for name in entry_names(log):
            try:
                yield read_commit(log / name)
            except FileNotFoundError:  # expired meanwhile, and all before it
                return

    def log_files(self, table: str, version: int) -> list[FileEntry]:
        log = self._root / table / _LOG
        files = [self._log(table, version), *(file for file in checkpoint_files(log) if version_of(file) == version)]
        pointer = log / "_last_checkpoint"
        if len(files) > 1 and pointed_version(pointer) == version:
            files.append(pointer)
        found = []
        for file in files:
            if file.is_file():
                sha256, size_bytes = self.digest(table, f"{_LOG}/{file.name}")
                found.append(FileEntry(path=f"{_LOG}/{file.name}", sha256=sha256, size_bytes=size_bytes))
        return found

    def expire(self, table: str, oldest: int) -> None:
        folder, log = self._root / table, self._root / table / _LOG
        self._shorten_tombstones(table)
        commits = [file for file in sorted(log.glob("*.json")) if version_of(file) <= oldest]
        for file in commits:
            for path in read_commit(file).removed:
                (folder / path).unlink(missing_ok=True)
        sync_folder(folder)  # durable before the entries that name the files
        failpoint("expire.data")
        made = [file for file in checkpoint_files(log) if version_of(file) <= oldest]
        first = version_of(made[-1]) if made else 0  # readers of `oldest` start here
        for file in [*commits, *made]:
            if version_of(file) < first:
                file.unlink()
        sync_folder(log)
        failpoint("expire.log")

    def locate(self, table: str, file: str) -> str:
        return f"{self._root}/{table}/{file}"

    def read(self, table: str, file: str, columns: Sequence[str] | None = None) -> pa.Table:
        path = self.locate(table, file)
        try:
            with pq.ParquetFile(path) as source:
                return source.read(None if columns is None else list(columns))
        except FileNotFoundError as error:
            raise _missing(path) from error
        except pa.ArrowException as error:
            raise CorruptFile(f"{path} cannot be read as Parquet: {error}", tip="tidemill verify") from error

    def digest(self, table: str, file: str) -> tuple[str, int]:
        path = self.locate(table, file)
        try:
            with open(path, "rb") as source:  # noqa: PTH123 - the same string that `stamp` takes
                return hashlib.file_digest(source, "sha256").hexdigest(), source.tell()
        except FileNotFoundError as error:
            raise _missing(path) from error

    def stamp(self, table: str, file: str) -> FileStamp:
        path = self.locate(table, file)
        try:
            found = os.stat(path)  # noqa: PTH116 - called for every file of every scan, so avoid the cost of a Path
        except FileNotFoundError as error:
            raise _missing(path) from error
        return FileStamp(size_bytes=found.st_size, mark=str(found.st_mtime_ns))

    def _make(self, table: str, schema: pa.Schema, personal: Sequence[str], mode: Any) -> int:
        columns = [field.name for field in schema if has_range(field.type) and field.name not in personal]
        handle = DeltaTable.create(
            self._root / table,
            schema,
            mode=mode,
            configuration={
                # A checkpoint every 10 commits: at version 1000 a commit takes 42 ms instead of 103 ms.
                "delta.checkpointInterval": "10",
                "delta.dataSkippingStatsColumns": ",".join(columns),
                "delta.enableExpiredLogCleanup": "false",
                "delta.logRetentionDuration": _FOREVER,
                _TOMBSTONES: _FOREVER,
            },
        )
        self._handles[table], self._schemas[table] = handle, schema
        version = int(handle.version())
        self._make_durable(table, version)
        sync_folder(self._root)
        return version

    def _shorten_tombstones(self, table: str) -> None:
        """Let checkpoints drop the names of removed files; a published table, of which versions are kept, lists all."""
        handle = self._handle(table)
        if handle.metadata().configuration.get(_TOMBSTONES) != _AN_HOUR:
            handle.alter.set_table_properties(
                {_TOMBSTONES: _AN_HOUR},
                post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
            )
            self._make_durable(table, int(handle.version()))

    def _handle(self, table: str) -> DeltaTable:
        if table not in self._handles:
            handle = self._opened(table)
            self._refuse_empty(table, handle)
            self._handles[table] = handle
        return self._handles[table]

    def _opened(self, table: str) -> DeltaTable:
        try:
            return DeltaTable(self._root / table)
        except TableNotFoundError:
            raise
        except BaseException as error:
            require_error(error)  # a damaged file can also make the library panic
            refuse_limit(error)
            if not self._remove_damaged_checkpoints(table):
                raise CorruptFile(
                    f"the log of table `{table}` cannot be read: {error}", tip="tidemill verify"
                ) from error
        return self._opened(table)

    def _remove_damaged_checkpoints(self, table: str) -> int:
        """Remove checkpoints that cannot be read, and a pointer to none; return how many. Readers use the commits, from
        an earlier checkpoint on where the oldest have expired; nothing is removed if there is no other.
        """
        log = self._root / table / _LOG
        pointer, versions = log / "_last_checkpoint", {version_of(file) for file in checkpoint_files(log)}
        is_lost = pointer.is_file() and pointed_version(pointer) not in versions  # then no version can be opened
        found = [
            file
            for file in checkpoint_files(log)
            if not is_parquet(file) or not (is_lost or self._opens(table, version_of(file)))
        ]
        whole = versions - {version_of(file) for file in found}
        if not whole and not self._log(table, 0).is_file():
            return 0
        if pointer.is_file() and pointed_version(pointer) not in whole:
            found.append(pointer)
        for file in found:
            remove_durably(file)
        return len(found)

    def _opens(self, table: str, version: int) -> bool:
        try:
            DeltaTable(self._root / table, version=version)
        except BaseException as error:
            require_error(error)
            refuse_limit(error)
            return False
        return True

    def _writable(self, table: str, base: int) -> DeltaTable:
        """A handle at `base`. An empty log file of the next version is a commit lost in a power cut, so delete it."""
        coming = self._log(table, base + 1)
        if table not in self._handles and coming.is_file() and coming.stat().st_size == 0:
            remove_durably(coming)
        handle = self._handle(table)
        if handle.version() < base:
            handle.update_incremental()
        return handle

    def _refuse_empty(self, table: str, handle: DeltaTable) -> None:
        last = self._log(table, int(handle.version()))
        if last.is_file() and last.stat().st_size == 0:
            raise CorruptFile(f"{last} is empty, so rows of table `{table}` are missing", tip="tidemill verify")

    def _log(self, table: str, version: int) -> Path:
        return self._root / table / _LOG / f"{version:020d}.json"

    def _named_since(self, table: str, number: int) -> set[str]:
        """The files that commits of `number` or later added."""
        named: set[str] = set()
        for commit in self.history(table):
            if commit.number and commit.number < number:
                break
            named.update(commit.added)
        return named

    def _remove_others(self, table: str, number: int, named: Collection[str]) -> None:
        """Delete files that were staged for a commit but are not part of it."""
        of_number = [name for name in self._staged_names(table, number).names if _number(name) == number]
        self._remove_unnamed(table, of_number, named)

    def _staged_names(self, table: str, number: int) -> _StagedNames:
        """The names of the files with a number of at least `number`.

        The folder, which has all files ever written, is listed only if it was changed by others since the last call.
        """
        folder = self._root / table
        mtime_ns = folder.stat().st_mtime_ns
        found = self._staged.get(table)
        if found is None or found.mtime_ns != mtime_ns or number < found.number:
            found = _StagedNames(number, mtime_ns, {name for name in os.listdir(folder) if ".parquet" in name})  # noqa: PTH208 - names alone, of thousands of files
            self._staged[table] = found
        found.number, found.names = number, {name for name in found.names if _number(name) >= number}
        return found

    def _remove_unnamed(self, table: str, files: Iterable[str], named: Collection[str]) -> int:
        loose = [name for name in files if name not in named]
        for name in loose:
            (self._root / table / name).unlink()
        if loose:
            sync_folder(self._root / table)
            found = self._staged[table]
            found.names.difference_update(loose)
            found.mtime_ns = (self._root / table).stat().st_mtime_ns
        return len(loose)

    def _commit_of(self, table: str, number: int) -> TableCommit:
        for commit in self.history(table):
            if commit.number == number:
                return commit
            if commit.number and commit.number < number:
                break
        raise StaleWriter(f"table `{table}` is past number {number}, which was never written")

    def _statistics(self, table: str) -> list[str]:
        listed = self._handle(table).metadata().configuration.get("delta.dataSkippingStatsColumns") or ""
        return [column for column in listed.split(",") if column]

    def _adds(self, table: str, add: Sequence[StagedFile], schema: pa.Schema | None = None) -> list[AddAction]:
        schema = schema or self.schema(table)
        assert schema is not None  # the handle is open
        return [
            AddAction(
                file.entry.path,
                file.entry.size_bytes,
                {},
                int((self._root / table / file.entry.path).stat().st_mtime * 1000),
                True,
                delta_statistics(file, schema),
            )
            for file in add
        ]

    def _removes(self, table: str, remove: Sequence[str]) -> list[RemoveAction]:
        # The deletion time without reading the clock: the folder was last modified when the newest file was staged.
        at = int((self._root / table).stat().st_mtime * 1000)
        return [RemoveAction(path, True, at) for path in remove]

    def _make_durable(self, table: str, version: int) -> None:
        log = self._root / table / _LOG
        last = log / "_last_checkpoint"
        files = [self._log(table, version)]
        if pointed_version(last) == version:
            files += [last, *(file for file in checkpoint_files(log) if version_of(file) == version)]
        for file in files:
            sync_file(file)
        sync_folder(log)


def _missing(path: str) -> CorruptFile:
    return CorruptFile(f"{path} is missing", tip="tidemill verify")


def _number(name: str) -> int:
    number = name.lstrip(".").split("-")[0]
    return int(number) if number.isdecimal() else -1


def _says(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)
