"""Days as half-open intervals in the stream's time zone, so that every instant belongs to exactly one day."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from tidemill.core.clock import to_micros


def day_bounds(day: date, zone: str = "UTC") -> tuple[int, int]:
    """The first microsecond of `day` in `zone` and the first after it: `low <= t < high`.

    A day with a daylight saving change has 23 or 25 hours.

    >>> low, high = day_bounds(date(2024, 3, 31), "Europe/Berlin")
    >>> (high - low) // 3_600_000_000
    23
    """
    return _midnight(day, zone), _midnight(day + timedelta(days=1), zone)


def day_of(at: pl.Series, zone: str = "UTC") -> pl.Series:
    """The day in `zone` of UTC times, as dates."""
    local = at if zone == "UTC" else at.dt.convert_time_zone(zone)
    return local.dt.date()


def day_of_instant(at: datetime, zone: str = "UTC") -> date:
    """The day in `zone` of one instant.

    >>> day_of_instant(datetime(2024, 1, 1, 0, 0, tzinfo=UTC), "America/New_York")
    datetime.date(2023, 12, 31)
    """
    return at.astimezone(ZoneInfo(zone)).date()


def _midnight(day: date, zone: str) -> int:
    return to_micros(datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC))
