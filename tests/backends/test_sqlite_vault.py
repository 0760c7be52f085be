"""The SQLite vault keeps the port's promises."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tidemill.backends.sqlite_vault import SqliteVault
from tidemill.core.errors import FormatTooNew
from tidemill.core.ports import VaultStore
from tidemill.testing.vault_store import VaultStoreSuite


class TestSqliteVault(VaultStoreSuite):
    def open(self, place: Path) -> VaultStore:
        return SqliteVault(place / "vault.sqlite")


class _Overwrites(SqliteVault):
    """Wrong: the newest entry wins, so an identity could be exchanged."""

    def put(self, entries):
        rows = list(entries)
        with self._file.write() as connection:
            connection.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", rows)


class _OneByOne(SqliteVault):
    """Wrong: a crash in the middle leaves half of the entries."""

    def put(self, entries):
        for entry in entries:
            super().put([entry])


class _DeletesAndNoMore(SqliteVault):
    """Wrong: the row is gone, and its bytes are where they were."""

    def forget(self, surrogates):
        with self._file.write() as connection:
            return sum(
                connection.execute("DELETE FROM entries WHERE surrogate = ?", (one,)).rowcount for one in surrogates
            )


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        (_DeletesAndNoMore, VaultStoreSuite.test_no_file_holds_a_byte_of_a_forgotten_key),
        (_Overwrites, VaultStoreSuite.test_a_known_entry_is_left_alone),
        (_OneByOne, VaultStoreSuite.test_entries_go_in_together_or_not_at_all),
    ],
)
def test_the_suite_catches_a_wrong_store(wrong: type[SqliteVault], law, tmp_path: Path) -> None:
    suite = VaultStoreSuite()
    suite.open = lambda place: wrong(place / "vault.sqlite")  # type: ignore[method-assign]
    with pytest.raises(AssertionError):
        law(suite, tmp_path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    SqliteVault(tmp_path / "vault.sqlite").close()
    other = sqlite3.connect(tmp_path / "vault.sqlite")
    other.execute("PRAGMA user_version=99")
    other.close()
    with pytest.raises(FormatTooNew, match="format 99"):
        SqliteVault(tmp_path / "vault.sqlite")
