"""Item-kNN: cosine between items over their common users, shrunk if these are few (Sarwar et al. 2001).

The number of common users of two items is an additive count, the product of the binary user-item matrix with itself, so
it can be refreshed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import scipy  # its parts are loaded when they are first used

from tidemill.core.search_space import Space
from tidemill.models.counts.additive_counts import CountedLists, RecentEvents
from tidemill.models.counts.engine_counts import CosineBound
from tidemill.models.counts.exact_pair_sums import PairSums, from_entries, where
from tidemill.models.counts.item_tally import ItemTally
from tidemill.models.learners.learner import Capabilities
from tidemill.models.learners.list_learner import ListLearner
from tidemill.models.learners.settings import NotNegative, number, whole
from tidemill.models.learners.user_item_matrix import LONGEST, taken_by
from tidemill.models.recommender.interactions import F32, I32, I64, Interactions
from tidemill.models.recommender.item_lists import ItemLists


class ItemKnn(ListLearner, frozen=True, kw_only=True, tag="item_knn"):
    """Cosine between items over their users, shrunk if few users support it; all events count alike."""

    GRID: ClassVar[dict[str, tuple[Any, ...]]] = ListLearner.GRID | {"shrinkage": (10.0, 1.0, 50.0)}
    CAPABILITIES: ClassVar[Capabilities] = Capabilities(auto_order=10)

    #: Added to the number of common users in the denominator.
    shrinkage: NotNegative | Space | None = None

    def make(self) -> CountedLists:
        return cosine_lists(number(self.shrinkage), whole(self.neighbours))


def item_knn(**settings: Any) -> ItemKnn:
    """Neighbouring items by shrunk cosine; settings are the fields of `ItemKnn`."""
    return ItemKnn.from_settings(settings)


def cosine_lists(shrinkage: float, neighbours: int) -> CountedLists:
    """Lists of items with common users."""

    def lists(counts: CommonCounts, items: Sequence[str], as_of: int, recent: RecentEvents) -> ItemLists:
        return ItemLists.from_matrix(counts.cosine(items, shrinkage=shrinkage), neighbours)

    return CountedLists(CommonSettings(), lists, bound=CosineBound(shrinkage, neighbours))


def cosine_matrix(events: Interactions, *, shrinkage: float) -> scipy.sparse.csr_matrix[Any]:
    """float32 (n_items, n_items): cosine · common / (common + shrinkage), the diagonal empty."""
    return CommonCounts.from_interactions(events).cosine(events.items, shrinkage=shrinkage)


class CommonSettings(msgspec.Struct, frozen=True, kw_only=True, tag="common"):
    """Settings of common-user counts: none."""

    def none(self) -> CommonCounts:
        """Empty counts."""
        return CommonCounts(ItemTally.none(), PairSums.none(0))

    def pair_sums(self, events: Interactions, place: I32, n: int) -> list[tuple[int, Any]]:
        """The matrix of common users."""
        return [(0, _shared(events, place, n))]

    def from_sums(self, tally: ItemTally, span: I64, a: I64, b: I64, sums: I64) -> CommonCounts:
        """Counts from its entries."""
        return CommonCounts(tally, PairSums.none(0).plus(from_entries(a, b, sums, tally.n_items)))

    def open(self, folder: Path) -> CommonCounts:
        """Counts that were written into `folder`."""
        return CommonCounts.open(folder)


@dataclass(frozen=True, eq=False)
class CommonCounts:
    """For each pair of items, the number of users who took both; on the diagonal, of each item. No user is stored.

    Users with more than `LONGEST` items are left out. The counts are the same whether they are computed at once or
    user by user.
    """

    tally: ItemTally
    pairs: PairSums

    @classmethod
    def from_interactions(cls, events: Interactions) -> CommonCounts:
        """Counts of these events."""
        return CommonSettings().none().changed(Interactions.none(), events)

    def changed(self, before: Interactions, after: Interactions) -> CommonCounts:
        """The counts after the events of some users changed from `before` to `after`.

        Both contain all events of these users and no others. A user without events is absent from both.
        """
        tally = self.tally.changed(before, after)
        more, less = (_shared(events, tally.places(events.items), tally.n_items) for events in (after, before))
        change = more - less
        change.eliminate_zeros()
        change.sort_indices()
        return CommonCounts(tally, self.pairs.plus(change))

    def matrix(self, items: Sequence[str]) -> scipy.sparse.csr_matrix[Any]:
        """int64 (n_items, n_items) for `items`: the number of users who took both, including the diagonal."""
        return self.tally.aligned(self.pairs.total(), items)

    def cosine(self, items: Sequence[str], *, shrinkage: float) -> scipy.sparse.csr_matrix[Any]:
        """float32 (n_items, n_items) for `items`: cosine · common / (common + shrinkage), the diagonal empty."""
        common = self.matrix(items)
        norm = np.sqrt(np.maximum(common.diagonal(), 1))
        rows = np.repeat(np.arange(len(items)), np.diff(common.indptr))
        shared = common.data.astype(np.float64)
        weights = shared**2 / (shared + shrinkage) / (norm[rows] * norm[common.indices])
        return where(_with(common, weights.astype(np.float32)), rows != common.indices)

    def write(self, folder: Path) -> None:
        """Write the counts into the empty `folder`: arrays and item ids."""
        self.tally.write(folder)
        self.pairs.write(folder / "common")

    @classmethod
    def open(cls, folder: Path) -> CommonCounts:
        """Open what `write` wrote, memory-mapped; raises `BundleCorrupt` if it is missing or damaged."""
        tally = ItemTally.open(folder)
        return cls(tally, PairSums.open(folder / "common", tally.n_items))


def _with(matrix: scipy.sparse.csr_matrix[Any], data: F32) -> scipy.sparse.csr_matrix[Any]:
    """A matrix with the same positions and other entries."""
    made: scipy.sparse.csr_matrix[Any] = scipy.sparse.csr_matrix(
        (data, matrix.indices, matrix.indptr), shape=matrix.shape
    )
    return made


def _shared(events: Interactions, place: I32, n: int) -> scipy.sparse.csr_matrix[Any]:
    users = taken_by(events, place, n)
    users = users[np.diff(users.indptr) <= LONGEST]
    common: scipy.sparse.csr_matrix[Any] = (users.T @ users).tocsr()
    common.sort_indices()
    return common
