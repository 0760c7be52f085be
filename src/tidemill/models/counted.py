"""Parts that are made of additive counts: what is counted, and how a part's lists come out of it.

Learning and refreshing go the same way, so a refreshed part is the part that would have been learned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from tidemill.models.common_counts import CommonCounts, CommonSettings
from tidemill.models.facts import EventFacts
from tidemill.models.interactions import I64, Interactions
from tidemill.models.item_lists import ItemLists
from tidemill.models.item_tally import ItemTally
from tidemill.models.pair_counts import PairCounts, PairSettings
from tidemill.models.random_walk import two_steps

#: Events of each item in the last so many days before the as-of, int64 (n_items).
Recent = Callable[[int | None], I64]
#: What may be counted, as data: two parts with the same settings are made of the same counts.
CountSettings = PairSettings | CommonSettings


class Counts(Protocol):
    """Counts that are kept fresh by the events of the users that something happened to."""

    @property
    def tally(self) -> ItemTally:
        """The items, and how many events each has."""
        ...

    def changed(self, before: Interactions, after: Interactions) -> Self:
        """The counts once some users' events are no longer as they were `before`, but as they are `after`."""
        ...

    def write(self, folder: Path) -> None:
        """Write arrays and item ids into the empty `folder`."""
        ...


@dataclass(frozen=True)
class Counted:
    """Makes a part's lists, from events or from counts that were kept."""

    settings: CountSettings
    #: Lists of these items at an as-of (microseconds), from counts with these settings.
    lists: Callable[[Any, Sequence[str], int, Recent], ItemLists]
    #: The last days whose events the lists look at besides; 0 for none.
    days: int = 0

    def __call__(self, events: Interactions, as_of: int) -> ItemLists:
        """Lists from events that are all earlier than `as_of`."""
        facts = EventFacts(events.items, item=events.item, time=events.time, as_of=as_of)
        return self.lists(counted(self.settings, events), events.items, as_of, facts.counts)


def counted(settings: CountSettings, events: Interactions) -> Counts:
    """Counts of these events."""
    return settings.none().changed(Interactions.none(), events)


def pair_lists(settings: PairSettings, neighbours: int, *, trend_days: int = 0, hops: int = 1, **shape: Any) -> Counted:
    """Lists of items that go together in time, or with `hops` 2 of what goes with those.

    `shape` is what `PairCounts.matrix` takes.
    """

    def lists(counts: PairCounts, items: Sequence[str], as_of: int, recent: Recent) -> ItemLists:
        late = recent(trend_days) if shape.get("trend") else None
        matrix = counts.matrix(items, as_of, recent=late, **shape)
        return ItemLists.from_matrix(two_steps(matrix) if hops == 2 else matrix, neighbours)

    return Counted(settings, lists, trend_days if shape.get("trend") else 0)


def cosine_lists(shrinkage: float, neighbours: int) -> Counted:
    """Lists of items that the same users took."""

    def lists(counts: CommonCounts, items: Sequence[str], as_of: int, recent: Recent) -> ItemLists:
        return ItemLists.from_matrix(counts.cosine(items, shrinkage=shrinkage), neighbours)

    return Counted(CommonSettings(), lists)
