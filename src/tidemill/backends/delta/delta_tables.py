"""Versioned tables in Delta Lake format, written with delta-rs: any Delta reader sees the same versions. They lie in a
folder, or on S3.

Files are written first, with the number of their later commit in the name, and a transaction id makes commits
idempotent. Behaviour of deltalake 1.6 that shaped this: a repeated append through a *path* is accepted twice, a repeat
through an already open *handle* is rejected; a zero-length last log file opens without an error and with rows missing;
logs of versions older than thirty days are deleted unless that is switched off.
"""

from __future__ import annotations

import json
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
    checkpoint_names,
    entry_names,
    is_parquet,
    pointed_version,
    read_commit,
    version_of,
)
from tidemill.backends.delta.s3_storage import S3Storage
from tidemill.backends.delta.table_storage import FolderStorage, TableStorage
from tidemill.backends.s3.s3_location import SCHEME, S3Location
from tidemill.core.backend import BackendContext
from tidemill.core.errors import CorruptFile, PlaceRefused, SchemaChanged, StaleWriter
from tidemill.core.library_errors import refuse_limit, require_error
from tidemill.core.ports import FileStamp, StagedFile, TableCommit
from tidemill.core.records.ingest import FileEntry
from tidemill.core.storage.failpoint import failpoint

_LOG, _POINTER = "_delta_log", "_last_checkpoint"
_FOREVER = "interval 36500 days"
#: How long a checkpoint lists removed files.
_TOMBSTONES, _AN_HOUR = "delta.deletedFileRetentionDuration", "interval 1 hour"


@dataclass
class _StagedNames:
    """The names of a table's files with a number of at least `number`, and the folder's mark as they were listed."""

    number: int
    mark: object | None
    names: set[str]


