"""SQLite vault store: encrypted identities in one file (the default `VaultStore`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tidemill.backends.sqlite_file import SqliteFile
from tidemill.core.backend import BackendContext

FORMAT = 1
_PAGE = 1_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
  surrogate TEXT PRIMARY KEY, kind TEXT NOT NULL, sealed BLOB NOT NULL, wrapped BLOB NOT NULL
) STRICT, WITHOUT ROWID
"""


class SqliteVault:
    """The entries of one vault; `patience_s` is the maximum wait for another writer before `LedgerBusy`.

    Without `create`, a missing or empty file is `LedgerMissing`. A truncated one is `LedgerCorrupt` when it is opened.
    """

    def __init__(self, path: Path | str, *, create: bool = True, patience_s: float = 10.0) -> None:
        self._file = SqliteFile(Path(path), _SCHEMA, FORMAT, patience_s, create=create)
        self._file.refuse_truncated()

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> SqliteVault:
        """Open the vault in the file of `url`."""
        return cls(context.path(url), create=context.create)

    def close(self) -> None:
        """Close the file; also done when the object is garbage-collected."""
        self._file.close()

    def put(self, entries: Iterable[tuple[str, str, bytes, bytes]]) -> int:
        # Sorted: inserting in key order into a table without rowids (a B-tree by surrogate) is several times faster.
        rows = sorted(entries)
        with self._file.write() as connection:
            return connection.executemany("INSERT OR IGNORE INTO entries VALUES (?, ?, ?, ?)", rows).rowcount

    def get(self, surrogate: str) -> tuple[str, bytes, bytes] | None:
        found = self._file.rows("SELECT kind, sealed, wrapped FROM entries WHERE surrogate = ?", (surrogate,))
        return tuple(found[0]) if found else None

    def get_many(self, surrogates: Sequence[str]) -> dict[str, tuple[str, bytes, bytes]]:
        query = "SELECT * FROM entries WHERE surrogate IN (SELECT value FROM json_each(?))"
        return {row[0]: tuple(row[1:]) for row in self._file.rows(query, (json.dumps(list(surrogates)),))}

    def known(self, surrogates: Sequence[str]) -> set[str]:
        query = "SELECT value FROM json_each(?) WHERE value IN (SELECT surrogate FROM entries)"
        return {str(row[0]) for row in self._file.rows(query, (json.dumps(list(surrogates)),))}

    def entries(self) -> Iterator[tuple[str, str, bytes, bytes]]:
        after = ""
        while page := self._file.rows("SELECT * FROM entries WHERE surrogate > ? ORDER BY 1 LIMIT ?", (after, _PAGE)):
            yield from map(tuple, page)
            after = page[-1][0]

    def damage(self) -> list[str]:
        return self._file.damage()

    def forget(self, surrogates: Sequence[str]) -> int:
        if not surrogates:
            return 0
        with self._file.write() as connection:
            query = "DELETE FROM entries WHERE surrogate IN (SELECT value FROM json_each(?))"
            n = connection.execute(query, (json.dumps(list(surrogates)),)).rowcount
        self._file.scrub()  # also if nothing was deleted: an earlier call may have been killed before this step
        return n
