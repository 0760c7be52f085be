"""The port `tables`: versioned tables, with a log of their own that is the truth about their files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from tidemill.core.records.ingest import FileEntry

if TYPE_CHECKING:
    import pyarrow as pa


class StagedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A durable data file that is written but belongs to a table version only after it is committed."""

    entry: FileEntry = FileEntry()
    #: Column -> minimum and maximum: numbers unchanged, times in microseconds, dates in days since 1970-01-01.
    #: Text columns and personal columns are never included.
    ranges: dict[str, tuple[int | float, int | float]] = {}
    #: Column -> number of missing values, for the same columns.
    nulls: dict[str, int] = {}


class FileStager(Protocol):
    """Writes data files for a later commit of a table. It can be pickled, so that an engine's workers write files."""

    def stage(self, rows: pa.Table) -> list[StagedFile]:
        """Write `rows` as durable data files. No version contains them yet, and files of a repeated call are others."""
        ...


class TableCommit(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a table, as recorded in the table's own log."""

    version: int
    #: The commit number; 0 for a version without changed rows, such as the empty one that `create` wrote.
    number: int
    note: dict[str, str]
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class FileStamp(msgspec.Struct, frozen=True, kw_only=True):
    """Cheap change detection for a data file: equal stamps mean equal content."""

    size_bytes: int
    #: Opaque, for example a modification time or an ETag.
    mark: str


class Tables(Protocol):
    """Versioned tables. Files are first staged, then committed as one version. Commits are idempotent by number."""

    def create(self, table: str, schema: pa.Schema, personal: Sequence[str]) -> int:
        """Create the table if it does not exist and return its version. `personal` columns are left out of statistics.

        A table with other columns is recreated if it has no commits; otherwise raises `SchemaChanged`.
        """
        ...

    def schema(self, table: str) -> pa.Schema | None:
        """The table's schema, or `None` if the table does not exist."""
        ...

    def stage(self, table: str, number: int, rows: pa.Table) -> list[StagedFile]:
        """Write `rows` as data files for the later commit `number` and fsync them. No version contains them yet."""
        ...

    def stager(self, table: str, number: int) -> FileStager:
        """A stager of data files for the later commit `number`. It may also stage rows with other columns, for a file
        that is only read before the commit.
        """
        ...

    def discard(self, table: str, number: int) -> int:
        """Delete files that were staged for `number` or later and that no version contains; return how many.

        This includes leftover files of commits that succeeded. Reads the log back to `number`.
        """
        ...

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
        """Add and remove files in the version after `base`. Idempotent: a repeated `number` returns the first version.

        Files that were staged for `number` but are not in `add` are deleted.

        With `schema`, the table has these columns from this version on, and `add` is its entire content.

        Durable when it returns. Raises `StaleWriter` if the table already has a version after `base`.
        """
        ...

    def files(self, table: str, version: int) -> list[str]:
        """The sorted paths, relative to the table, of a version's files, read from the table's own log."""
        ...

    def history(self, table: str) -> Iterator[TableCommit]:
        """All versions that `expire` has not deleted, newest first, read lazily."""
        ...

    def log_files(self, table: str, version: int) -> list[FileEntry]:
        """The files of the table's own log that the commit of this version wrote, with their hashes; paths are relative
        to the table. A file that a later version overwrote belongs to that one. Empty if the log has no files.
        """
        ...

    def expire(self, table: str, oldest: int) -> None:
        """Delete what only versions before `oldest` need, as far as the format permits: data files and log entries.

        All versions from `oldest` on stay readable. A call after a crash completes the earlier one. May add a version
        without changed rows.
        """
        ...

    def locate(self, table: str, file: str) -> str:
        """The location of a file for `Engine.scan`: a local path or a URL."""
        ...

    def read(self, table: str, file: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of one file, with all columns or only `columns`; an empty list gives only the number of rows.

        Raises `CorruptFile` if the file is missing or cannot be read.
        """
        ...

    def digest(self, table: str, file: str) -> tuple[str, int]:
        """The SHA-256 (hex) and size in bytes of a file's whole content. Raises `CorruptFile` if it is missing."""
        ...

    def stamp(self, table: str, file: str) -> FileStamp:
        """The stamp of a file, without reading its content. Raises `CorruptFile` if it is missing."""
        ...
