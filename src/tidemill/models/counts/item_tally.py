"""The item tally: the items that have events, and the number of events of each.

An item keeps its position, in order of arrival, so that counts do not move when new items arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy  # its parts are loaded when they are first used

from tidemill.core.errors import BundleCorrupt, LearnError
from tidemill.models.formats.arrays import open_array, write_array
from tidemill.models.recommender.interactions import I32, I64, Interactions
from tidemill.models.recommender.item_ids import read_ids, write_ids


@dataclass(frozen=True, eq=False)
class ItemTally:
    """`items` in order of arrival; `events` int64 (n_items), 0 for an item without events."""

    items: list[str]
    events: I64
    n_users: int

    @classmethod
    def none(cls) -> ItemTally:
        """An empty tally."""
        return cls([], np.zeros(0, np.int64), 0)

    @property
    def n_items(self) -> int:
        """Number of items with a position."""
        return len(self.items)

    @property
    def n_events(self) -> int:
        """Total number of events."""
        return int(self.events.sum())

    @cached_property
    def place(self) -> dict[str, int]:
        """Item id -> position."""
        return {item: place for place, item in enumerate(self.items)}

    @cached_property
    def known(self) -> list[str]:
        """The ids of items that have an event, sorted."""
        return sorted(item for item, n in zip(self.items, self.events.tolist(), strict=True) if n > 0)

    def changed(self, before: Interactions, after: Interactions) -> ItemTally:
        """The tally with the events of some users changed from `before` to `after`; new items at the end."""
        items = [*self.items, *(item for item in after.items if item not in self.place)]
        events = np.zeros(len(items), np.int64)
        events[: len(self.events)] = self.events
        tally = ItemTally(items, events, self.n_users + after.n_users - before.n_users)
        if len(items) == len(self.items):
            tally.__dict__["place"] = self.place
        gone = tally.places(before.items)
        if len(gone) and gone.min() < 0:
            raise LearnError("events are subtracted that were never counted", tip="rebuild the counts")
        np.add.at(events, tally.places(after.items)[after.item], 1)
        np.subtract.at(events, gone[before.item], 1)
        return tally

    def places(self, items: Sequence[str]) -> I32:
        """int32: the position of each item; -1 if it has none."""
        return np.array([self.place.get(item, -1) for item in items], np.int32)

    def into(self, items: Sequence[str]) -> I32 | None:
        """int32 (n_items): the index of each position in `items`, -1: absent; `None` if both orders are the same."""
        if list(items) == self.items:
            return None
        into = np.full(self.n_items, -1, np.int32)
        places = self.places(items)
        into[places[places >= 0]] = np.flatnonzero(places >= 0)
        return into

    def aligned(self, matrix: scipy.sparse.csr_matrix[Any], items: Sequence[str]) -> scipy.sparse.csr_matrix[Any]:
        """A matrix over the positions of this tally (n_items, n_items) as one over other `items`, fewer or more."""
        into = self.into(items)
        if into is None:
            return matrix
        found = matrix.tocoo()
        rows, columns = into[found.row], into[found.col]
        kept = (rows >= 0) & (columns >= 0)
        entries, shape = (found.data[kept], (rows[kept], columns[kept])), (len(items), len(items))
        moved: scipy.sparse.csr_matrix[Any] = scipy.sparse.csr_matrix(entries, shape=shape)
        moved.sort_indices()
        return moved

    def write(self, folder: Path) -> None:
        """Write `items.arrow` and `events.npy` into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        write_ids(folder / "items.arrow", self.items)
        write_array(folder / "events.npy", self.events)
        write_array(folder / "users.npy", np.array([self.n_users], np.int64))

    @classmethod
    def open(cls, folder: Path) -> ItemTally:
        """Open what `write` wrote; raises `BundleCorrupt` if it is damaged."""
        items, events = read_ids(folder / "items.arrow"), open_array(folder / "events.npy")
        users = open_array(folder / "users.npy")
        if len(items) != len(events) or users.shape != (1,):
            raise BundleCorrupt(f"the items in {folder} do not match their counts")
        return cls(items, events, int(users[0]))
