"""A trained recommender: item ids, and the parts that retrieve and score candidates from a history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from tidemill.core.errors import IdsMismatch
from tidemill.core.ports import VectorIndex
from tidemill.models.recommender.folded_in_user import FoldedInUser
from tidemill.models.recommender.interactions import F32, I32
from tidemill.models.recommender.item_lists import ItemLists
from tidemill.models.recommender.model_part import ModelPart, PartScorer
from tidemill.models.recommender.part_scores import UserVectors
from tidemill.models.recommender.ranking import CandidateRanker
from tidemill.models.recommender.recent_popularity import Steps


class Prior(msgspec.Struct, frozen=True, kw_only=True):
    """The weight of recent popularity: a score is (1 - share) · relevance + share · recent, each at most 1."""

    share: Annotated[float, Meta(ge=0, le=1)]
    #: Windows of recent popularity: `(days, weight)`.
    steps: Steps


@dataclass(frozen=True)
class Candidates:
    """Retrieved items, best first: codes int32, scores float32, and the history item behind each (-1: none)."""

    item: I32
    score: F32
    because: I32


@dataclass(frozen=True, eq=False, kw_only=True)
class Recommender:
    """Item `i` is `items[i]` everywhere: in lists, vectors, index and counts. It contains no user.

    A recommender reuses scratch memory between calls: one per thread.
    """

    items: Sequence[str]
    #: Settings of the learner, and the as-of of its training (microseconds).
    learner: dict[str, Any]
    as_of: int
    prior: Prior
    #: Recent popularity at training time, float32 (n_items); live counts replace it if available.
    popularity: F32
    parts: Mapping[str, ModelPart] = field(default_factory=dict)
    #: Scores candidates by all part scores and item facts; without it, the weighted sum of the parts is the score.
    ranking: CandidateRanker | None = None

    def __post_init__(self) -> None:
        sizes = {"popularity": len(self.popularity)}
        sizes |= {f"{name} {what}": n for name, part in self.parts.items() for what, n in part.sizes().items()}
        sizes |= {"ranking": self.ranking.n_items} if self.ranking else {}
        wrong = {name: n for name, n in sizes.items() if n != len(self.items)}
        if wrong:
            sizes_text = ", ".join(f"{name} {n}" for name, n in wrong.items())
            raise IdsMismatch(f"there are {len(self.items)} item ids, but the arrays have other lengths: {sizes_text}")

    @property
    def n_items(self) -> int:
        """Number of items it was trained on."""
        return len(self.items)

    @cached_property
    def codes(self) -> dict[str, int]:
        """Item id -> code."""
        return {item: code for code, item in enumerate(self.items)}

    @cached_property
    def _asked(self) -> PartScorer:
        return PartScorer.from_parts(self.parts, self.n_items)

    def apart(self) -> Recommender:
        """The same recommender with its own scratch memory, for another thread; arrays and ids are shared."""
        apart = replace(self)
        apart.__dict__["codes"] = self.codes
        return apart

    @property
    def names(self) -> frozenset[str]:
        """The names of its model parts, for `check_parts`."""
        return frozenset({"popularity", *self.parts})

    @property
    def lists(self) -> ItemLists | None:
        """The first item lists among its parts."""
        return next((part.lists for part in self.parts.values() if part.lists), None)

    @property
    def vector_part(self) -> ModelPart | None:
        """The first part that has vectors."""
        return next((part for part in self.parts.values() if part.vectors), None)

    @property
    def vectors(self) -> UserVectors | None:
        """The first vectors among its parts."""
        return self.vector_part.vectors if self.vector_part else None

    @property
    def index(self) -> VectorIndex | None:
        """The index of these vectors."""
        return self.vector_part.index if self.vector_part else None

    def profile(self, items: Sequence[int], times: Sequence[int]) -> FoldedInUser:
        """Scores of all items for a history (codes, and microseconds); valid until the next call."""
        return FoldedInUser(self._asked, items, times)

    def nearest(self, items: Sequence[int], times: Sequence[int], n: int) -> Candidates:
        """The items nearest to a history, up to `n` outside it from each part, best first; none for an empty history.

        Scores are weighted sums over the parts; a ranking, which also uses facts, is applied by the slate.
        """
        profile = self.profile(items, times)
        drawn = profile.nearest(n)
        scores = profile.relevance(drawn)
        order = np.lexsort((drawn, -scores))
        return Candidates(drawn[order], scores[order], profile.because(drawn[order]))
