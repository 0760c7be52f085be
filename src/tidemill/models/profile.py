"""What one history says about items: a user folded in as he is now, though the model knows no user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import numpy as np

from tidemill.core.ports import VectorIndex
from tidemill.models.facts import DAY_US
from tidemill.models.interactions import F32, I32, Mask
from tidemill.models.item_lists import ItemLists
from tidemill.models.low_pass import Vectors

#: Only this many of the newest items shape a profile; every one counts as seen.
LONGEST = 100
#: An item counts rank^-RANK, 1 being the newest.
RANK = 0.3

_NONE: I32 = np.zeros(0, np.int32)


class Scratch:
    """Arrays as long as the catalogue, made once and cleaned where they were touched, never whole."""

    def __init__(self, n_items: int) -> None:
        self.total: F32 = np.zeros(n_items, np.float32)
        self.slot: I32 = np.zeros(n_items, np.int32)
        self.touched: I32 = _NONE

    def clean(self) -> None:
        """Make `total` zero everywhere again."""
        self.total[self.touched] = 0.0
        self.touched = _NONE

    def distinct(self, codes: I32) -> Mask:
        """Marks one place of each code: a set in linear time, without sorting."""
        places = np.arange(len(codes), dtype=np.int32)
        self.slot[codes] = places
        last: Mask = self.slot[codes] == places
        return last


def history_weights(items: Sequence[int], times: Sequence[int], recency_days: float) -> tuple[list[int], list[float]]:
    """Codes of a history, newest first and each once, and their weights: exp(-age / recency) · rank^-0.3.

    Ages run from the newest event, not from now: somebody who returns after years is the person he was.
    """
    newest: dict[int, int] = {}
    for _, i in sorted(zip(times, range(len(times)), strict=True), reverse=True):
        newest.setdefault(items[i], times[i])
        if len(newest) == LONGEST:
            break
    last = max(newest.values(), default=0)
    scale = DAY_US * recency_days
    weights = [exp((time - last) / scale) * (rank + 1) ** -RANK for rank, time in enumerate(newest.values())]
    return list(newest), weights


@dataclass(frozen=True)
class Parts:
    """What a profile reads of a recommender."""

    lists: ItemLists | None
    vectors: Vectors | None
    index: VectorIndex | None
    spectral_share: float
    recency_days: float
    scratch: Scratch


class Profile:
    """Scores of items for one history. It lives in the recommender's scratch memory: valid until the next one."""

    def __init__(self, parts: Parts, items: Sequence[int], times: Sequence[int]) -> None:
        self._parts = parts
        self._history, weights = history_weights(items, times, parts.recency_days)
        self._entries, self._shares, self._givers = _NONE, np.zeros(0, np.float32), _NONE
        self._listed, self._peak = _NONE, 0.0
        self._vector: F32 | None = None
        self._drawn, self._far = _NONE, 0.0
        self._asked = 0
        parts.scratch.clean()
        if not self._history:
            return
        if parts.lists is not None:
            self._entries, self._shares, self._givers = parts.lists.fold_in(self._history, weights)
            self._add_up(parts.scratch)
        if parts.vectors is not None:
            self._vector = parts.vectors.user(self._history, weights)

    def _add_up(self, scratch: Scratch) -> None:
        entries, total = self._entries, scratch.total
        np.add.at(total, entries, self._shares)
        self._listed = scratch.touched = entries[scratch.distinct(entries)]
        self._sums = total[self._listed]
        self._peak = float(self._sums.max(initial=0.0))

    def nearest(self, n: int) -> I32:
        """Distinct codes of the items that `draw` gives, in no order."""
        drawn = self.draw(n)
        if len(drawn) < 2:
            return drawn[0] if drawn else _NONE
        both = np.concatenate(drawn)
        return both[self._parts.scratch.distinct(both)]

    def draw(self, n: int, by: str | None = None) -> list[I32]:
        """Codes of `n` items beside the history from each part, or from the one named in `by`, in no order."""
        n += len(self._history)
        drawn = []
        if by != "spectral" and len(self._listed):
            best = self._listed
            drawn.append(best if len(best) <= n else best[np.argpartition(-self._sums, n)[:n]])
        if by in (None, "spectral") and self._vector is not None:
            self._search(n)
            drawn.append(self._drawn)
        return drawn

    def _search(self, n: int) -> None:
        if self._asked < n and self._vector is not None and self._parts.index is not None:
            found, scores = self._parts.index.query(self._vector, n)
            self._drawn = found[scores > 0].astype(np.int32, copy=False)
            self._far = float(scores[0]) if len(scores) else 0.0
            self._asked = n

    def relevance(self, codes: I32) -> F32:
        """float32, from 0 to 1: the shares of lists and vectors, each scaled by its best item of all."""
        relevance = np.zeros(len(codes), np.float32)
        share = self._parts.spectral_share
        if self._peak > 0 and share < 1:
            relevance += self._parts.scratch.total[codes] * np.float32((1 - share) / self._peak)
        if self._vector is not None and self._parts.vectors is not None and share > 0:
            self._search(1)
            if self._far > 0:
                near = self._parts.vectors.items[codes] @ self._vector
                near *= np.float32(share / self._far)
                relevance += np.minimum(np.maximum(near, np.float32(0)), np.float32(share))
        return relevance

    def because(self, codes: I32) -> I32:
        """The history item that gave most to each item through the lists; -1 where none did."""
        giver = self._parts.scratch.slot
        wanted = np.zeros(len(codes), np.int32) - 1
        giver[self._entries] = -1
        giver[codes] = np.arange(len(codes), dtype=np.int32)
        place = giver[self._entries]
        kept = place >= 0
        gave = np.argsort(self._shares[kept], kind="stable")  # the largest is written last, and stays
        wanted[place[kept][gave]] = self._givers[kept][gave]
        return wanted
