"""The switch: a file first, its ledger line when the ledger is there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tidemill.core.clock import FixedClock
from tidemill.core.errors import LedgerBusy, NotServed
from tidemill.core.identity.account import Account
from tidemill.serving import flush_spool, spooled, switch, switch_state
from tidemill.serving.live.kill_switch import Line, WatchedSwitch

CLOCK = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))


class Lines:
    """A ledger that is away while `away` is set, or after `room` lines."""

    def __init__(self, room: int = 99) -> None:
        self.kept: list[tuple[str, str, Account | None]] = []
        self.room = room

    def append(
        self, act: str, *, about: str = "", details: Mapping[str, Any] = {}, account: Account | None = None
    ) -> object:
        if len(self.kept) >= self.room:
            raise LedgerBusy("locked")
        self.kept.append((act, about, account))
        return None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "for_you").mkdir()
    (tmp_path / "for_you" / "live.json").write_text("{}")
    return tmp_path


def throw(root: Path, *, off: bool, ledger: Lines | None) -> Line:
    return switch(root, "for_you", off=off, account=Account(name="ada"), why="odd answers", clock=CLOCK, ledger=ledger)


def test_off_and_on_leave_a_file_and_a_line_each(root: Path) -> None:
    ledger = Lines()
    assert not switch_state(root, "for_you").off
    assert throw(root, off=True, ledger=ledger) == "written" and switch_state(root, "for_you").off
    assert throw(root, off=False, ledger=ledger) == "written" and not switch_state(root, "for_you").off
    assert [(act, about) for act, about, _ in ledger.kept] == [("off", "model:for_you"), ("on", "model:for_you")]
    assert ledger.kept[0][2] == Account(name="ada") and spooled(root) == []


@pytest.mark.parametrize("ledger", [None, Lines(room=0)])
def test_with_the_ledger_away_the_switch_works_and_the_lines_wait_in_order(root: Path, ledger: Lines | None) -> None:
    assert throw(root, off=True, ledger=ledger) == "waiting"
    assert switch_state(root, "for_you").off
    assert throw(root, off=False, ledger=ledger) == "waiting"
    assert [waiting.act for waiting in spooled(root)] == ["off", "on"]
    back = Lines()
    assert flush_spool(root, back) == 2 and flush_spool(root, back) == 0
    assert [act for act, *_ in back.kept] == ["off", "on"]


def test_a_ledger_that_goes_away_in_the_middle_keeps_the_rest_waiting(root: Path) -> None:
    throw(root, off=True, ledger=None)
    throw(root, off=False, ledger=None)
    assert flush_spool(root, Lines(room=1)) == 1
    assert [waiting.act for waiting in spooled(root)] == ["on"]


def test_an_unknown_model_is_named_with_the_nearest(root: Path) -> None:
    with pytest.raises(NotServed, match="for_your") as caught:
        switch(root, "for_your", off=True, account=Account(name=""), why="", clock=CLOCK, ledger=None)
    assert "for_you" in str(caught.value.tip)


def test_a_spool_of_an_older_version_names_its_account(root: Path) -> None:
    (root / "spool.jsonl").write_text('{"act":"off","about":"model:for_you","at":1,"who":"ada","why":"odd"}\n')
    ledger = Lines()
    assert flush_spool(root, ledger) == 1
    assert ledger.kept == [("off", "model:for_you", Account(name="ada"))]


def test_no_damaged_byte_switches_a_model_on_that_was_off(root: Path) -> None:
    throw(root, off=True, ledger=Lines())
    file = root / "for_you" / "switch.json"
    whole = file.read_bytes()
    damages = [whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]
               for place in range(len(whole.rstrip())) for bit in range(8)]  # fmt: skip
    watched = WatchedSwitch(root / "for_you")
    for number, damaged in enumerate([*damages, b"", b"{}", b"null", bytes(len(whole)), whole[:20], b"[true]"]):
        file.write_bytes(damaged)
        os.utime(file, ns=(number, number))
        watched.poll()
        assert watched.off, damaged
        assert switch_state(root, "for_you").off, damaged


def test_an_unreadable_switch_says_what_replaces_it(root: Path) -> None:
    throw(root, off=False, ledger=Lines())
    (root / "for_you" / "switch.json").write_bytes(bytes(1024))
    assert "tidemill on" in switch_state(root, "for_you").why
    assert throw(root, off=False, ledger=Lines()) == "written"
    assert not switch_state(root, "for_you").off


def test_a_switch_that_may_not_be_read_for_a_while_is_off_for_that_while(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    throw(root, off=False, ledger=Lines())
    watched = WatchedSwitch(root / "for_you")
    watched.poll()
    assert not watched.off

    def refused(path: Path) -> object:
        raise PermissionError(13, "not permitted", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", refused)
        watched.poll()
        assert watched.off
    watched.poll()
    assert not watched.off
