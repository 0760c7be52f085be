"""The SQLite vault keeps the port's promises."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tidemill.backends.sqlite_vault import SqliteVault
from tidemill.core.errors import FormatTooNew, LedgerCorrupt, LedgerMissing
from tidemill.core.ports import VaultStore
from tidemill.governance import scan_folder
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


SURROGATES = [f"{n:026d}" for n in range(400)]


def written(folder: Path) -> Path:
    """A closed vault of 400 people in one file of many pages."""
    path = folder / "vault.sqlite"
    vault = SqliteVault(path)
    vault.put((one, "user_id", b"sealed" * 20, b"wrapped" * 10) for one in SURROGATES)
    vault.close()
    assert [file.name for file in folder.iterdir()] == ["vault.sqlite"]
    return path


@pytest.mark.parametrize("share", [0, 0.0001, 0.001, 0.01, 0.1, 0.3, 0.5, 0.9, 0.99, 0.9999])
def test_a_truncated_vault_is_refused_and_none_is_begun_in_its_place(tmp_path: Path, share: float) -> None:
    path = written(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    before = path.read_bytes()
    with pytest.raises(LedgerMissing if share == 0 else LedgerCorrupt):
        SqliteVault(path, create=False)
    assert path.read_bytes() == before
    path.write_bytes(content)
    assert SqliteVault(path, create=False).known(SURROGATES) == set(SURROGATES)


def test_a_missing_vault_is_not_created_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "vault.sqlite"
    with pytest.raises(LedgerMissing, match="no new one was created"):
        SqliteVault(path, create=False)
    assert not path.parent.exists()
    SqliteVault(path).put([("s", "user_id", b"sealed", b"wrapped")])
    assert SqliteVault(path, create=False).known(["s"]) == {"s"}


@pytest.mark.parametrize("page", range(1, 24, 3))
def test_a_page_of_other_bytes_is_refused_or_makes_no_difference(tmp_path: Path, page: int) -> None:
    path = written(tmp_path)
    content = bytearray(path.read_bytes())
    content[page * 4096 : (page + 1) * 4096] = bytes(range(256)) * 16
    path.write_bytes(content)
    try:
        assert SqliteVault(path, create=False).known(SURROGATES) == set(SURROGATES)
    except LedgerCorrupt:
        assert path.read_bytes() == content


def test_a_vault_in_use_is_not_taken_for_a_truncated_one(tmp_path: Path) -> None:
    """Its newest pages are in the log beside it, before and after checkpoints by other processes."""
    path = tmp_path / "vault.sqlite"
    writer = SqliteVault(path)
    for n in range(40):
        writer.put((f"{n:04d}-{i:020d}", "user_id", b"sealed" * 30, b"wrapped") for i in range(50))
        assert len(SqliteVault(path, create=False).known([f"{n:04d}-{0:020d}"])) == 1


_PUT_AND_CLOSE = """
import sys
from pathlib import Path
from tidemill.backends.sqlite_vault import SqliteVault
vault = SqliteVault(Path(sys.argv[1]))
vault.put([(sys.argv[2], "user_id", b"sealed", b"wrapped")])
print(*(entry[0] for entry in vault.entries()))
vault.close()
"""


@pytest.mark.parametrize(
    "look",
    [lambda path: SqliteVault(path).close(), lambda path: scan_folder(path.parent, ["nobody"])],
    ids=["another store", "a scan for identifiers"],
)
def test_a_vault_that_another_process_closes_stays_the_same_vault(
    tmp_path: Path, look: Callable[[Path], object]
) -> None:
    """The last process that closes the file deletes its log, so a look at it here must not end this one's locks."""
    path = tmp_path / "vault.sqlite"
    vault = SqliteVault(path)
    vault.put([("a", "user_id", b"sealed", b"wrapped")])
    look(path)

    def elsewhere(name: str) -> str:
        command = [sys.executable, "-c", _PUT_AND_CLOSE, str(path), name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert elsewhere("b") == "a b"
    vault.put([("c", "user_id", b"sealed", b"wrapped")])
    assert elsewhere("d") == "a b c d"
    assert vault.known("abcd") == set("abcd")
