"""Formatting of counts and days in sentences."""

from __future__ import annotations

from datetime import date

from tidemill.core.clock import from_micros


def count(n: int, noun: str, many: str | None = None) -> str:
    """A number and its noun; `many` is an irregular plural.

    >>> count(1, "increment"), count(2_274, "row"), count(0, "refused line"), count(2, "refresh")
    ('1 increment', '2,274 rows', '0 refused lines', '2 refreshes')
    """
    ending = "" if n == 1 else "es" if noun.endswith(("s", "sh", "ch", "x")) else "s"
    return f"{n:,} {many if many and n != 1 else noun + ending}"


def day(at: int | date) -> str:
    """A calendar day, in UTC.

    >>> day(date(2018, 9, 9)), day(0)
    ('9 Sep 2018', '1 Jan 1970')
    """
    shown = at if isinstance(at, date) else from_micros(at).date()
    return f"{shown.day} {shown:%b} {shown.year}"


def through(as_of: int) -> str:
    """The last day that an as-of includes: it is the first instant after it.

    >>> through(86_400_000_000)
    '1 Jan 1970'
    """
    return day(as_of - 1)
