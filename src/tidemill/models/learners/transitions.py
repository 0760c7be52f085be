"""Transitions: a first-order Markov chain over items, from pairs of consecutive events."""

from __future__ import annotations

from typing import Any, ClassVar

from tidemill.core.search_space import Space
from tidemill.models.counts.additive_counts import CountedLists
from tidemill.models.counts.pair_counts import PairSettings
from tidemill.models.learners.cooccurrence import pair_lists
from tidemill.models.learners.learner import Capabilities, LearnerSpec
from tidemill.models.learners.settings import Count, Share, TimeLength, in_days, number, whole
from tidemill.models.recommender.history_weights import HistoryWeights

#: Time constant by which the weight of a pair falls with the time between its events.
GAP_DAYS = 365.0


class Transitions(LearnerSpec, frozen=True, kw_only=True, tag="transitions"):
    """A first-order Markov chain over items (the item taken next), damped by item frequency."""

    GRID: ClassVar[dict[str, tuple[Any, ...]]] = LearnerSpec.GRID | {
        "damping": (0.25, 0.0, 0.5),
        "half_life": ("1500 days", "365 days"),
        "recency": ("30 days", "365 days"),
    }
    CAPABILITIES: ClassVar[Capabilities] = Capabilities(auto_order=30, needs_times=True)

    damping: Share | Space | None = None
    half_life: TimeLength | Space | None = None
    #: Number of steps ahead that count: with 1, only the next item.
    steps: Count | Space = 1
    neighbours: Count | Space = 100

    def history_weights(self) -> HistoryWeights:
        return HistoryWeights(recency_days=super().history_weights().recency_days, rank_power=1.0)

    def make(self) -> CountedLists:
        counts = PairSettings(half_life_days=in_days(self.half_life), gap_days=GAP_DAYS, max_lag=whole(self.steps))
        return pair_lists(counts, whole(self.neighbours), backward=0.0, damping=number(self.damping))


def transitions(**settings: Any) -> Transitions:
    """A first-order Markov chain over items; settings are the fields of `Transitions`."""
    return Transitions.from_settings(settings)
