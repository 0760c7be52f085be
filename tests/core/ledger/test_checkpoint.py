from __future__ import annotations

import msgspec
import pytest

from tidemill.core.errors import FormatTooNew, LedgerCorrupt
from tidemill.core.identity.keys import signed_by
from tidemill.core.ledger import checkpoint
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ledger.ledger_entry import LedgerHead


def test_a_checkpoint_is_a_head_that_anybody_can_verify(ledger: Ledger, tmp_path) -> None:
    ledger.append("open")
    path = ledger.checkpoint(tmp_path / "checkpoints")
    assert checkpoint.read(tmp_path / "checkpoints") == ([ledger.head()], [])
    about = msgspec.json.decode(path.read_bytes())
    assert signed_by(
        about["public"], LedgerHead(about["seq"], about["hash"]).message, bytes.fromhex(about["signature"])
    )
    ledger.append("publish")
    ledger.checkpoint(tmp_path / "checkpoints")
    heads, _ = checkpoint.read(tmp_path / "checkpoints")
    assert [head.seq for head in heads] == [1, 2]
    assert ledger.verify(heads) == []
    assert not list((tmp_path / "checkpoints").glob("*partial*"))


@pytest.mark.parametrize("change", [("seq", 2), ("hash", "00" * 32), ("signature", "00" * 64), ("signature", "no hex")])
def test_a_changed_checkpoint_is_named(ledger: Ledger, tmp_path, change: tuple[str, object]) -> None:
    ledger.append("open")
    path = ledger.checkpoint(tmp_path)
    about = msgspec.json.decode(path.read_bytes()) | {change[0]: change[1]}
    path.write_bytes(msgspec.json.encode(about))
    assert checkpoint.read(tmp_path) == ([], [f"checkpoint {path.name} was changed: its signature is not valid"])


def test_a_torn_checkpoint_is_named_and_a_newer_one_refused(ledger: Ledger, tmp_path) -> None:
    ledger.append("open")
    path = ledger.checkpoint(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    assert checkpoint.read(tmp_path) == ([], [f"checkpoint {path.name} cannot be read"])
    path.write_bytes(msgspec.json.encode(msgspec.json.decode(whole) | {"format": 2}))
    with pytest.raises(FormatTooNew, match="format 2"):
        checkpoint.read(tmp_path)


def test_the_head_of_an_empty_ledger_may_be_kept(ledger: Ledger, tmp_path) -> None:
    ledger.checkpoint(tmp_path)
    assert checkpoint.read(tmp_path) == ([LedgerHead(0, "")], [])


@pytest.mark.parametrize("head", [LedgerHead(0, ""), LedgerHead(3, "ab"), LedgerHead(3, "ab", "cd")])
def test_a_head_is_read_as_it_was_written(head: LedgerHead) -> None:
    assert LedgerHead.parse(str(head)) == head
    assert LedgerHead.parse("3:ab") == LedgerHead(3, "ab")


@pytest.mark.parametrize("text", ["", "3", "3:", "x:ab:cd", "-1:ab:cd", ":"])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(LedgerCorrupt, match="is not a ledger head"):
        LedgerHead.parse(text)