class DeltaTables:
    """Delta tables in the subfolders of a folder, or of another storage.

    Handles are cached between commits, so that a commit does not read the log. delta-rs rejects a commit through an
    outdated handle, which raises `StaleWriter`.
    """

    def __init__(self, root: str | Path | TableStorage) -> None:
        self._storage: TableStorage = FolderStorage(root) if isinstance(root, str | Path) else root
        self._handles: dict[str, DeltaTable] = {}
        self._schemas: dict[str, pa.Schema] = {}
        self._staged: dict[str, _StagedNames] = {}

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> DeltaTables:
        """Tables in the folder of `url`, or below `s3://BUCKET/PREFIX`."""
        return cls(S3Storage(S3Location.from_url(url)) if url.startswith(SCHEME) else context.path(url))

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
        if self._storage.mark(table) is None:
            return self.stager(table, number).stage(rows)
        found = self._staged_names(table, number)
        staged = self.stager(table, number).stage(rows)
        if staged:
            found.names.update(file.entry.path for file in staged)
            found.mark = self._storage.mark(table)
        return staged

    def stager(self, table: str, number: int) -> DeltaFileStager:
        return DeltaFileStager(self._storage, table, number, tuple(self._statistics(table)))

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
        self._storage.prepare()
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
                [*self._adds(table, add, schema), *(() if schema else self._removes(table, base, remove))],
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
        except (DeltaError, OSError) as error:
            self._handles.pop(table, None)  # whether the commit was written is not known
            self._refuse_outage(table, error)
            raise
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
            actions = pa.table(self._open(table, version).get_add_actions(flatten=True))
        except DeltaError as error:
            self._refuse_outage(table, error)
            raise CorruptFile(f"table `{table}` cannot be read at version {version}: {error}") from error
        return sorted(actions["path"].to_pylist())

    def history(self, table: str) -> Iterator[TableCommit]:
        for name in entry_names(self._storage.names(f"{table}/{_LOG}")):
            try:
                yield self._read_entry(table, name)
            except FileNotFoundError:  # expired meanwhile, and all before it
                return

    def log_files(self, table: str, version: int) -> list[FileEntry]:
        names = set(self._storage.names(f"{table}/{_LOG}"))
        files = [_entry(version), *(name for name in checkpoint_names(names) if version_of(name) == version)]
        if len(files) > 1 and self._pointed_version(table) == version:
            files.append(_POINTER)
        found = []
        for name in filter(names.__contains__, files):
            sha256, size_bytes = self.digest(table, f"{_LOG}/{name}")
            found.append(FileEntry(path=f"{_LOG}/{name}", sha256=sha256, size_bytes=size_bytes))
        return found

    def expire(self, table: str, oldest: int) -> None:
        log = f"{table}/{_LOG}"
        self._shorten_tombstones(table)
        names = self._storage.names(log)
        commits = [name for name in reversed(entry_names(names)) if version_of(name) <= oldest]
        self._storage.delete(table, [path for name in commits for path in self._read_entry(table, name).removed])
        failpoint("expire.data")  # durable before the entries that name the files
        made = [name for name in checkpoint_names(names) if version_of(name) <= oldest]
        first = version_of(made[-1]) if made else 0  # readers of `oldest` start here
        self._storage.delete(log, [name for name in [*commits, *made] if version_of(name) < first])
        failpoint("expire.log")

    def locate(self, table: str, file: str) -> str:
        return self._storage.url(f"{table}/{file}")

    def read(self, table: str, file: str, columns: Sequence[str] | None = None) -> pa.Table:
        path = f"{table}/{file}"
        try:
            with pq.ParquetFile(self._storage.parquet(path, columns)) as source:
                return source.read(None if columns is None else list(columns))
        except FileNotFoundError as error:
            raise self._missing(path) from error
        except pa.ArrowException as error:
            raise CorruptFile(
                f"{self._storage.url(path)} cannot be read as Parquet: {error}", tip="tidemill verify"
            ) from error

    def digest(self, table: str, file: str) -> tuple[str, int]:
        path = f"{table}/{file}"
        try:
            return self._storage.digest(path)
        except FileNotFoundError as error:
            raise self._missing(path) from error

    def stamp(self, table: str, file: str) -> FileStamp:
        path = f"{table}/{file}"
        try:
            return self._storage.stamp(path)
        except FileNotFoundError as error:
            raise self._missing(path) from error

    def _make(self, table: str, schema: pa.Schema, personal: Sequence[str], mode: Any) -> int:
        columns = [field.name for field in schema if has_range(field.type) and field.name not in personal]
        self._storage.prepare()
        handle = DeltaTable.create(
            self._storage.url(table),
            schema,
            mode=mode,
            storage_options=self._storage.options(),
            commit_properties=CommitProperties(max_commit_retries=0),
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
        self._storage.sync("")
        return version

    def _shorten_tombstones(self, table: str) -> None:
        """Let checkpoints drop the names of removed files; a published table, of which versions are kept, lists all."""
        handle = self._handle(table)
        if handle.metadata().configuration.get(_TOMBSTONES) != _AN_HOUR:
            handle.alter.set_table_properties(
                {_TOMBSTONES: _AN_HOUR},
                commit_properties=CommitProperties(max_commit_retries=0),
                post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
            )
            self._make_durable(table, int(handle.version()))

    def _handle(self, table: str) -> DeltaTable:
        if table not in self._handles:
            handle = self._opened(table)
            self._refuse_empty(table, handle)
            self._handles[table] = handle
        return self._handles[table]

    def _open(self, table: str, version: int | None = None) -> DeltaTable:
        return DeltaTable(self._storage.url(table), version=version, storage_options=self._storage.options())

    def _opened(self, table: str) -> DeltaTable:
        try:
            return self._open(table)
        except TableNotFoundError:
            raise
        except BaseException as error:
            require_error(error)  # a damaged file can also make the library panic
            refuse_limit(error)
            self._refuse_outage(table, error)
            if not self._remove_damaged_checkpoints(table):
                raise CorruptFile(
                    f"the log of table `{table}` cannot be read: {error}", tip="tidemill verify"
                ) from error
        return self._opened(table)

    def _refuse_outage(self, table: str, error: BaseException) -> None:
        """Raise `PlaceRefused` for what a storage on the network did not answer."""
        if not self._storage.needs_sync:
            self._storage.names(f"{table}/{_LOG}")  # names the cause, if it lasts
            if not isinstance(error, DeltaError) or "HTTP" in str(error) or "Generic S3" in str(error):
                raise PlaceRefused(
                    f"{self._storage.url(table)}: the store did not answer", tip="run the same command again"
                ) from error

    def _remove_damaged_checkpoints(self, table: str) -> int:
        """Remove checkpoints that cannot be read, and a pointer to none; return how many. Readers use the commits, from
        an earlier checkpoint on where the oldest have expired; nothing is removed if there is no other.
        """
        log = f"{table}/{_LOG}"
        names = self._storage.names(log)
        checkpoints = checkpoint_names(names)
        versions = {version_of(name) for name in checkpoints}
        is_lost = _POINTER in names and self._pointed_version(table) not in versions  # then no version can be opened
        found = [
            name
            for name in checkpoints
            if not is_parquet(self._storage.read(f"{log}/{name}"))
            or not (is_lost or self._opens(table, version_of(name)))
        ]
        whole = versions - {version_of(name) for name in found}
        if not whole and _entry(0) not in names:
            return 0
        if _POINTER in names and self._pointed_version(table) not in whole:
            found.append(_POINTER)
        self._storage.delete(log, found)
        return len(found)

    def _opens(self, table: str, version: int) -> bool:
        try:
            self._open(table, version)
        except BaseException as error:
            require_error(error)
            refuse_limit(error)
            self._refuse_outage(table, error)
            return False
        return True

    def _writable(self, table: str, base: int) -> DeltaTable:
        """A handle at `base`. An empty log file of the next version is a commit lost in a power cut, so delete it."""
        if table not in self._handles and self._storage.size(f"{table}/{_LOG}/{_entry(base + 1)}") == 0:
            self._storage.delete(f"{table}/{_LOG}", [_entry(base + 1)])
        handle = self._handle(table)
        if handle.version() < base:
            handle.update_incremental()
        return handle

    def _refuse_empty(self, table: str, handle: DeltaTable) -> None:
        last = f"{table}/{_LOG}/{_entry(int(handle.version()))}"
        if self._storage.size(last) == 0:
            raise CorruptFile(
                f"{self._storage.url(last)} is empty, so rows of table `{table}` are missing", tip="tidemill verify"
            )

    def _read_entry(self, table: str, name: str) -> TableCommit:
        path = f"{table}/{_LOG}/{name}"
        return read_commit(name, self._storage.read(path), self._storage.url(path))

    def _pointed_version(self, table: str) -> int:
        try:
            return pointed_version(self._storage.read(f"{table}/{_LOG}/{_POINTER}"))
        except FileNotFoundError:
            return -1

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

        A folder, which has all files ever written, is listed only if it was changed by others since the last call.
        """
        mark = self._storage.mark(table)
        found = self._staged.get(table)
        if found is None or mark is None or found.mark != mark or number < found.number:
            names = self._storage.names(table, f"{number:010d}")
            found = _StagedNames(number, mark, {name for name in names if ".parquet" in name})
            self._staged[table] = found
        found.number, found.names = number, {name for name in found.names if _number(name) >= number}
        return found

    def _remove_unnamed(self, table: str, files: Iterable[str], named: Collection[str]) -> int:
        loose = [name for name in files if name not in named]
        if loose:
            self._storage.delete(table, loose)
            found = self._staged[table]
            found.names.difference_update(loose)
            found.mark = self._storage.mark(table)
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
        written = self._storage.modified_ms(table, [file.entry.path for file in add])
        return [
            AddAction(file.entry.path, file.entry.size_bytes, {}, at, True, delta_statistics(file, schema))
            for file, at in zip(add, written, strict=True)
        ]

    def _removes(self, table: str, base: int, remove: Sequence[str]) -> list[RemoveAction]:
        # The deletion time without reading the clock: the folder was last modified when the newest file was staged.
        at = self._storage.changed_ms(table, f"{_LOG}/{_entry(base)}") if remove else 0
        return [RemoveAction(path, True, at) for path in remove]

    def _make_durable(self, table: str, version: int) -> None:
        if not self._storage.needs_sync:
            return
        log, files = f"{table}/{_LOG}", [_entry(version)]
        if self._pointed_version(table) == version:
            checkpoints = checkpoint_names(self._storage.names(log))
            files += [_POINTER, *(name for name in checkpoints if version_of(name) == version)]
        self._storage.sync(log, files)

    def _missing(self, path: str) -> CorruptFile:
        return CorruptFile(f"{self._storage.url(path)} is missing", tip="tidemill verify")


def _entry(version: int) -> str:
    """The name of a version's entry in the log."""
    return f"{version:020d}.json"


def _number(name: str) -> int:
    number = name.lstrip(".").split("-")[0]
    return int(number) if number.isdecimal() else -1


def _says(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)
