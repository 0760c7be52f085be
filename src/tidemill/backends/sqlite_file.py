"""SQLite file with durable commits, and with SQLite's errors mapped to tidemill's.

Shared by the two SQLite stores. Write-ahead log (readers do not wait for writers), `synchronous=FULL` (a commit
survives a power cut), and a bounded wait for locks. Where the folder cannot be written, the file can still be read.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tidemill.core.errors import FormatTooNew, LedgerBusy, LedgerCorrupt, LedgerError, LedgerMissing

#: "tide" in ASCII: the `PRAGMA application_id` of tidemill's files.
_APPLICATION_ID = 0x74696465
_OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_master"
_KEEP = "keep it and restore a backup"


class SqliteFile:
    """A thread-safe connection with one transaction at a time.

    `schema` has `IF NOT EXISTS` statements separated by `;;`; `patience_s` bounds the wait for other writers. Without
    `create`, a file that is missing or has no schema is `LedgerMissing`.
    """

    def __init__(self, path: Path, schema: str, format_number: int, patience_s: float, *, create: bool = True) -> None:
        self.path = path
        self._schema = schema
        self._lock = threading.RLock()
        if not create and not path.is_file():
            raise self._missing("is missing")
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._translated_errors():
            self._connection = self._connect(patience_s)
            # A flipped byte may be invalid UTF-8. Decode it anyway: the reader then reports the damaged entry.
            self._connection.text_factory = _text
            self.close = weakref.finalize(self, self._connection.close)
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute("PRAGMA secure_delete=ON")
            if self._pragma("application_id") != _APPLICATION_ID:
                if not create and not self._pragma("schema_version"):
                    raise self._missing("is empty")
                self._make(schema, format_number, patience_s)
        found = self._pragma("user_version")
        if found > format_number:
            raise FormatTooNew(f"{path} has format {found}, but this version of tidemill reads {format_number}")

    def _connect(self, patience_s: float) -> sqlite3.Connection:
        path, log = self.path, self.path.with_name(f"{self.path.name}-wal")
        mode = "rwc"
        if path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
            mode = "ro"
            if not _size(log):  # SQLite would create a log to read a file in WAL mode, unless nobody can change it
                mode += "&immutable=1"
            elif not log.with_name(f"{path.name}-shm").exists():  # the log has entries: read a copy
                copy = Path(tempfile.mkdtemp(prefix="tidemill-"))
                weakref.finalize(self, shutil.rmtree, copy, ignore_errors=True)
                path, log = (Path(shutil.copy(file, copy)) for file in (path, log))
        return sqlite3.connect(
            f"{_uri(path)}?mode={mode}",
            uri=True,
            timeout=patience_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
        )

    def _make(self, schema: str, format_number: int, patience_s: float) -> None:
        if not self._pragma("schema_version"):
            self._enable_wal(patience_s)
        with self.write():  # check again under the lock: two processes may open a new file concurrently
            if self._pragma("application_id") == _APPLICATION_ID:
                return
            if self._pragma("schema_version"):
                raise LedgerCorrupt(f"{self.path} is the database of another program", tip="tidemill status --settings")
            for statement in schema.split(";;"):
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version={format_number}")
            self._connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")

    def _missing(self, what: str) -> LedgerMissing:
        return LedgerMissing(f"{self.path} {what}", tip="restore it from a backup; no new one was created")

    def refuse_truncated(self, patience_s: float = 1.0) -> None:
        """Raise `LedgerCorrupt` if the file has fewer pages than its header says, for longer than a checkpoint takes:
        another process that makes one writes the header first.
        """
        until = time.monotonic() + patience_s
        while self._is_truncated():
            if time.monotonic() > until or self.rows("PRAGMA quick_check(1)") != [("ok",)]:
                raise LedgerCorrupt(f"{self.path} is truncated", tip=_KEEP)
            time.sleep(0.02)

    def _is_truncated(self) -> bool:
        # Only SQLite may open the file: when any other descriptor of it is closed, the kernel drops the locks of this
        # process, and the next process that closes the file deletes the log that this one still writes.
        with closing(sqlite3.connect(f"{_uri(self.path)}?mode=ro&immutable=1", uri=True)) as without_log:
            try:
                pages = int(without_log.execute("PRAGMA page_count").fetchone()[0])
            except sqlite3.DatabaseError:
                return True
        return self.path.stat().st_size < pages * self._pragma("page_size")

    def _enable_wal(self, patience_s: float) -> None:
        # SQLite does not wait for locks when it changes the journal mode, so retry here.
        for _ in range(max(1, int(patience_s * 50))):
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                time.sleep(0.02)
        raise LedgerBusy(f"{self.path} is locked by another process", tip="run again")

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction that holds the write lock from its start."""
        with self._lock, self._translated_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of one query, as tuples."""
        with self._lock, self._translated_errors():
            return self._connection.execute(query, values).fetchall()

    def schema_changes(self) -> list[str]:
        """Each table, index, trigger and view that is missing, changed or not ours, as a sentence."""
        with closing(sqlite3.connect(":memory:")) as fresh:
            for statement in self._schema.split(";;"):
                fresh.execute(statement)
            wanted = _objects(fresh.execute(_OBJECTS).fetchall())
        found = _objects(self.rows(_OBJECTS))
        return [
            *(f"{name} is missing" for name in sorted(wanted.keys() - found.keys())),
            *(f"{name} is not part of it" for name in sorted(found.keys() - wanted.keys())),
            *(f"{name} was changed" for name in sorted(wanted.keys() & found.keys()) if wanted[name] != found[name]),
        ]

    def damage(self) -> list[str]:
        """What SQLite's own check of pages and indexes finds, and changes of the schema; empty without any."""
        try:
            found = [str(row[0]) for row in self.rows("PRAGMA integrity_check(20)")]
            found += self.schema_changes()
        except LedgerCorrupt as error:
            found = [error.message]
        return [f"{self.path.name}: {says}" for says in found if says != "ok"]

    def scrub(self) -> None:
        """Erase all bytes of deleted rows from the file and its log. Needs time and disk space to copy the whole file.

        `secure_delete` alone overwrites the deleted rows, but not their copies left by page splits. Raises `LedgerBusy`
        if a reader uses the log for longer than `patience_s`.
        """
        with self._lock, self._translated_errors():
            self._connection.execute("VACUUM")
            busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise LedgerBusy(f"{self.path} is in use, so its log still contains deleted rows", tip="run again")

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise _translated(self.path, error) from error
        except UnicodeDecodeError as error:  # of the message of an error about a damaged schema
            raise LedgerCorrupt(f"{self.path} cannot be read as a database", tip=_KEEP) from error


def _objects(rows: list[Any]) -> dict[str, str]:
    return {f"{kind} `{name}` on `{table}`": sql for kind, name, table, sql in rows}


def _uri(path: Path) -> str:
    return f"file:{quote(str(path.absolute()))}"


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _translated(path: Path, error: sqlite3.DatabaseError) -> LedgerError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LedgerBusy(f"{path} is locked by another process", tip="run again")
    if code == sqlite3.SQLITE_READONLY:
        return LedgerError(f"{path} cannot be written: it or its folder is read-only", tip="only reading is possible")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return LedgerCorrupt(f"{path} cannot be read as a database: {error}", tip=_KEEP)
    return LedgerError(f"{path}: {error}", tip="tidemill doctor")
