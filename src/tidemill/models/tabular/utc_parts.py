"""Parts of a UTC time (hour, weekday, month, …) by integer arithmetic, the same for a column and for one row."""

from __future__ import annotations

from typing import Any

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000


def part_of(us: Any, part: str) -> Any:
    """A part of UTC microseconds, an int or an int64 array (n): `hour` with its fraction, `weekday` (Monday 0), and
    calendar `month`, `day` and `year`.

    >>> [part_of(1_700_000_000_000_000, part) for part in ("weekday", "year", "month", "day")]
    [1, 2023, 11, 14]
    """
    if part == "hour":
        return us % DAY_US / HOUR_US
    days = us // DAY_US
    if part == "weekday":
        return (days + 3) % 7
    year, month, day = _civil(days)
    return {"year": year, "month": month, "day": day}[part]


def _civil(days: Any) -> tuple[Any, Any, Any]:
    """Year, month and day of days since 1970 (H. Hinnant, `chrono`-compatible low-level date algorithms)."""
    shifted = days + 719_468
    era = shifted // 146_097
    of_era = shifted % 146_097
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    quarter = (5 * of_year + 2) // 153
    month = (quarter + 2) % 12 + 1
    return year + era * 400 + (month <= 2) * 1, month, of_year - (153 * quarter + 2) // 5 + 1
