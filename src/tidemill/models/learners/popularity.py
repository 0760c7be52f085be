"""Popularity: the most popular items of the last days; it needs no training, and live counts keep it up to date."""

from __future__ import annotations

from typing import Any, ClassVar

from tidemill.core.search_space import Space
from tidemill.models.learners.learner import Capabilities, LearnerSpec, PartRecipe
from tidemill.models.learners.settings import Count, whole
from tidemill.models.recommender.recommender import Prior


class Popularity(LearnerSpec, frozen=True, kw_only=True, tag="popularity"):
    """The most popular items of the last days: the baseline of every evaluation; few days: trending items."""

    GRID: ClassVar[dict[str, tuple[Any, ...]]] = {}
    CAPABILITIES: ClassVar[Capabilities] = Capabilities(auto_order=0, in_blend=False)

    days: Count | Space = 30

    def parts(self) -> frozenset[str]:
        return frozenset({"popularity"})

    def part_recipes(self) -> dict[str, PartRecipe]:
        return {}

    def popularity_prior(self) -> Prior:
        return Prior(share=1.0, steps=((whole(self.days), 1.0),))


def popularity(days: Any = 30) -> Popularity:
    """The most popular items of the last `days` days; with few days: trending items."""
    return Popularity(days=days)
