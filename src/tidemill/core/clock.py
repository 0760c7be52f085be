"""Clock: an injected dependency, the only place in the package that reads the system time."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from time import time_ns as system_time_ns
from typing import Protocol
from zoneinfo import ZoneInfo

#: The days that event times and options may have. A century to the ends of the calendar (years 1 and 9999) leaves room
#: for time zones, delays and windows, which are at most `LONGEST_DAYS`.
FIRST_DAY, LAST_DAY = date(100, 1, 1), date(9899, 12, 31)
LONGEST_DAYS = 36_500
OUT_OF_RANGE = f"is outside the years {FIRST_DAY.year} to {LAST_DAY.year}"


class Clock(Protocol):
    """Source of the current time for a run or a server."""

    def now(self) -> datetime:
        """The current time as an aware datetime in UTC."""
        ...

    def micros(self) -> int:
        """The current time in microseconds since 1970 in UTC, as it is stored."""
        ...


class SystemClock:
    """The system clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def micros(self) -> int:
        return system_time_ns() // 1_000


class FixedClock:
    """A clock that always returns the time it was set to, for replays and tests.

    >>> FixedClock(datetime(2018, 9, 20, tzinfo=UTC)).now().isoformat()
    '2018-09-20T00:00:00+00:00'
    """

    def __init__(self, at: datetime) -> None:
        self._at = at.astimezone(UTC)

    def now(self) -> datetime:
        return self._at

    def micros(self) -> int:
        return to_micros(self._at)

    def set(self, at: datetime) -> None:
        """Set the clock to `at`."""
        self._at = at.astimezone(UTC)


def as_of(day: date, zone: str = "UTC") -> datetime:
    """The end of `day` in `zone`, as UTC: the as-of time of a run with `--until day`.

    >>> as_of(date(2018, 9, 19)).isoformat()
    '2018-09-20T00:00:00+00:00'
    """
    return datetime.combine(day + timedelta(days=1), time(), ZoneInfo(zone)).astimezone(UTC)


def last_full_day(now: datetime, zone: str = "UTC") -> date:
    """The last calendar day in `zone` that has ended at `now`.

    >>> last_full_day(as_of(date(2018, 9, 19)))
    datetime.date(2018, 9, 19)
    """
    return now.astimezone(ZoneInfo(zone)).date() - timedelta(days=1)


def to_micros(at: datetime) -> int:
    """Microseconds since 1970 in UTC, the unit of every stored time."""
    delta = at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_micros(value: int) -> datetime:
    """The aware UTC datetime of a stored time (microseconds since 1970)."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value)


#: The first and the last microsecond of `FIRST_DAY` to `LAST_DAY`.
FIRST_US, LAST_US = to_micros(datetime.combine(FIRST_DAY, time(), UTC)), to_micros(as_of(LAST_DAY)) - 1
