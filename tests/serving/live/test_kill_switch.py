"""The switch: a file first, its ledger line when the ledger is there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tidemill.backends.sqlite_ledger import SqliteLedger
from tidemill.core.clock import Clock, FixedClock
from tidemill.core.errors import KeyMissing, LedgerBusy, NotServed
from tidemill.core.identity.account import Account
from tidemill.core.identity.keys import Keys
from tidemill.core.ledger.ledger import Ledger
from tidemill.serving import flush_spool, spooled, switch, switch_state
from tidemill.serving.live.kill_switch import Line, WatchedSwitch, heal_switch, spool_problems, switch_problems

CLOCK = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
MODEL = "for_you"


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
    Keys.open(tmp_path / "keys", create=True)
    heal_switch(tmp_path, MODEL, real_ledger(tmp_path))
    return tmp_path


def real_ledger(root: Path) -> Ledger:
    keys = Keys.open(root / "keys", create=False)
    return Ledger(SqliteLedger(root / "ledger.sqlite"), keys, CLOCK, Account(name="ada"))


def public(root: Path) -> str:
    return Keys.open(root / "keys", create=False).public


def throw(
    root: Path, *, off: bool, ledger: Lines | Ledger | None, clock: Clock = CLOCK, keys: Keys | bool | None = True
) -> Line:
    given = Keys.open(root / "keys", create=False) if keys is True else keys or None
    return switch(
        root, MODEL, off=off, account=Account(name="ada"), why="odd answers", clock=clock, keys=given, ledger=ledger
    )


def later(seconds: int) -> FixedClock:
    return FixedClock(CLOCK.now() + timedelta(seconds=seconds))


def test_off_and_on_leave_a_file_and_a_line_each(root: Path) -> None:
    ledger = Lines()
    assert not switch_state(root, MODEL, public(root)).off
    assert throw(root, off=True, ledger=ledger) == "written" and switch_state(root, MODEL, public(root)).off
    assert throw(root, off=False, ledger=ledger) == "written" and not switch_state(root, MODEL, public(root)).off
    assert [(act, about) for act, about, _ in ledger.kept] == [("off", "model:for_you"), ("on", "model:for_you")]
    assert ledger.kept[0][2] == Account(name="ada") and spooled(root) == []


@pytest.mark.parametrize("ledger", [None, Lines(room=0)])
def test_with_the_ledger_away_the_switch_works_and_the_lines_wait_in_order(root: Path, ledger: Lines | None) -> None:
    assert throw(root, off=True, ledger=ledger) == "waiting"
    assert switch_state(root, MODEL, public(root)).off
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
        switch(root, "for_your", off=True, account=Account(name=""), why="", clock=CLOCK, keys=None, ledger=None)
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
    watched = WatchedSwitch(root / MODEL, public(root))
    for number, damaged in enumerate([*damages, b"", b"{}", b"null", bytes(len(whole)), whole[:20], b"[true]"]):
        file.write_bytes(damaged)
        os.utime(file, ns=(number, number))
        watched.poll()
        assert watched.off, damaged
        assert switch_state(root, MODEL, public(root)).off, damaged


def test_an_unreadable_switch_says_what_replaces_it(root: Path) -> None:
    throw(root, off=False, ledger=Lines())
    (root / "for_you" / "switch.json").write_bytes(bytes(1024))
    assert "tidemill on" in switch_state(root, MODEL, public(root)).why
    assert throw(root, off=False, ledger=Lines()) == "written"
    assert not switch_state(root, MODEL, public(root)).off


def test_a_switch_that_may_not_be_read_for_a_while_is_off_for_that_while(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    throw(root, off=False, ledger=Lines())
    watched = WatchedSwitch(root / MODEL, public(root))
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


# ---- healing from the ledger


def test_a_removed_switch_is_off_until_it_is_written_again_as_the_ledger_has_it(root: Path) -> None:
    ledger, file = real_ledger(root), root / MODEL / "switch.json"
    for off in (False, True):
        throw(root, off=off, ledger=ledger)
        before = switch_state(root, MODEL, public(root))
        file.unlink()
        watched = WatchedSwitch(root / MODEL, public(root))
        watched.poll()
        assert watched.off and "is missing" in switch_state(root, MODEL, public(root)).why
        assert switch_problems(root, ledger) == ["for_you: the kill switch is off: its file is missing"]
        said = heal_switch(root, MODEL, ledger)
        assert said == f"for_you: the kill switch was set to {'off' if off else 'on'}; its file is missing"
        healed = switch_state(root, MODEL, public(root))
        assert (healed.off, healed.since) == (off, before.since) and switch_problems(root, ledger) == []
        assert heal_switch(root, MODEL, ledger) == ""


def test_an_edited_or_copied_on_is_off(root: Path) -> None:
    ledger, file = real_ledger(root), root / MODEL / "switch.json"
    on = file.read_bytes()
    throw(root, off=True, ledger=ledger)
    edited = file.read_bytes().replace(b'"off":true', b'"off":false')
    (root / "churn").mkdir()
    for body in (edited, b'{"off":false}'):
        file.write_bytes(body)
        assert switch_state(root, MODEL, public(root)).off
        assert "not signed" in heal_switch(root, MODEL, ledger) and switch_state(root, MODEL, public(root)).off
    (root / "churn" / "switch.json").write_bytes(on)  # of another model
    assert switch_state(root, "churn", public(root)).off


def test_an_older_signed_on_that_is_copied_back_is_set_off_from_the_ledger(root: Path) -> None:
    ledger, file = real_ledger(root), root / MODEL / "switch.json"
    throw(root, off=False, ledger=ledger)
    older = file.read_bytes()
    throw(root, off=True, ledger=ledger, clock=later(5))
    file.write_bytes(older)
    assert switch_problems(root, ledger) == ["for_you: the kill switch is on, but off in the ledger"]
    assert "off; its file was older" in heal_switch(root, MODEL, ledger)
    assert switch_state(root, MODEL, public(root)).off


def test_off_stays_off_whatever_the_ledger_says(root: Path) -> None:
    ledger, file = real_ledger(root), root / MODEL / "switch.json"
    throw(root, off=False, ledger=ledger)
    file.write_text('{"off": true}')  # by hand, or by a command without the keys
    assert heal_switch(root, MODEL, ledger) != "" and switch_state(root, MODEL, public(root)).off
    assert switch_problems(root, ledger) == ["for_you: the kill switch is off, but on in the ledger"]


def test_an_entry_that_waits_for_the_ledger_is_heeded(root: Path) -> None:
    ledger, file = real_ledger(root), root / MODEL / "switch.json"
    throw(root, off=False, ledger=ledger)
    throw(root, off=True, ledger=None, clock=later(5))
    assert switch_problems(root, ledger) == []
    file.unlink()
    heal_switch(root, MODEL, ledger)
    assert switch_state(root, MODEL, public(root)).off


def test_without_the_keys_off_works_and_on_says_what_is_missing(root: Path) -> None:
    assert throw(root, off=True, ledger=Lines(), keys=None) == "written"
    assert switch_state(root, MODEL, public(root)).off
    with pytest.raises(KeyMissing, match="for_you stays off"):
        throw(root, off=False, ledger=Lines(), keys=None)
    assert switch_state(root, MODEL, public(root)).off


def test_a_damaged_line_of_the_spool_stops_neither_switch_nor_ledger(root: Path) -> None:
    throw(root, off=True, ledger=None)
    spool = root / "spool.jsonl"
    spool.write_bytes(b'{"act":"on","about":"mod' + b"\n" + spool.read_bytes() + b"\xff\xfe\n")
    ledger = Lines()
    assert throw(root, off=False, ledger=ledger) == "written"
    assert [act for act, *_ in ledger.kept] == ["off", "on"] and spooled(root) == []


@pytest.mark.parametrize("damage", ["removed", "cut", "a flipped bit"])
def test_an_entry_whose_spool_is_lost_is_named_and_written_from_the_signed_switch(root: Path, damage: str) -> None:
    ledger, spool = real_ledger(root), root / "spool.jsonl"
    throw(root, off=False, ledger=None, clock=later(5))
    assert switch_problems(root, ledger) == [] == spool_problems(root)
    content = spool.read_bytes()
    if damage == "removed":
        spool.unlink()
    else:
        spool.write_bytes(content[:-20] if damage == "cut" else content.replace(b'"odd ', b'"add '))
        assert [f"{spool}, line 1" in problem for problem in spool_problems(root)] == [True]
    assert flush_spool(root, ledger) == 0 == len(spool_problems(root))
    assert switch_problems(root, ledger) == [
        f"{MODEL}: the ledger has no entry of the last use of the kill switch, by ada"
    ]
    assert "it was added" in heal_switch(root, MODEL, ledger)
    last = ledger.last("on", f"model:{MODEL}")
    assert last is not None and (last.account.name, last.details["why"]) == ("ada", "odd answers")
    assert switch_problems(root, ledger) == [] and heal_switch(root, MODEL, ledger) == ""
