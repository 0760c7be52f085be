"""Clock of the server: the machine's, or in a replay the as-of that `serve --at` set and publications advance."""

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
    """The instant at which a replayed server stands, in microseconds."""

    KIND: ClassVar[str] = "server clock"
    REQUIRED: ClassVar[tuple[str, ...]] = ("as_of",)

    as_of: int = 0


class ServerClock:
    """What time it is for answers. `wall` is handed in; the file, where there is one, wins over it.

    Slots (how long an answer is the same prediction) are counted on the wall also in a replay, where time stands.
    """

    def __init__(self, wall: Clock, serving_root: Path) -> None:
        self._wall = wall
        self._file = WatchedFile(serving_root / FILE, Replay)
        self._file.poll()

    def poll(self) -> bool:
        """Take up a moved replay; says whether it moved."""
        return self._file.poll()

    @property
    def replaying(self) -> bool:
        """Whether the server stands at a replayed instant."""
        return self._file.content is not None

    def now(self) -> datetime:
        return from_micros(self.micros())

    def micros(self) -> int:
        """The instant of now, in microseconds."""
        replay = self._file.content
        return replay.as_of if replay is not None else to_micros(self._wall.now())

    def slot(self, slot_s: int) -> int:
        """The number of the present validity slot."""
        return to_micros(self._wall.now()) // (slot_s * 1_000_000)

    def moment(self, slot_s: int) -> tuple[int, int]:
        """The present slot and its as-of, from one look at the wall."""
        slot, replay = self.slot(slot_s), self._file.content
        return slot, replay.as_of if replay is not None else slot * slot_s * 1_000_000

    def left_s(self, slot_s: int) -> int:
        """Whole seconds until the present slot ends."""
        return slot_s - to_micros(self._wall.now()) // 1_000_000 % slot_s

    def as_of(self, slot_s: int) -> int:
        """The as-of of answers in this slot: a replay's instant, else the slot's start, so that a repeat repeats."""
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
    """Put the server's clock at an instant (a publication calls this as it advances a replay), or back on the wall."""
    if at is None:
        (serving_root / FILE).unlink(missing_ok=True)
    else:
        write_state(serving_root / FILE, Replay(to_micros(at)))


def replayed(serving_root: Path) -> datetime | None:
    """Where a replay stands; `None` on the wall's time."""
    found = read_state(serving_root / FILE, Replay)
    return from_micros(found.as_of) if found else None
