"""Time bins of a chart: equal intervals in UTC, of a length that reads well, few enough to be drawn."""

from __future__ import annotations

from collections.abc import Iterator

_MINUTE = 60_000_000
_HOUR, _DAY = 60 * _MINUTE, 1440 * _MINUTE
#: Lengths of bins, microseconds, and what one is called.
LENGTHS = {
    _MINUTE: "minute", 10 * _MINUTE: "10 minutes", _HOUR: "hour", 6 * _HOUR: "6 hours", _DAY: "day", 7 * _DAY: "week",
    30 * _DAY: "30 days", 365 * _DAY: "365 days",
}  # fmt: skip
#: Maximum number of bins of a chart.
MOST = 100
#: 1970-01-01 was a Thursday: weeks begin on Mondays.
_MONDAY = 4 * _DAY


def bin_length(first: int, last: int, shortest: int = _MINUTE) -> int:
    """The shortest length, from `shortest` on, with which at most `MOST` bins cover two instants, microseconds.

    >>> LENGTHS[bin_length(0, 3_600_000_000)], LENGTHS[bin_length(0, 86_400_000_000 * 400)]
    ('minute', 'week')
    """
    fits = (one for one in LENGTHS if one >= shortest and bin_start(last, one) - bin_start(first, one) < MOST * one)
    return next(fits, max(LENGTHS))


def bin_start(at: int, length: int) -> int:
    """The start of the bin of an instant."""
    shift = _MONDAY if length == 7 * _DAY else 0
    return (at - shift) // length * length + shift


def bin_starts(first: int, last: int, length: int) -> Iterator[int]:
    """The start of every bin from that of `first` to that of `last`: the newest 2,000, if there are more."""
    end = bin_start(last, length)
    yield from range(max(bin_start(first, length), end - 2_000 * length), end + 1, length)
