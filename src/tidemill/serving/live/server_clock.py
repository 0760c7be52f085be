"""Server clock: the machine's clock, or in a replay the as-of that `serve --at` sets and publications advance."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from tidemill.core.clock import Clock, from_micros, to_micros
from tidemill.core.record_format import VersionedRecord
from tidemill.serving.live.state_files import WatchedFile, read_state, write_state

FILE = "clock.json"


class Replay(VersionedRecord, frozen=True):
    """The as-of of a replayed server, in microseconds."""

    KIND: ClassVar[str] = "server clock"
    REQUIRED: ClassVar[tuple[str, ...]] = ("as_of",)

    as_of: int = 0


class ServerClock:
    """The time for predictions: that of the replay file if it exists, else of `wall`.

    Slots (periods in which a repeat is the same prediction) follow `wall` even in a replay, where the as-of is fixed.
    """

    def __init__(self, wall: Clock, serving_root: Path) -> None:
        self._wall = wall
        self._file = WatchedFile(serving_root / FILE, Replay)
        self._file.poll()

    def poll(self) -> bool:
        """Load a changed replay; returns whether it has changed."""
        return self._file.poll()

    @property
    def replaying(self) -> bool:
        """Whether the server replays a past instant."""
        return self._file.content is not None

    def now(self) -> datetime:
        return from_micros(self.micros())

    def micros(self) -> int:
        """The current instant, in microseconds."""
        replay = self._file.content
        return replay.as_of if replay is not None else self._wall.micros()

    def slot(self, slot_s: int) -> int:
        """The number of the current validity slot."""
        return self._wall.micros() // (slot_s * 1_000_000)

    def moment(self, slot_s: int) -> tuple[int, int]:
        """The current slot and its as-of, from one reading of `wall`."""
        slot, replay = self.slot(slot_s), self._file.content
        return slot, replay.as_of if replay is not None else slot * slot_s * 1_000_000

    def left_s(self, slot_s: int) -> int:
        """Whole seconds until the current slot ends."""
        return slot_s - self._wall.micros() // 1_000_000 % slot_s

    def as_of(self, slot_s: int) -> int:
        """The as-of of predictions in this slot: a replay's instant, else the slot's start, the same for repeats."""
        replay = self._file.content
        return replay.as_of if replay is not None else self.slot(slot_s) * slot_s * 1_000_000


def utc_day(at: int) -> str:
    """The UTC day of an instant in microseconds.

    >>> utc_day(86_400_000_000)
    '1970-01-02'
    """
    return _day(at // 86_400_000_000)


@lru_cache(maxsize=8)
def _day(number: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat()


def set_replay(serving_root: Path, at: datetime | None) -> None:
    """Set the server's clock to an instant (a publication thus advances a replay), or back to the wall clock."""
    if at is None:
        (serving_root / FILE).unlink(missing_ok=True)
    else:
        write_state(serving_root / FILE, Replay(to_micros(at)))


def replayed(serving_root: Path) -> datetime | None:
    """The instant of a replay; `None` on wall-clock time."""
    replay = read_state(serving_root / FILE, Replay)
    return from_micros(replay.as_of) if replay else None
