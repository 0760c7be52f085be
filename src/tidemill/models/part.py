"""A model's parts: item-to-item lists or vectors under a name, with their own way to weigh a history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tidemill.core.ports import VectorIndex
from tidemill.models.exact import ExactIndex
from tidemill.models.history import HistoryWeights
from tidemill.models.item_lists import ItemLists
from tidemill.models.opinion import ListOpinion, Opinion, Scratch, UserVectors, VectorOpinion


@dataclass(frozen=True, eq=False, kw_only=True)
class Part:
    """Lists or vectors; exactly one of both is given."""

    #: Its share in the relevance; what a ranker scores by does not depend on it, what explains an answer does.
    share: float
    weights: HistoryWeights = field(default_factory=HistoryWeights)
    lists: ItemLists | None = None
    vectors: UserVectors | None = None
    #: Of the vectors; without one they are scanned, which is exact and slower.
    index: VectorIndex | None = None
    #: At most this many candidates are drawn from it; `None`: as many as the slate asks for.
    draws: int | None = None

    def __post_init__(self) -> None:
        if (self.lists is None) == (self.vectors is None):
            raise ValueError("a part has either lists or vectors")

    @property
    def kind(self) -> str:
        """`lists`, or the kind of its vectors."""
        return "lists" if self.lists is not None else type(self.vectors).__name__.lower()

    def sizes(self) -> dict[str, int]:
        """How many items each of its arrays knows."""
        if self.lists is not None:
            return {"lists": self.lists.n_items}
        assert self.vectors is not None
        return {"vectors": len(self.vectors.items)} | ({"index": self.index.count} if self.index else {})

    def opinion(self, scratch: Scratch, history: Sequence[int], weights: Sequence[float]) -> Opinion:
        """What it says about a history: distinct codes, newest first, and how much each one counts."""
        if self.lists is not None:
            return ListOpinion(self.lists, scratch, history, weights)
        assert self.vectors is not None
        return VectorOpinion(self.vectors, self.index or ExactIndex(self.vectors.items), history, weights)


@dataclass(frozen=True)
class Asked:
    """The parts of one recommender, each with the scratch memory of one thread."""

    parts: Mapping[str, Part]
    scratch: Mapping[str, Scratch]

    @classmethod
    def of(cls, parts: Mapping[str, Part], n_items: int) -> Asked:
        return cls(parts, {name: Scratch(n_items) for name in ("", *parts)})

    def opinions(self, history: Sequence[int], times: Sequence[int]) -> dict[str, Opinion]:
        """What each part says; nothing where there is no history."""
        if not history:
            return {}
        weighed: dict[HistoryWeights, list[float]] = {}
        opinions = {}
        for name, part in self.parts.items():
            if part.weights not in weighed:
                weighed[part.weights] = part.weights.of(times)
            opinions[name] = part.opinion(self.scratch[name], history, weighed[part.weights])
        return opinions

    def distinct(self, codes: np.ndarray) -> np.ndarray:
        """Each code once."""
        return codes[self.scratch[""].distinct(codes)]
