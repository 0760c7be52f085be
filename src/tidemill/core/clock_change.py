"""Daylight saving time: the time at which the clocks of a zone were set forward."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo


def first_after_gap(skipped: datetime, zone: str) -> datetime:
    """The UTC time of the clock change in `zone` that skipped the naive local time `skipped`.

    >>> first_after_gap(datetime(2024, 3, 31, 2, 30), "Europe/Berlin").isoformat()
    '2024-03-31T01:00:00+00:00'
    """
    place = ZoneInfo(zone)
    before = skipped.replace(tzinfo=place, fold=1).astimezone(UTC)
    after = skipped.replace(tzinfo=place, fold=0).astimezone(UTC)
    old = before.astimezone(place).utcoffset()
    while after - before > timedelta(microseconds=1):
        middle = before + (after - before) // 2
        if middle.astimezone(place).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after
