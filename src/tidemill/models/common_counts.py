"""How many users two items share: the product of the binary user-item matrix with itself, kept fresh.

What item-kNN makes its cosines of (Sarwar et al. 2001), and the Gram matrix of EASE (Steck 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import scipy.sparse as sp

from tidemill.models.interactions import F32, I32, Interactions
from tidemill.models.item_tally import ItemTally
from tidemill.models.pair_sums import PairSums, where

#: Users with more items than this say little about which items go together, and cost its square.
LONGEST = 1_000


class CommonSettings(msgspec.Struct, frozen=True, kw_only=True, tag="common"):
    """Users that two items share are counted without any setting."""

    def none(self) -> CommonCounts:
        """Counts of no event."""
        return CommonCounts(ItemTally.none(), PairSums.none(0))

    def open(self, folder: Path) -> CommonCounts:
        """Counts that were written into `folder`."""
        return CommonCounts.open(folder)


@dataclass(frozen=True, eq=False)
class CommonCounts:
    """For each pair of items, how many users took both; on the diagonal, how many took the item. It knows no user.

    Users with more than `LONGEST` items count for nobody. The counts are the same whether they were made at once or
    user by user.
    """

    tally: ItemTally
    pairs: PairSums

    @classmethod
    def of(cls, events: Interactions) -> CommonCounts:
        """Counts of these events."""
        return CommonSettings().none().changed(Interactions.none(), events)

    def changed(self, before: Interactions, after: Interactions) -> CommonCounts:
        """The counts once some users' events are no longer as they were `before`, but as they are `after`.

        Both hold every event of these users, and of nobody else. A user without events is in neither.
        """
        tally = self.tally.changed(before, after)
        more, less = (_shared(events, tally.places(events.items), tally.n_items) for events in (after, before))
        change = more - less
        change.eliminate_zeros()
        change.sort_indices()
        return CommonCounts(tally, self.pairs.plus(change))

    def matrix(self, items: Sequence[str]) -> sp.csr_matrix[Any]:
        """int64 (n_items, n_items) for `items`: how many users took both; the diagonal is there."""
        return self.tally.aligned(self.pairs.total(), items)

    def cosine(self, items: Sequence[str], *, shrinkage: float) -> sp.csr_matrix[Any]:
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
        """Open what `write` wrote, memory-mapped; `BundleCorrupt` where it is missing or damaged."""
        tally = ItemTally.open(folder)
        return cls(tally, PairSums.open(folder / "common", tally.n_items))


def taken_by(events: Interactions, place: I32, n: int) -> sp.csr_matrix[Any]:
    """int64 (n_users, n): 1 where the user has the item; `place` says where each item lies among the n."""
    ones = np.ones(len(events), np.int64)
    matrix = sp.csr_matrix((ones, (events.user, place[events.item])), shape=(events.n_users, n))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _with(matrix: sp.csr_matrix[Any], data: F32) -> sp.csr_matrix[Any]:
    """A matrix with other entries at the same places."""
    made: sp.csr_matrix[Any] = sp.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)
    return made


def _shared(events: Interactions, place: I32, n: int) -> sp.csr_matrix[Any]:
    users = taken_by(events, place, n)
    users = users[np.diff(users.indptr) <= LONGEST]
    common: sp.csr_matrix[Any] = (users.T @ users).tocsr()
    common.sort_indices()
    return common
