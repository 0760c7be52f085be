"""Durations in readable form: `"10 days"`, `"90 minutes"`."""

from __future__ import annotations

import re

from tidemill.core.clock import LONGEST_DAYS
from tidemill.core.errors import UsageError

_UNIT_S = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
_PATTERN = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([a-z]+?)s?\s*\Z")


def duration(text: str, *, longest_days: int = LONGEST_DAYS) -> int:
    """The microseconds of a duration such as `"10 days"`; units are seconds, minutes, hours, days and weeks.

    Raises `UsageError` for another text, and for more than `longest_days`, which no window may be long.

    >>> duration("10 days") == 10 * 86_400 * 1_000_000
    True
    """
    match = _PATTERN.match(text)
    if not match or match[2] not in _UNIT_S:
        raise UsageError(f"{text!r} is not a valid duration", tip='write a number and a unit, for example "10 days"')
    found_s = float(match[1]) * _UNIT_S[match[2]]
    if found_s > longest_days * 86_400:
        raise UsageError(f"{text!r} is too long a duration", tip=f"the maximum is {longest_days} days")
    return round(found_s * 1_000_000)
