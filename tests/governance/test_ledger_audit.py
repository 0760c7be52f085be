from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tidemill.backends.sqlite_ledger import SqliteLedger
from tidemill.core.clock import FixedClock
from tidemill.core.identity.account import Account
from tidemill.core.identity.keys import Keys
from tidemill.core.ledger.ledger import Ledger
from tidemill.governance import verify_ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return opened(tmp_path)


def opened(folder: Path) -> Ledger:
    keys = Keys.open(folder / "keys", create=True)
    clock = FixedClock(datetime(2018, 9, 20, tzinfo=UTC))
    return Ledger(SqliteLedger(folder / "ledger.sqlite"), keys, clock, Account(name="ann"))


def test_a_sound_ledger_has_no_problems(ledger: Ledger, tmp_path: Path) -> None:
    assert verify_ledger(ledger) == []
    heads = []
    for _ in range(3):
        heads.append(ledger.head())
        ledger.append("publish")
        ledger.checkpoint(tmp_path / "checkpoints")
    assert verify_ledger(ledger, tmp_path / "checkpoints", [*heads, *map(str, heads)]) == []
    assert verify_ledger(ledger, tmp_path / "nothing was exported") == []


def test_its_last_ten_lines_dropped(ledger: Ledger, tmp_path: Path) -> None:
    for _ in range(20):
        ledger.append("publish")
    head, path = ledger.head(), tmp_path / "ledger.sqlite"
    ledger.checkpoint(tmp_path / "checkpoints")
    connection = ledger._lines._file._connection
    (trigger,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'no_delete'").fetchone()
    connection.executescript(f"DROP TRIGGER no_delete; DELETE FROM lines WHERE seq > 10; {trigger}")
    cut = opened(tmp_path)
    says = "entry 20: an external copy of the head has it, but the ledger ends at entry 10"
    assert verify_ledger(cut) == []
    assert [found.startswith(says) for found in verify_ledger(cut, tmp_path / "checkpoints")] == [True]
    assert [found.startswith(says) for found in verify_ledger(cut, None, [str(head)])] == [True]
    assert path.exists()


def test_the_ledger_removed_and_begun_anew(ledger: Ledger, tmp_path: Path) -> None:
    for _ in range(3):
        ledger.append("publish")
    head = ledger.head()
    ledger._lines.close()
    (tmp_path / "ledger.sqlite").unlink()
    anew = opened(tmp_path)
    assert verify_ledger(anew, None, [head])[0].startswith("entry 3: an external copy of the head has it")
    for _ in range(4):
        anew.append("open")
    assert verify_ledger(anew, None, [head]) == [
        "entry 3: its hash differs from an external copy of the head: history was rewritten"
    ]


def test_an_older_copy_restored(ledger: Ledger, tmp_path: Path) -> None:
    ledger.append("publish")
    ledger._lines.close()
    shutil.copy(tmp_path / "ledger.sqlite", tmp_path / "old.sqlite")
    newer = opened(tmp_path)
    newer.append("promote")
    newer.checkpoint(tmp_path / "checkpoints")
    newer._lines.close()
    shutil.copy(tmp_path / "old.sqlite", tmp_path / "ledger.sqlite")
    assert verify_ledger(opened(tmp_path), tmp_path / "checkpoints")[0].startswith("entry 2: ")


def test_damaged_evidence_is_named_beside_the_rest(ledger: Ledger, tmp_path: Path) -> None:
    ledger.append("publish")
    path = ledger.checkpoint(tmp_path / "checkpoints")
    path.write_text("{")
    problems = verify_ledger(ledger, tmp_path / "checkpoints", ["no head", "9:ab:cd"])
    assert len(problems) == 3
    assert any(path.name in says for says in problems)
    assert any("no head" in says for says in problems)
    assert any("entry 9: an external copy of the head is not signed" in says for says in problems)
