"""A disk without room: posted rows are refused whole, and the switch still switches."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from http_exchange import Exchange, exchange
from served_shop import MODEL, open_shop
from test_site import site

from tidemill.backends.sqlite_ledger import SqliteLedger
from tidemill.core.clock import FixedClock
from tidemill.core.identity.account import Account
from tidemill.core.identity.keys import Keys
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.storage.segments import read_frames
from tidemill.serving import spooled, switch, switch_state
from tidemill.serving.live import kill_switch
from tidemill.serving.live.kill_switch import FILE, OLD_FILE, SwitchState, WatchedSwitch, heal_switch
from tidemill.serving.live.state_files import WatchedFile
from tidemill.serving.process.worker_site import WorkerSite

CLOCK = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
EVENT = {"user_id": "u@example.org", "item_id": "item01", "rating": 4.0, "reviewed_at": "2026-01-01T00:00:00Z"}
OUTCOME = {"prediction_id": "0" * 32, "item": "item01", "what": "click", "value": 1.0}
EVENTS, OUTCOMES = ("/v1/events/reviews", [EVENT, EVENT]), ("/v1/outcomes", [OUTCOME, OUTCOME])


def full(*_: object, **__: object) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def half(descriptor: int, content: bytes) -> int:
    return _write(descriptor, content[: len(content) // 2])


_write = os.write


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerSite]:
    running = site(open_shop(tmp_path_factory.mktemp("full") / "project", slot_s=3600))
    yield running
    running.close()


def post(made: WorkerSite, path: str, rows: Any) -> Exchange:
    return exchange(made.server, path, rows)


def kept(made: WorkerSite, folder: str) -> int:
    return sum(1 for path in (made.root.parent / folder).rglob("*.seg") for _ in read_frames(path))


@pytest.mark.parametrize(("path", "rows", "folder"), [(*EVENTS, "events"), (*OUTCOMES, "log/outcomes")])
def test_posted_rows_are_refused_whole_and_taken_again_when_there_is_room(
    made: WorkerSite,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    path: str,
    rows: Any,
    folder: str,
) -> None:
    taken = 0
    for name, fault in [("link", full), ("write", half), (None, full), ("write", full), ("write", half), (None, full)]:
        with monkeypatch.context() as patched:
            if name is not None:
                patched.setattr(os, name, fault)
            said = post(made, path, rows)
        if name is None:
            taken += len(rows)
            assert (said.status, said.content["accepted"]) == (202, len(rows))
        else:
            assert (said.status, said.content["error"]["code"]) == (503, "TM712")
            assert said.headers["retry-after"] == "1"
        assert kept(made, folder) == taken
    assert "Traceback" not in caplog.text and "OSError" not in caplog.text


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / MODEL).mkdir()
    (tmp_path / MODEL / "live.json").write_text("{}")
    heal_switch(tmp_path, MODEL, ledger(tmp_path))
    return tmp_path


def ledger(root: Path) -> Ledger:
    return Ledger(SqliteLedger(root / "ledger.sqlite"), keys(root), CLOCK, Account(name="ada"))


def keys(root: Path) -> Keys:
    return Keys.open(root / "keys", create=True)


def throw(root: Path, *, off: bool, why: str = "odd") -> str:
    return switch(root, MODEL, off=off, account=Account(name="ada"), why=why, clock=CLOCK, keys=keys(root), ledger=None)


def test_off_switches_off_without_room_for_a_new_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / MODEL / FILE
    watched = WatchedFile(path, SwitchState, keys(root).public)
    assert watched.poll() and watched.content is not None and not watched.content.off
    node, size = path.stat().st_ino, path.stat().st_size
    monkeypatch.setattr(kill_switch, "write_durably", full)
    for n in range(20):  # faster than the kernel's clock ticks
        assert throw(root, off=n % 2 == 0) == "lost"
        assert watched.poll() and watched.content is not None and watched.content.off is (n % 2 == 0)
    assert (path.stat().st_ino, path.stat().st_size) == (node, size)
    assert spooled(root) == []


def test_a_long_reason_gives_way_to_the_room_there_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill_switch, "write_durably", full)
    throw(root, off=True, why="x" * 5_000)
    found = switch_state(root, MODEL, keys(root).public)
    assert (found.off, found.who, found.why) == (True, "ada", "")


def test_whoever_reads_in_the_middle_of_it_reads_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / MODEL / FILE
    watched = WatchedFile(path, SwitchState, keys(root).public)
    watched.poll()
    real = os.pwrite

    def looked_at(descriptor: int, content: bytes, at: int) -> int:
        real(descriptor, content[:9], at)
        assert not watched.poll() and watched.content is not None and not watched.content.off
        return real(descriptor, content, at)

    monkeypatch.setattr(kill_switch, "write_durably", full)
    monkeypatch.setattr(os, "pwrite", looked_at)
    throw(root, off=True)
    assert watched.poll() and watched.content is not None and watched.content.off


def test_no_half_of_a_switch_file_raises(root: Path) -> None:
    path = root / MODEL / FILE
    whole = msgspec.json.encode(SwitchState(off=True, since=1, who="ada", why="wegen Größe"))
    for cut in range(len(whole)):
        for rest in (b"", b"\0" * 9, b" " * 9, b'\xff"}'):
            path.write_bytes(whole[:cut] + rest)
            assert WatchedFile(path, SwitchState, keys(root).public).poll() is False


def test_what_was_thrown_before_the_server_saw_the_model_stays(root: Path) -> None:
    throw(root, off=True)
    heal_switch(root, MODEL, ledger(root))
    assert switch_state(root, MODEL, keys(root).public).off
    assert sorted(path.name for path in (root / MODEL).iterdir()) == ["live.json", FILE]


def test_the_file_of_format_1_counts_until_there_is_a_new_one(tmp_path: Path) -> None:
    folder = tmp_path / MODEL
    folder.mkdir()
    (folder / "live.json").write_text("{}")
    (folder / OLD_FILE).write_text('{"off":true,"since":7,"who":"ada","why":"odd"}')
    watched = WatchedSwitch(folder, keys(tmp_path).public)
    watched.poll()
    assert watched.off and switch_state(tmp_path, MODEL, keys(tmp_path).public) == SwitchState(
        off=True, since=7, who="ada", why="odd"
    )
    heal_switch(tmp_path, MODEL, ledger(tmp_path))
    found = switch_state(tmp_path, MODEL, keys(tmp_path).public)
    assert (found.off, found.since, found.who, found.why, len(found.signature)) == (True, 7, "ada", "odd", 128)
    assert (folder / FILE).stat().st_size == 1_024
    throw(tmp_path, off=False)
    watched.poll()
    assert not watched.off and not switch_state(tmp_path, MODEL, keys(tmp_path).public).off


def test_the_file_of_format_1_is_written_over_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / MODEL
    folder.mkdir()
    (folder / "live.json").write_text("{}")
    (folder / OLD_FILE).write_bytes(b'{"off":false,"since":0,"who":"","why":""}'.ljust(1_024))
    watched = WatchedSwitch(folder, keys(tmp_path).public)
    watched.poll()
    monkeypatch.setattr(kill_switch, "write_durably", full)
    throw(tmp_path, off=True)
    watched.poll()
    assert watched.off and switch_state(tmp_path, MODEL, keys(tmp_path).public).off and not (folder / FILE).exists()
