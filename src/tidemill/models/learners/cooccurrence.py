"""Cooccurrence: item-to-item lists from co-occurrence counts, decayed by the time between two events and by age.

Pairs of events are additive counts, see `pair_counts`; with two hops, lists contain the neighbours of neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from tidemill.core.search_space import Space
from tidemill.models.counts.additive_counts import CountedLists, RecentEvents
from tidemill.models.counts.engine_counts import CooccurrenceBound
from tidemill.models.counts.pair_counts import PairCounts, PairSettings
from tidemill.models.learners.learner import Capabilities
from tidemill.models.learners.list_learner import ListLearner
from tidemill.models.learners.settings import Count, NotNegative, Positive, Share, TimeLength, in_days, number, whole
from tidemill.models.learners.two_hop import WIDTH, two_hop_weights
from tidemill.models.recommender.item_lists import ItemLists


class Cooccurrence(ListLearner, frozen=True, kw_only=True, tag="cooccurrence"):
    """Time-decayed item-to-item co-occurrence, blended with spectral vectors and decayed popularity."""

    GRID: ClassVar[dict[str, tuple[Any, ...]]] = ListLearner.GRID | {
        "damping": (0.25, 0.1, 0.5),
        "backward": (1.0, 0.5),
        "half_life": ("1500 days", "365 days"),  # last: it needs other counts
    }
    CAPABILITIES: ClassVar[Capabilities] = Capabilities(auto_order=20, needs_times=True)

    #: Damping of frequent items, on both sides.
    damping: Share | Space | None = None
    #: Half-life of a pair of events.
    half_life: TimeLength | Space | None = None
    #: Time constant by which the weight of a pair falls with the time between its events.
    gap: TimeLength | Space = "1000 days"
    #: Weight of "b was taken before a" relative to "b was taken after a".
    backward: Share | Space | None = None
    #: Maximum distance, in events of one user, of a counted pair.
    max_lag: Count | Space = 60
    #: A pair counts lag^-lag_power.
    lag_power: NotNegative | Space = 0.5
    #: Added to counts before damping.
    smooth: NotNegative | Space = 5.0
    #: Exponent of the entries: below 1, weak pairs count more relative to strong ones.
    power: Positive | Space = 1.0
    #: Damping of frequent items as recommendations; default: as in the history.
    damping_to: Share | Space | None = None
    #: 2: neighbours of neighbours, which finds pairs that no user has taken together yet.
    hops: Annotated[int, Meta(ge=1, le=2)] | Space = 1
    #: Boost for items of growing popularity, and the number of recent days to compare.
    trend: NotNegative | Space = 0.0
    trend_days: Count | Space = 90

    def make(self) -> CountedLists:
        counts = PairSettings(
            half_life_days=in_days(self.half_life),
            gap_days=in_days(self.gap),
            max_lag=whole(self.max_lag),
            lag_power=number(self.lag_power),
        )
        return pair_lists(
            counts,
            whole(self.neighbours),
            backward=number(self.backward),
            damping=number(self.damping),
            damping_to=None if self.damping_to is None else number(self.damping_to),
            smooth=number(self.smooth),
            power=number(self.power),
            trend=number(self.trend),
            trend_days=whole(self.trend_days),
            hops=whole(self.hops),
        )


def cooccurrence(**settings: Any) -> Cooccurrence:
    """Time-decayed co-occurrence with decayed popularity, the default: `cooccurrence(half_life="365 days")`.

    Settings are the fields of `Cooccurrence`; missing ones are chosen on validation days.
    """
    return Cooccurrence.from_settings(settings)


def pair_lists(
    settings: PairSettings, neighbours: int, *, trend_days: int = 0, hops: int = 1, **shape: Any
) -> CountedLists:
    """Lists of items that are taken close in time, or with `hops` 2 of their neighbours.

    `shape` are the keyword arguments of `PairCounts.matrix`.
    """

    def lists(counts: PairCounts, items: Sequence[str], as_of: int, recent: RecentEvents) -> ItemLists:
        late = recent(trend_days) if shape.get("trend") else None
        matrix = counts.matrix(items, as_of, recent=late, **shape)
        return ItemLists.from_matrix(two_hop_weights(matrix) if hops == 2 else matrix, neighbours)

    bound = CooccurrenceBound(WIDTH if hops == 2 else neighbours, trend_days, shape)
    return CountedLists(settings, lists, trend_days if shape.get("trend") else 0, bound)
