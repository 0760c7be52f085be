"""Where nothing can be written, what was stored can still be read, and a write is a typed error."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.test_commands import TIDEMILL

from tidemill.backends.lmdb.lmdb_latest import LmdbLatest
from tidemill.backends.sqlite_ledger import SqliteLedger
from tidemill.core.errors import LedgerError
from tidemill.testing.latest import rows
from tidemill.testing.ledger_store import line_after


@pytest.fixture
def denied(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The answer of a read-only file system, also to root."""
    monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.W_OK)
    yield


def written(place: Path, n: int) -> SqliteLedger:
    ledger = SqliteLedger(place / "ledger.sqlite")
    for _ in range(n):
        ledger.append(line_after())
    return ledger


def test_a_ledger_is_read_and_an_append_is_refused(tmp_path: Path, denied: None) -> None:
    written(tmp_path, 3).close()
    (tmp_path / "ledger.sqlite").chmod(0o444)
    reader = SqliteLedger(tmp_path / "ledger.sqlite")
    assert [line.seq for line in reader.lines()] == [1, 2, 3]
    with pytest.raises(LedgerError, match="read-only"):
        reader.append(line_after())
    assert not [file for file in tmp_path.iterdir() if file.name != "ledger.sqlite"]


def test_entries_that_a_killed_writer_left_in_the_log_are_read_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = written(tmp_path / "live", 3)
    left = tmp_path / "left"
    left.mkdir()
    for name in ("ledger.sqlite", "ledger.sqlite-wal"):
        shutil.copy(tmp_path / "live" / name, left)
    ledger.close()
    before = (left / "ledger.sqlite").read_bytes()
    monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.W_OK)
    assert [line.seq for line in SqliteLedger(left / "ledger.sqlite").lines()] == [1, 2, 3]
    assert (left / "ledger.sqlite").read_bytes() == before


def test_rows_of_the_online_store_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LmdbLatest(tmp_path)
    store.write("taste", "k", rows(("u1", 7, "seven", None)), "v1")
    store.put("taste", "u2", {"n": 8, "s": None, "l": None}, at=1)
    del store
    gc.collect()
    monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.W_OK)
    reader = LmdbLatest(tmp_path)
    assert (reader.version("taste"), reader.get("taste", "u1")["n"], reader.get("taste", "u2")["n"]) == ("v1", 7, 8)


@pytest.mark.slow
def test_a_project_on_a_read_only_file_system_is_read(tmp_path: Path) -> None:
    """With a real mount, in a name space of its own."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting needs privileges")
    project = tmp_path / "corner"
    subprocess.run([TIDEMILL, "init", "corner"], cwd=tmp_path, check=True, capture_output=True)
    (project / "tidemill.toml").write_text(
        f'[laptop]\nkeys = "{tmp_path / "keys"}"\nsearch = "exact"\n[laptop.sources]\n'
        'reviews = "shop:reviews?customers=50&items=20"\nitems = "shop:items?customers=50&items=20"\n'
    )
    subprocess.run([TIDEMILL, "run", "--until", "2026-01-05"], cwd=project, check=True, capture_output=True)
    for command in ("status", "verify", "check reviews", "features", "plan", "compare"):
        inside = f"mount --bind . . && mount -o remount,bind,ro . && cd {project} && {TIDEMILL} {command}"
        done = subprocess.run(["unshare", "-m", "sh", "-c", inside], cwd=project, capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stderr)
    inside = f"mount --bind . . && mount -o remount,bind,ro . && cd {project} && {TIDEMILL} run"
    done = subprocess.run(["unshare", "-m", "sh", "-c", inside], cwd=project, capture_output=True, text=True)
    assert done.returncode == 1 and "Read-only file system" in done.stderr and "[TM005]" in done.stderr
