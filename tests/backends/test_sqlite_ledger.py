"""The SQLite ledger keeps the port's promises, and says in the house's words what went wrong."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from tidemill.backends.sqlite_ledger import FORMAT, SqliteLedger
from tidemill.core.errors import FormatTooNew, LedgerBusy, LedgerCorrupt, LedgerError
from tidemill.core.ports import LedgerStore, StoredEntry
from tidemill.testing.ledger_store import LedgerStoreSuite, line_after


class TestSqliteLines(LedgerStoreSuite):
    def open(self, place: Path) -> LedgerStore:
        return SqliteLedger(place / "ledger.sqlite")


class _NoLease(SqliteLedger):
    """Wrong: does not look at the lease."""

    def append(self, build, lease=None):
        return super().append(build)


class _ReadBefore(SqliteLedger):
    """Wrong: reads the last line outside of the transaction."""

    def append(self, build, lease=None):
        line = build(self.last())
        return super().append(lambda last: line, lease)


class _Unordered(SqliteLedger):
    """Wrong: forgets that `after` is left out."""

    def lines(self, after=0, *, backwards=False, where={}):  # noqa: B006
        return super().lines(after - 1, backwards=backwards, where=where)


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        (_NoLease, LedgerStoreSuite.test_only_the_newest_holder_may_append),
        (_NoLease, LedgerStoreSuite.test_a_lease_that_was_never_taken_is_refused),
        (_ReadBefore, LedgerStoreSuite.test_writers_never_come_between_a_line_and_its_predecessor),
        (_Unordered, LedgerStoreSuite.test_lines_are_found_by_number_and_by_index),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_suite_catches_a_wrong_store(wrong: type[SqliteLedger], law, tmp_path: Path) -> None:
    suite = LedgerStoreSuite()
    suite.open = lambda place: wrong(place / "ledger.sqlite")  # type: ignore[method-assign]
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        law(suite, tmp_path)


def _append_and_die(path: Path) -> None:
    SqliteLedger(path).append(line_after())
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_acknowledged_line_outlives_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    child = multiprocessing.get_context("spawn").Process(target=_append_and_die, args=(path,))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert SqliteLedger(path).last().seq == 1
    assert SqliteLedger(path).append(line_after()).seq == 2


def test_every_commit_is_synced(tmp_path: Path) -> None:
    store = SqliteLedger(tmp_path / "ledger.sqlite")
    assert store._file.rows("PRAGMA synchronous") == [(2,)]
    assert store._file.rows("PRAGMA journal_mode") == [("wal",)]


def test_a_locked_ledger_is_a_typed_error_after_a_bounded_wait(tmp_path: Path) -> None:
    store = SqliteLedger(tmp_path / "ledger.sqlite", patience_s=0.05)
    store.append(line_after())
    other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerBusy, match="is locked by another process"):
        store.append(line_after())
    assert store.last().seq == 1  # readers never wait
    other.execute("ROLLBACK")
    other.close()
    assert store.append(line_after()).seq == 2


def test_a_full_disk_is_a_typed_error_and_leaves_nothing(tmp_path: Path) -> None:
    store = SqliteLedger(tmp_path / "ledger.sqlite")
    store.append(line_after())
    pages = store._file.rows("PRAGMA page_count")[0][0]
    store._file.rows(f"PRAGMA max_page_count={pages}")

    def large(last: StoredEntry | None) -> StoredEntry:
        made = line_after()(last)
        return StoredEntry(**{name: getattr(made, name) for name in made.__struct_fields__} | {"body": bytes(100_000)})

    with pytest.raises(LedgerError, match="full"):
        store.append(large)
    assert store.last().seq == 1


def test_lines_cannot_be_changed_by_mistake(tmp_path: Path) -> None:
    SqliteLedger(tmp_path / "ledger.sqlite").append(line_after())
    other = sqlite3.connect(tmp_path / "ledger.sqlite")
    for statement in ("UPDATE lines SET act = 'other'", "DELETE FROM lines"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            other.execute(statement)
    other.close()


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    SqliteLedger(tmp_path / "ledger.sqlite").close()
    other = sqlite3.connect(tmp_path / "ledger.sqlite")
    other.execute(f"PRAGMA user_version={FORMAT + 1}")
    other.close()
    with pytest.raises(FormatTooNew, match=f"format {FORMAT + 1}"):
        SqliteLedger(tmp_path / "ledger.sqlite")


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.commit()
    before = path.read_bytes()
    with pytest.raises(LedgerCorrupt, match="another program"):
        SqliteLedger(path)
    other.close()
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database, but long enough to look at" * 10)
    with pytest.raises(LedgerCorrupt, match=r"ledger\.sqlite"):
        SqliteLedger(path)


def test_a_lost_index_entry_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    store = SqliteLedger(path)
    for _ in range(3):
        store.append(line_after())
    store.close()
    data = bytearray(path.read_bytes())
    other = sqlite3.connect(path)
    root = other.execute("SELECT rootpage FROM sqlite_master WHERE name = 'by_act'").fetchone()[0]
    size = other.execute("PRAGMA page_size").fetchone()[0]
    other.close()
    page = (root - 1) * size
    data[page + 4] -= 1  # one entry fewer (low byte of the count of cells)
    path.write_bytes(data)
    again = SqliteLedger(path)
    assert len(list(again.lines(where={"act": "act"}))) == 2  # what a reader would believe
    assert any("by_act" in says for says in again.damage())


def _open_new(path: Path, barrier) -> None:
    barrier.wait()
    SqliteLedger(path).append(line_after())


def test_two_processes_may_make_the_file_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    children = [context.Process(target=_open_new, args=(tmp_path / "l.sqlite", barrier)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert SqliteLedger(tmp_path / "l.sqlite").last().seq == 3
