"""Search space of a setting: a range to sample from, or a grid of values to try.

A setting of a learner is a plain value, omitted (`None`: the learner's default values are tried), or one of these.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tidemill.core.duration import duration
from tidemill.core.errors import SettingRefused, UsageError


class SearchRange(msgspec.Struct, frozen=True, kw_only=True, tag="search", tag_field="space"):
    """A range from `low` to `high`, both ends inclusive: numbers, or durations such as `"7 days"`."""

    low: Any
    high: Any
    #: Whether values are sampled log-uniformly; durations always are.
    log: bool = False

    @property
    def kind(self) -> str:
        """The type of both ends: `whole` (integers), `number` or `duration`."""
        ends = (self.low, self.high)
        if all(isinstance(end, str) for end in ends):
            return "duration"
        return "whole" if all(isinstance(end, int) for end in ends) else "number"


class SearchGrid(msgspec.Struct, frozen=True, kw_only=True, tag="grid", tag_field="space"):
    """Values that are all tried, in every combination with the other grids of the same learner."""

    values: tuple[Any, ...]


Space = SearchRange | SearchGrid


def search(low: Any, high: Any, *, log: bool = False) -> Any:
    """A setting to be tuned between `low` and `high` on validation days: `half_life=tm.search("7 days", "365 days")`.

    >>> search(1, 8).kind
    'whole'

    Raises `SettingRefused` if the ends are not a valid range.
    """
    ends = (low, high)
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends)
    if not numbers and not all(isinstance(end, str) for end in ends):
        raise SettingRefused(
            f"search({low!r}, {high!r}): both bounds must be numbers, or both durations",
            tip='write tm.search(0.1, 0.9) or tm.search("7 days", "365 days"); for other values, tm.grid(a, b)',
        )
    try:
        first, last = (float(low), float(high)) if numbers else (duration(low), duration(high))
    except (UsageError, ValueError) as problem:
        raise SettingRefused(f"search({low!r}, {high!r}): {problem}", tip='write "7 days"') from problem
    if not first < last:
        raise SettingRefused(f"search({low!r}, {high!r}): the lower bound must be below the upper bound")
    if log and numbers and not first > 0:
        raise SettingRefused(f"search({low!r}, {high!r}, log=True): both bounds must be above 0")
    return SearchRange(low=low, high=high, log=log or not numbers)


def grid(*values: Any) -> Any:
    """A setting for which every value is tried: `factors=tm.grid(16, 64, 256)`.

    >>> grid(16, 64).values
    (16, 64)

    Raises `SettingRefused` without values or with duplicates.
    """
    if not values or any(value in values[:place] for place, value in enumerate(values)):
        raise SettingRefused(f"grid{values!r}: at least one value is needed, and no value twice")
    return SearchGrid(values=tuple(values))
