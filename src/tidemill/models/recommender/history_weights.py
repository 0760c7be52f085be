"""History weights: the weight of each event of a user's history by age and rank, per model part."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import Annotated

import msgspec
from msgspec import Meta

from tidemill.models.recommender.event_facts import DAY_US

#: Maximum number of newest items used for scoring; every item counts as seen.
LONGEST = 100


class HistoryWeights(msgspec.Struct, frozen=True, kw_only=True):
    """exp(-age / recency) · rank^-rank_power, rank 1 being the newest item; ages are relative to the newest event."""

    #: Time constant in days; `None`: no decay.
    recency_days: Annotated[float, Meta(gt=0)] | None = 365.0
    rank_power: Annotated[float, Meta(ge=0)] = 0.3
    #: Whether only items of the user's last day (UTC) count.
    last_day: bool = False

    def weigh(self, times: Sequence[int]) -> list[float]:
        """The weights of items with these times (microseconds), newest first.

        Ages are relative to the newest event, not to now: the weights of a user who returns after years are unchanged.
        """
        if not times:
            return []
        last = times[0]
        if self.recency_days is None:
            weights = [(rank + 1) ** -self.rank_power for rank in range(len(times))]
        else:
            scale = DAY_US * self.recency_days
            weights = [exp((time - last) / scale) * (rank + 1) ** -self.rank_power for rank, time in enumerate(times)]
        if self.last_day:
            day = last // DAY_US
            weights = [weight if time // DAY_US == day else 0.0 for weight, time in zip(weights, times, strict=True)]
        return weights


def newest_first(items: Sequence[int], times: Sequence[int]) -> tuple[list[int], list[int]]:
    """The `LONGEST` newest distinct codes of a history, newest first, with the time of each one's last event."""
    newest: dict[int, int] = {}
    for _, i in sorted(zip(times, range(len(times)), strict=True), reverse=True):
        newest.setdefault(items[i], times[i])
        if len(newest) == LONGEST:
            break
    return list(newest), list(newest.values())
