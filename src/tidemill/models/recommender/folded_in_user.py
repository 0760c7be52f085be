"""A folded-in user: item scores for one history, without any stored user in the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tidemill.models.recommender.history_weights import newest_first
from tidemill.models.recommender.interactions import F32, I32
from tidemill.models.recommender.model_part import PartScorer
from tidemill.models.recommender.part_scores import NONE, PartScores


class FoldedInUser:
    """Item scores for one history. It uses the recommender's scratch memory: valid until the next call."""

    def __init__(self, asked: PartScorer, items: Sequence[int], times: Sequence[int]) -> None:
        self._asked = asked
        #: Distinct codes, newest first, with the time of each one's last event.
        self.history, self.times = newest_first(items, times)
        self.opinions: dict[str, PartScores] = asked.opinions(self.history, self.times)

    def nearest(self, n: int) -> I32:
        """Distinct codes of the items that `draw` returns, unordered."""
        drawn = self.draw(n)
        if len(drawn) < 2:
            return drawn[0] if drawn else NONE
        return self._asked.distinct(np.concatenate(drawn))

    def draw(self, n: int, by: str | None = None) -> list[I32]:
        """Codes of `n` items outside the history from each part, or from the part `by`, unordered."""
        return [codes for _, codes in self.drawn(n, by)]

    def drawn(self, n: int, by: str | None = None) -> list[tuple[str, I32]]:
        """The same, each with the name of its part."""
        drawn = []
        for name, opinion in self.opinions.items():
            limit = self._asked.parts[name].draws
            if by in (None, name) and limit != 0:
                found = opinion.draw(min(n, limit or n) + len(self.history))
                if len(found):
                    drawn.append((name, found))
        return drawn

    def relevance(self, codes: I32) -> F32:
        """float32, from 0 to 1: the weighted sum over all parts, each scaled by its best score."""
        pieces = [piece for _, piece in self.pieces(codes)]
        return sum(pieces[1:], pieces[0]) if pieces else np.zeros(len(codes), np.float32)

    def pieces(self, codes: I32) -> Iterator[tuple[str, F32]]:
        """The relevance term of each part with a score, with its name."""
        for name, opinion in self.opinions.items():
            share = self._asked.parts[name].share
            if share > 0 and opinion.peak > 0:
                scaled = opinion.scores(codes) * np.float32(share / opinion.peak)
                yield name, np.minimum(np.maximum(scaled, np.float32(0)), np.float32(share))

    def because(self, codes: I32) -> I32:
        """The history item with the largest term for each item, from the first part that has one; else -1."""
        giver: I32 | None = None
        for name, opinion in self.opinions.items():
            if self._asked.parts[name].share > 0:
                if giver is None:
                    giver = opinion.because(codes)
                elif len(left := np.flatnonzero(giver < 0)):
                    giver[left] = opinion.because(codes[left])
        return np.full(len(codes), -1, np.int32) if giver is None else giver
