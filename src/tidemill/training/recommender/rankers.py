"""Rankers to evaluate: a slate, popularity or a file of ranked lists, and the normalisation of their lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tidemill.models import EventFacts, SlateEngine
from tidemill.training.recommender.users_to_evaluate import EvaluationUser

I32 = npt.NDArray[np.int32]


class ListRanker(Protocol):
    """A ranker of the catalogue for one user at one moment."""

    @property
    def name(self) -> str:
        """Its name in tables."""
        ...

    def rank(self, user: EvaluationUser, n: int) -> I32 | None:
        """Codes of the catalogue, best first, `n` or more if available; `None` if it has no list for the user."""
        ...


class SlateRanker:
    """A recommender through the slate that serves it; the list for an empty history is computed once."""

    def __init__(self, engine: SlateEngine, items: Sequence[str], name: str = "model") -> None:
        self.name = name
        self._engine, self._items = engine, items
        self._code_of = {item: code for code, item in enumerate(items)}
        self._cold: dict[int, I32] = {}

    def rank(self, user: EvaluationUser, n: int) -> I32:
        """The slate's recommendation."""
        if not len(user.items) and n in self._cold:
            return self._cold[n]
        history = [self._items[code] for code in user.items.tolist()]
        answer = self._engine.answer(history, user.times.tolist(), n)
        codes = np.array([self._code_of[item] for item in answer.items], np.int32)
        if not len(user.items):
            self._cold[n] = codes
        return codes


class PopularityRanker:
    """The most popular items of the last `days` days before the split, then of all time."""

    def __init__(self, facts: EventFacts, days: int) -> None:
        self.name = f"popularity over {days} days"
        recent, ever = facts.counts(days), facts.counts(None)
        self._chain = np.lexsort((np.arange(len(ever)), -ever, -recent)).astype(np.int32)

    def rank(self, user: EvaluationUser, n: int) -> I32:
        """The most popular items, enough to leave `n` after the history is dropped."""
        return self._chain[: n + len(user.items)]


@dataclass(frozen=True)
class RankedAnswers:
    """A list for each query, and counts of dropped positions."""

    lists: list[I32]
    #: Positions dropped from the top of the lists: the user already had the item, or it was a repeat.
    seen: int = 0
    repeated: int = 0
    #: Queries without a list.
    missing: int = 0


def ranked_answers(ranker: ListRanker, users: Sequence[EvaluationUser], n: int) -> RankedAnswers:
    """The ranker's lists of at most `n`, without items that the user had and without repeats."""
    lists, seen, repeated, missing = [], 0, 0, 0
    for user in users:
        codes = ranker.rank(user, n)
        if codes is None:
            lists.append(_EMPTY)
            missing += 1
            continue
        had, found = set(user.items.tolist()), codes.tolist()
        top = found[:n]
        seen += sum(code in had for code in top)
        repeated += len(top) - len(set(top))
        kept = [code for code in dict.fromkeys(found) if code not in had]
        lists.append(np.array(kept[:n], np.int32))
    return RankedAnswers(lists, seen, repeated, missing)


_EMPTY: I32 = np.zeros(0, np.int32)
