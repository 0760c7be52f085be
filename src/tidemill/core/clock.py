"""Clock as an injected dependency: nothing else in the package reads the system time."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo


class Clock(Protocol):
    """What tells the time of a run or of a server."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class FixedClock:
    """A clock that stands where it was set, for replays and tests; `set` moves it.

    >>> FixedClock(datetime(2018, 9, 20, tzinfo=UTC)).now().isoformat()
    '2018-09-20T00:00:00+00:00'
    """

    def __init__(self, at: datetime) -> None:
        self._at = at.astimezone(UTC)

    def now(self) -> datetime:
        return self._at

    def set(self, at: datetime) -> None:
        """Move the clock to `at`."""
        self._at = at.astimezone(UTC)


def as_of(day: date, zone: str = "UTC") -> datetime:
    """The first instant after `day` in `zone`, as UTC: the as-of of a run with `--until day`.

    >>> as_of(date(2018, 9, 19)).isoformat()
    '2018-09-20T00:00:00+00:00'
    """
    return datetime.combine(day + timedelta(days=1), time(), ZoneInfo(zone)).astimezone(UTC)


def last_full_day(now: datetime, zone: str = "UTC") -> date:
    """The last calendar day of `zone` that is over at `now`.

    >>> last_full_day(as_of(date(2018, 9, 19)))
    datetime.date(2018, 9, 19)
    """
    return now.astimezone(ZoneInfo(zone)).date() - timedelta(days=1)


def to_micros(at: datetime) -> int:
    """Microseconds since 1970 in UTC, the unit of every stored time."""
    delta = at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_micros(value: int) -> datetime:
    """The instant of a stored time."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value)
