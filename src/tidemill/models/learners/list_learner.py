"""Base class of learners of item-to-item lists, with spectral vectors as a second component."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from tidemill.core.search_space import Space
from tidemill.models.learners.learner import LearnerSpec, PartRecipe
from tidemill.models.learners.settings import Count, CountOrZero, NotNegative, Share, number, whole
from tidemill.models.learners.spectral import Spectral
from tidemill.models.recommender.history_weights import HistoryWeights

#: Added to degrees if vectors are combined with lists.
SMOOTHING = 10.0


class ListLearner(LearnerSpec, frozen=True, kw_only=True):
    """Base of learners of item-to-item lists, with spectral vectors as a second component and its share."""

    GRID: ClassVar[dict[str, tuple[Any, ...]]] = LearnerSpec.GRID | {
        "recency": ("365 days", "30 days"),
        "spectral_share": (0.3, 0.0, 0.6),
        "factors": (16, 64),
    }
    ANSWER_SETTINGS: ClassVar[frozenset[str]] = LearnerSpec.ANSWER_SETTINGS | {
        "spectral_share",
        "factors",
        "rank_power",
        "last_day",
    }

    #: Number of neighbours kept per item.
    neighbours: Count | Space = 100
    #: Share of the spectral score in the relevance, 0 to 1.
    spectral_share: Share | Space | None = None
    #: Dimensions of the spectral vectors, which also retrieve candidates; 0 for none.
    factors: CountOrZero | Space | None = None
    #: Exponent of the rank weight of a user's items: rank^-rank_power, 1 being the newest.
    rank_power: NotNegative | Space = 0.3
    #: Only items of the user's last day count.
    last_day: bool = False

    def parts(self) -> frozenset[str]:
        return super().parts() if self.factors == 0 else super().parts() | {"spectral"}

    def history_weights(self) -> HistoryWeights:
        shared = super().history_weights()
        return HistoryWeights(
            recency_days=shared.recency_days, rank_power=number(self.rank_power), last_day=self.last_day
        )

    def part_recipes(self) -> dict[str, PartRecipe]:
        factors = whole(self.factors or 0)
        share = number(self.spectral_share or 0.0) if factors else 0.0
        parts = {name: replace(recipe, share=1 - share) for name, recipe in super().part_recipes().items()}
        if factors:
            (vectors,) = Spectral(factors=factors, smoothing=SMOOTHING, gain=0.0).settled().part_recipes().values()
            parts["spectral"] = replace(vectors, share=share, weights=self.history_weights())
        return parts
