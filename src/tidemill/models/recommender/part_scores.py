"""Part scores: candidates and scores of one model part for one history, and the history item behind each score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tidemill.core.ports import VectorIndex
from tidemill.models.recommender.interactions import F32, I32, I64, Mask
from tidemill.models.recommender.item_lists import ItemLists

NONE: I32 = np.zeros(0, np.int32)
_NO_SHARES: F32 = np.zeros(0, np.float32)


class UserVectors(Protocol):
    """Item vectors, and the mapping of a history to a user vector; both are compared by inner product."""

    @property
    def items(self) -> F32:
        """Float32 (n_items, n_factors)."""
        ...

    def user(self, history: list[int], weights: list[float]) -> F32:
        """The user vector, float32 (n_factors)."""
        ...

    def given(self, history: list[int], weights: list[float], codes: I32) -> F32:
        """The contribution of each history item to the score of each code, float32 (n_codes, n_history)."""
        ...

    def taking(self, places: I32) -> UserVectors:
        """Vectors of other items: item i had the index `places[i]` among these; -1: new, with a zero vector."""
        ...


class PartScores(Protocol):
    """The scores of one part for one history; valid until the part scores another."""

    @property
    def peak(self) -> float:
        """The score of its best item over all, 0 if it has none."""
        ...

    def draw(self, n: int) -> I32:
        """Codes of its `n` best items with a positive score, unordered; may include history items."""
        ...

    def scores(self, codes: I32) -> F32:
        """Its scores of these codes, 0 for unscored ones."""
        ...

    def because(self, codes: I32) -> I32:
        """For each code the history item with the largest term, -1 for none."""
        ...


class Workspace:
    """Arrays of catalogue length, allocated once and cleared only where they were used."""

    def __init__(self, n_items: int) -> None:
        self.total: F32 = np.zeros(n_items, np.float32)
        self.slot: I32 = np.zeros(n_items, np.int32)
        self.touched: I32 = NONE

    def clean(self) -> None:
        """Reset `total` to zero."""
        self.total[self.touched] = 0.0
        self.touched = NONE

    def distinct(self, codes: I32) -> Mask:
        """Mark one position of each code: a set in linear time, without sorting."""
        places = np.arange(len(codes), dtype=np.int32)
        self.slot[codes] = places
        last: Mask = self.slot[codes] == places
        return last


class ListScores:
    """The summed item lists of a history."""

    def __init__(self, lists: ItemLists, scratch: Workspace, history: Sequence[int], weights: Sequence[float]) -> None:
        self._scratch = scratch
        scratch.clean()
        counted = [place for place, weight in enumerate(weights) if weight > 0]
        self._entries, self._shares, self._givers = lists.fold_in(
            [history[place] for place in counted], [weights[place] for place in counted]
        )
        np.add.at(scratch.total, self._entries, self._shares)
        self._listed = scratch.touched = self._entries[scratch.distinct(self._entries)]
        self._sums = scratch.total[self._listed]
        if self._sums.min(initial=1.0) <= 0:  # signed lists also lower scores
            above = self._sums > 0
            self._listed, self._sums = self._listed[above], self._sums[above]
        self.peak = float(self._sums.max(initial=0.0))

    def draw(self, n: int) -> I32:
        if len(self._listed) <= n:
            return self._listed
        best: I32 = self._listed[np.argpartition(-self._sums, n)[:n]]
        return best

    def scores(self, codes: I32) -> F32:
        found: F32 = self._scratch.total[codes]
        return found

    def listed(self, codes: I32) -> I64:
        """The number of weighted history items that list each code."""
        place = self._places(codes)
        return np.bincount(place[place >= 0], minlength=len(codes))

    def because(self, codes: I32) -> I32:
        giver = np.full(len(codes), -1, np.int32)
        place = self._places(codes)
        kept = (place >= 0) & (self._shares > 0)
        order = np.argsort(self._shares[kept], kind="stable")  # the largest is written last, and wins
        giver[place[kept][order]] = self._givers[kept][order]
        return giver

    def _places(self, codes: I32) -> I32:
        """For each entry of the lists its index in `codes`, -1 if absent."""
        slot = self._scratch.slot
        slot[self._entries] = -1
        slot[codes] = np.arange(len(codes), dtype=np.int32)
        places: I32 = slot[self._entries]
        return places


class VectorScores:
    """The nearest items to a user vector that is folded in from a history."""

    def __init__(
        self, vectors: UserVectors, index: VectorIndex, history: Sequence[int], weights: Sequence[float]
    ) -> None:
        self._vectors, self._index = vectors, index
        self._history, self._weights = list(history), list(weights)
        self._vector = vectors.user(self._history, self._weights)
        self._drawn, self._far, self._asked = NONE, 0.0, 0

    @property
    def peak(self) -> float:
        if not self._asked:
            self.draw(1)
        return self._far

    def draw(self, n: int) -> I32:
        if self._asked < n:
            found, scores = self._index.query(self._vector, n)
            self._drawn = found[scores > 0].astype(np.int32, copy=False)
            self._far = max(float(scores[0]), 0.0) if len(scores) else 0.0
            self._asked = n
        return self._drawn

    def scores(self, codes: I32) -> F32:
        near: F32 = self._vectors.items[codes] @ self._vector
        return near

    def because(self, codes: I32) -> I32:
        given = self._vectors.given(self._history, self._weights, codes)  # (n_codes, n_history)
        largest = given.argmax(axis=1)
        largest[np.maximum.reduce(given, axis=1) <= 0] = -1
        giver: I32 = np.array([*self._history, -1], np.int32)[largest]
        return giver
