"""SQLite ledger store: ledger entries in one file (the default `LedgerStore`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tidemill.backends.sqlite_file import SqliteFile
from tidemill.core.backend import BackendContext
from tidemill.core.errors import LeaseLost, LedgerCorrupt, LedgerMissing
from tidemill.core.ports import StoredEntry

FORMAT = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS lines (
  seq INTEGER PRIMARY KEY, body BLOB NOT NULL, hash TEXT NOT NULL, head BLOB NOT NULL,
  at INTEGER NOT NULL, actor TEXT NOT NULL, act TEXT NOT NULL, about TEXT NOT NULL, fingerprint TEXT NOT NULL
) STRICT;;
CREATE INDEX IF NOT EXISTS by_act ON lines (act, about, seq);;
CREATE INDEX IF NOT EXISTS by_about ON lines (about, seq);;
CREATE INDEX IF NOT EXISTS by_fingerprint ON lines (fingerprint, seq);;
CREATE TRIGGER IF NOT EXISTS no_update BEFORE UPDATE ON lines BEGIN SELECT RAISE(ABORT, 'append-only'); END;;
CREATE TRIGGER IF NOT EXISTS no_delete BEFORE DELETE ON lines BEGIN SELECT RAISE(ABORT, 'append-only'); END;;
CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, number INTEGER NOT NULL, holder TEXT NOT NULL) STRICT
"""
_COLUMNS = StoredEntry.__struct_fields__
_LIST = ", ".join(_COLUMNS)
_INDEX = {"actor", "act", "about", "fingerprint"}
_PAGE = 500


class SqliteLedger:
    """The entries of one ledger; `patience_s` is the maximum wait for another writer before `LedgerBusy`."""

    def __init__(self, path: Path | str, *, patience_s: float = 10.0) -> None:
        self._file = SqliteFile(Path(path), _SCHEMA, FORMAT, patience_s)

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> SqliteLedger:
        """Open the ledger in the file of `url`. Raises `LedgerMissing` if it is missing and may not be created."""
        path = context.path(url)
        if not context.create and not path.exists():
            raise LedgerMissing(f"there is no ledger at {path}", tip="restore it from its backup")
        return cls(path)

    @classmethod
    def exists(cls, url: str, context: BackendContext) -> bool:
        """Whether the file of `url` exists."""
        return context.path(url).exists()

    def close(self) -> None:
        """Close the file; also done when the object is garbage-collected."""
        self._file.close()

    def append(
        self, build: Callable[[StoredEntry | None], StoredEntry], lease: tuple[str, int] | None = None
    ) -> StoredEntry:
        with self._file.write() as connection:
            if lease is not None:
                self._refuse_stale(*lease)
            line = build(self.last())
            values = [getattr(line, column) for column in _COLUMNS]
            connection.execute(f"INSERT INTO lines ({_LIST}) VALUES (?,?,?,?,?,?,?,?,?)", values)
            if self.last() != line:  # a trigger that is not ours may have changed it
                raise LedgerCorrupt(
                    f"{self._file.path} does not keep what is written to it",
                    tip="its tables and triggers were changed: restore it from a backup",
                )
        return line

    def lines(self, after: int = 0, *, backwards: bool = False, where: Mapping[str, str] = {}) -> Iterator[StoredEntry]:
        unknown = set(where) - _INDEX
        if unknown:
            raise TypeError(f"entries have no index column {', '.join(sorted(unknown))}")
        equal = "".join(f" AND {name} = ?" for name in where)
        order = "DESC" if backwards else "ASC"
        query = f"SELECT {_LIST} FROM lines WHERE seq > ? AND seq < ?{equal} ORDER BY seq {order} LIMIT ?"
        # Read in pages, so that no transaction stays open; backwards, most callers need only the first entry.
        low, high, size = after, 1 << 62, 1 if backwards else _PAGE
        while page := self._page(query, (low, high, *where.values()), size):
            yield from map(_line, page)
            low, high = (low, page[-1][0]) if backwards else (page[-1][0], high)
            size = min(4 * size, _PAGE)

    def _page(self, query: str, values: tuple[Any, ...], size: int) -> list[Any]:
        try:
            return self._file.rows(query, (*values, size))
        except LedgerCorrupt:  # read one entry at a time, to find the first unreadable one
            return self._file.rows(query, (*values, 1))

    def last(self) -> StoredEntry | None:
        return next(self.lines(backwards=True), None)

    def lease(self, name: str, holder: str) -> int:
        with self._file.write() as connection:
            connection.execute(
                "INSERT INTO leases VALUES (?, 1, ?)"
                " ON CONFLICT (name) DO UPDATE SET number = number + 1, holder = excluded.holder",
                (name, holder),
            )
            return self._lease(name)[0]

    def damage(self) -> list[str]:
        return self._file.damage()

    def _refuse_stale(self, name: str, number: int) -> None:
        current, holder = self._lease(name)
        if current != number:
            raise LeaseLost(
                f"lease `{name}` has number {current} ({holder}), but this process has {number}", tip="run again"
            )

    def _lease(self, name: str) -> tuple[int, str]:
        found = self._file.rows("SELECT number, holder FROM leases WHERE name = ?", (name,))
        return found[0] if found else (0, "no holder")


def _line(row: tuple[Any, ...]) -> StoredEntry:
    fields = dict(zip(_COLUMNS, row, strict=True))
    try:
        return msgspec.convert(fields, StoredEntry)
    except msgspec.ValidationError as error:  # a damaged file may have values of other types
        raise LedgerCorrupt(
            f"entry {fields['seq']} of the ledger cannot be read: {error}", tip="tidemill verify"
        ) from error
