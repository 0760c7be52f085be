"""Additive counts: model parts whose lists are computed from counts that can be updated event by event.

Training and refresh share the same code, so a refreshed part equals a newly trained one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from tidemill.models.counts.item_tally import ItemTally
from tidemill.models.recommender.event_facts import EventFacts
from tidemill.models.recommender.interactions import I32, I64, Interactions
from tidemill.models.recommender.item_lists import ItemLists

if TYPE_CHECKING:
    import narwhals as nw

    from tidemill.core.ports import Engine

#: Number of events of each item in the last days before the as-of, int64 (n_items).
RecentEvents = Callable[[int | None], I64]


class CountSettings(Protocol):
    """Settings of the counts: a frozen msgspec struct. Parts with equal settings share the same counts."""

    def none(self) -> Counts:
        """Empty counts."""
        ...

    def pair_sums(self, events: Interactions, place: I32, n: int) -> list[tuple[int, Any]]:
        """The counts of events as int64 matrices (n, n), by the number of their span; `place` is the index of each of
        the events' items. Counts of the items themselves are on the diagonal.
        """
        ...

    def from_sums(self, tally: ItemTally, span: I64, a: I64, b: I64, sums: I64) -> Counts:
        """Counts from the entries of such matrices, sorted by span, `a` and `b`, each entry once."""
        ...

    def open(self, folder: Path) -> Counts:
        """Counts with these settings, written into `folder`; raises `BundleCorrupt` if theirs differ."""
        ...


class Counts(Protocol):
    """Counts that are updated from the events of the users that changed."""

    @property
    def tally(self) -> ItemTally:
        """The items, and the number of events of each."""
        ...

    def changed(self, before: Interactions, after: Interactions) -> Self:
        """The counts after the events of some users changed from `before` to `after`."""
        ...

    def write(self, folder: Path) -> None:
        """Write arrays and item ids into the empty `folder`."""
        ...


class ListFacts(Protocol):
    """What lists need to know of items, besides counts."""

    @property
    def items(self) -> Sequence[str]: ...
    @property
    def as_of(self) -> int: ...
    def counts(self, days: int | None) -> I64: ...


class PairBound(Protocol):
    """How an engine finds the pairs that are in a list."""

    @property
    def neighbours(self) -> int:
        """Number of pairs that a list of an item needs."""
        ...

    def weights(self, engine: Engine, pairs: nw.LazyFrame[Any], of_items: Any, facts: ListFacts) -> nw.LazyFrame[Any]:
        """A frame of `a`, `b` and `weight`, from counts `span`, `a`, `b` and `n`: a list's weights but for the last
        digits. `of_items` are counts without pairs.
        """
        ...


@dataclass(frozen=True)
class CountedLists:
    """Computes a part's lists from events or from stored counts."""

    settings: CountSettings
    #: Computes lists of these items at an as-of (microseconds), from counts with these settings.
    lists: Callable[[Any, Sequence[str], int, RecentEvents], ItemLists]
    #: The number of recent days whose events the lists also use; 0 for none.
    days: int = 0
    #: The largest pairs, for counts on an engine; `None`: all pairs are needed.
    bound: PairBound | None = None

    def __call__(self, events: Interactions, as_of: int) -> ItemLists:
        """Lists from events that are all earlier than `as_of`."""
        return self.second(self.first(events, as_of), events, as_of)

    @property
    def key(self) -> Hashable:
        """The counts depend on these settings alone."""
        return (self.settings,)

    def first(self, events: Interactions, as_of: int) -> Counts:
        """Counts of the events."""
        return counted(self.settings, events)

    def second(self, shared: Counts, events: Interactions, as_of: int) -> ItemLists:
        """Lists from counts of the same events."""
        facts = EventFacts(events.items, item=events.item, time=events.time, as_of=as_of)
        return self.lists(shared, events.items, as_of, facts.counts)


def counted(settings: CountSettings, events: Interactions) -> Counts:
    """Counts of these events."""
    return settings.none().changed(Interactions.none(), events)
