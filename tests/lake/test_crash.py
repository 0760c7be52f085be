"""A run that dies anywhere and is run again leaves the tables, the ledger and the files of a run that did not die."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from play import play, sound, told
from shop_lake import Shop

from tidemill.core.errors import StaleWriter
from tidemill.core.storage import failpoint
from tidemill.lake.commit_intent import CommitIntents
from tidemill.lake.lake import Lake

#: Every point that the lake passes, and how often a play passes it.
POINTS = {
    "quarantine.written": 6,
    "publish.staged": 11,
    "publish.checked": 5,
    "publish.intent": 5,
    "publish.commit": 8,
    "publish.committed": 5,
    "publish.ledger": 5,
    "publish.done": 5,
    "hold.written": 1,
    "hold.ledger": 1,
    "log.staged": 2,
    "log.committed": 2,
}


class Killed(BaseException):
    """Stands for SIGKILL where a test stays in its own process."""


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    shop = Shop(tmp_path_factory.mktemp("unharmed"))
    assert play(shop) == []
    sound(shop)
    return told(shop)


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(failpoint.os, "kill", die)


def die_at(root: Path, point: str) -> None:
    failpoint.arm(point)
    with pytest.raises(Killed):
        play(Shop(root))
    failpoint.arm(None)


def test_the_points_above_are_passed_as_often_as_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[str] = []
    for module in ("table_draft", "publication_draft", "commit_intent", "held_increments", "quarantine", "append_logs"):
        monkeypatch.setattr(f"tidemill.lake.{module}.failpoint", passed.append)
    play(Shop(tmp_path))
    assert {point: passed.count(point) for point in passed} == POINTS


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.usefixtures("dying")
def test_a_run_that_dies_is_finished_by_the_next(point: str, tmp_path: Path, unharmed: dict[str, Any]) -> None:
    """At the first and at the last time that each point is passed, and once more while it is being finished."""
    for turn in {1, POINTS[point]}:
        root = tmp_path / str(turn)
        root.mkdir()
        die_at(root, f"{point}:{turn}")
        shop = Shop(root)
        play(shop)
        assert told(shop) == unharmed
        sound(shop)
        assert play(Shop(root)) == []
        assert told(Shop(root)) == unharmed


@pytest.mark.parametrize("second", ["publish.commit", "publish.committed", "publish.ledger"])
@pytest.mark.usefixtures("dying")
def test_dying_while_finishing_is_finished_too(second: str, tmp_path: Path, unharmed: dict[str, Any]) -> None:
    die_at(tmp_path, "publish.commit:2")
    for _ in range(3):
        die_at(tmp_path, second)
    shop = Shop(tmp_path)
    play(shop)
    assert told(shop) == unharmed
    sound(shop)


@pytest.mark.usefixtures("dying")
def test_recovery_says_what_it_did(tmp_path: Path) -> None:
    die_at(tmp_path, "publish.commit:2")
    assert play(Shop(tmp_path)) == ["completed publication 1, which was interrupted"]
    die = tmp_path / "staged"
    die.mkdir()
    die_at(die, "publish.checked:2")
    assert play(Shop(die)) == ["deleted 2 files of publication 2, which was never committed"]
    hold = tmp_path / "hold"
    hold.mkdir()
    die_at(hold, "hold.written")
    assert "deleted 1 files of a hold that was never recorded" in play(Shop(hold))


def _forget(self: Lake, lease: object) -> list[str]:
    """Wrong: an intent is thrown away, though one of its tables may be committed already."""
    for name in self._intents._objects.list("_tidemill/intents/"):
        self._intents._objects.delete(name)
    return []


def _line_first(self: CommitIntents, intent: Any, lease: Any, *, known: bool) -> None:
    """Wrong: the ledger names versions that the tables do not have yet."""
    if not known:
        self._ledger.append(
            "publish", about=intent.about, refs_out=intent.refs_out, details=intent.details, lease=lease
        )
    for change in intent.changes:
        failpoint.failpoint("publish.commit")
        self._tables.commit(change.table, intent.publication.number, change.base, change.add, change.remove, {})
    self._objects.delete(f"_tidemill/intents/{intent.publication.number:010d}.json")


@pytest.mark.usefixtures("dying")
def test_the_law_catches_a_recovery_that_forgets(
    tmp_path: Path, unharmed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    die_at(tmp_path, "publish.commit:2")
    monkeypatch.setattr(Lake, "recover", _forget)
    with pytest.raises(BaseException) as caught:
        shop = Shop(tmp_path)
        play(shop)
        assert told(shop) == unharmed
        sound(shop)
    assert not isinstance(caught.value, Killed)


@pytest.mark.usefixtures("dying")
def test_a_line_before_its_versions_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CommitIntents, "_finish", _line_first)
    die_at(tmp_path, "publish.commit:1")
    with pytest.raises(AssertionError):
        sound(Shop(tmp_path))


def kill(root: Path, point: str) -> None:
    script = Path(__file__).with_name("play.py")
    done = subprocess.run([sys.executable, str(script), str(root), point], cwd=script.parent, check=False)
    assert done.returncode == -signal.SIGKILL


def test_a_process_that_is_killed_frees_its_lease_and_is_finished(tmp_path: Path, unharmed: dict[str, Any]) -> None:
    kill(tmp_path, "publish.commit:2")
    shop = Shop(tmp_path)
    assert play(shop) == ["completed publication 1, which was interrupted"]
    assert told(shop) == unharmed
    sound(shop)


@pytest.mark.usefixtures("dying")
def test_what_waits_to_be_finished_is_said_and_nothing_goes_on_before(tmp_path: Path) -> None:
    die_at(tmp_path, "publish.committed")
    shop = Shop(tmp_path)
    assert any("publication 1 was interrupted" in says for says in shop.lake.verify())
    with shop.lease() as lease, pytest.raises(StaleWriter, match="publication 1 was interrupted"):
        shop.lake.draft(lease)
