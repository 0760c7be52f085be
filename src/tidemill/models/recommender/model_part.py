"""Model parts: named item-to-item lists or vectors, each with its own history weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tidemill.core.ports import VectorIndex
from tidemill.models.recommender.exact_search import ExactIndex
from tidemill.models.recommender.history_weights import HistoryWeights
from tidemill.models.recommender.item_lists import ItemLists
from tidemill.models.recommender.part_scores import ListScores, PartScores, UserVectors, VectorScores, Workspace


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelPart:
    """Lists or vectors; exactly one of the two is given."""

    #: Its share in the relevance; a ranker does not use it, but explanations do.
    share: float
    weights: HistoryWeights = field(default_factory=HistoryWeights)
    lists: ItemLists | None = None
    vectors: UserVectors | None = None
    #: The index of the vectors; without one they are scanned, which is exact and slower.
    index: VectorIndex | None = None
    #: Maximum number of candidates drawn from it; `None`: as many as the slate requests.
    draws: int | None = None

    def __post_init__(self) -> None:
        if (self.lists is None) == (self.vectors is None):
            raise ValueError("a part has either lists or vectors")

    @property
    def kind(self) -> str:
        """`lists`, or the kind of its vectors."""
        return "lists" if self.lists is not None else type(self.vectors).__name__.lower()

    def sizes(self) -> dict[str, int]:
        """The number of items in each of its arrays."""
        if self.lists is not None:
            return {"lists": self.lists.n_items}
        assert self.vectors is not None
        return {"vectors": len(self.vectors.items)} | ({"index": self.index.count} if self.index else {})

    def opinion(self, scratch: Workspace, history: Sequence[int], weights: Sequence[float]) -> PartScores:
        """Its scores for a history: distinct codes, newest first, and the weight of each."""
        if self.lists is not None:
            return ListScores(self.lists, scratch, history, weights)
        assert self.vectors is not None
        return VectorScores(self.vectors, self.index or ExactIndex(self.vectors.items), history, weights)


@dataclass(frozen=True)
class PartScorer:
    """The parts of one recommender, each with the scratch memory of one thread."""

    parts: Mapping[str, ModelPart]
    scratch: Mapping[str, Workspace]

    @classmethod
    def from_parts(cls, parts: Mapping[str, ModelPart], n_items: int) -> PartScorer:
        return cls(parts, {name: Workspace(n_items) for name in ("", *parts)})

    def opinions(self, history: Sequence[int], times: Sequence[int]) -> dict[str, PartScores]:
        """The scores of each part; none for an empty history."""
        if not history:
            return {}
        weighed: dict[HistoryWeights, list[float]] = {}
        opinions = {}
        for name, part in self.parts.items():
            if part.weights not in weighed:
                weighed[part.weights] = part.weights.weigh(times)
            opinions[name] = part.opinion(self.scratch[name], history, weighed[part.weights])
        return opinions

    def distinct(self, codes: np.ndarray) -> np.ndarray:
        """The distinct codes."""
        return codes[self.scratch[""].distinct(codes)]
