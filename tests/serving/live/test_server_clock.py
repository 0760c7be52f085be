from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tidemill.core.clock import FixedClock, to_micros
from tidemill.serving import ServerClock, replayed, set_replay

AT = datetime(2018, 9, 20, tzinfo=UTC)
NOW = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)


def test_without_a_replay_it_is_the_wall_and_the_as_of_is_the_slot_s_start(tmp_path: Path) -> None:
    clock = ServerClock(FixedClock(NOW), tmp_path)
    assert clock.now() == NOW and not clock.replaying
    assert clock.as_of(60) == to_micros(NOW) - 30_000_000
    assert clock.left_s(60) == 30


def test_a_replay_stands_where_it_was_set_and_moves_when_told(tmp_path: Path) -> None:
    set_replay(tmp_path, AT)
    clock = ServerClock(FixedClock(NOW), tmp_path)
    assert clock.now() == AT and clock.replaying and clock.as_of(60) == to_micros(AT)
    set_replay(tmp_path, AT + timedelta(days=1))
    assert clock.poll() and clock.now() == AT + timedelta(days=1) == replayed(tmp_path)
    set_replay(tmp_path, None)
    assert clock.poll() and clock.now() == NOW and replayed(tmp_path) is None


def test_slots_pass_on_the_wall_also_in_a_replay(tmp_path: Path) -> None:
    set_replay(tmp_path, AT)
    wall = FixedClock(NOW)
    clock = ServerClock(wall, tmp_path)
    before = clock.slot(60)
    wall.set(NOW + timedelta(seconds=29))
    assert clock.slot(60) == before
    wall.set(NOW + timedelta(seconds=30))
    assert clock.slot(60) == before + 1
