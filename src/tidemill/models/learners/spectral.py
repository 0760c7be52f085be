"""Spectral: truncated SVD of the degree-normalised interactions, used as a low-pass filter.

R̃ = (D_u + s)^-½ R (D_i + s)^-b without single-item users, whose isolated items would dominate; V holds its k leading
right singular vectors and σ their strengths. A user vector is the weighted history times the encoder
(D_i + s)^-b V (σ / σ_1)^gain, an item vector is (D_i + s)^out V, and the score is their inner product. A new user or a
new event is thus folded in by one sparse product. With b = out = ½ and gain 0 it is the filter of GF-CF
(Shen et al. 2021); with gain 2 it approaches the linear filter R̃ᵀR̃.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from math import log2
from typing import Any, ClassVar

import numpy as np
import scipy  # its parts are loaded when they are first used

from tidemill.core.search_space import Space
from tidemill.models.learners.learner import Capabilities, LearnerSpec
from tidemill.models.learners.settings import CountOrZero, NotNegative, Share, number, whole
from tidemill.models.learners.truncated_svd import truncated_svd
from tidemill.models.learners.user_item_matrix import user_item_matrix
from tidemill.models.recommender.history_weights import HistoryWeights
from tidemill.models.recommender.interactions import F32, F64, Interactions
from tidemill.models.recommender.user_vectors import Vectors

#: Events per factor of the largest number of factors that is tried, a power of two, and its bounds.
EVENTS_PER_FACTOR, LEAST, MOST = 800, 16, 1024


class Spectral(LearnerSpec, frozen=True, kw_only=True, tag="spectral"):
    """Truncated SVD of the degree-normalised interactions as a low-pass filter: item vectors and user vectors."""

    GRID: ClassVar[dict[str, tuple[Any, ...]]] = LearnerSpec.GRID | {
        "factors": (16, 64, 128),
        "recency": ("365 days", "30 days"),
        "rank_power": (0.3, 0.0),
        "gain": (0.5, 0.25, 1.0),  # on no data set that was tried is 0 better than 0.5 by more than noise
        "smoothing": (10.0, 3.0, 30.0),
        "item_power": (0.5, 0.6),
    }
    CAPABILITIES: ClassVar[Capabilities] = Capabilities(auto_order=40)
    ANSWER_SETTINGS: ClassVar[frozenset[str]] = LearnerSpec.ANSWER_SETTINGS | {"rank_power"}

    #: Dimensions of the vectors. If left out, the values to try grow with the number of events.
    factors: CountOrZero | Space | None = None
    #: Added to the degrees of users and items, so that isolated groups of rare items do not dominate.
    smoothing: NotNegative | Space | None = None
    #: Damping of items with many events, 0 to 1.
    item_power: Share | Space | None = None
    #: Boost of frequent items as recommendations; default: `item_power`.
    out_power: Share | Space | None = None
    #: Exponent of the strength of axes: above 0, strong axes count more.
    gain: NotNegative | Space | None = None
    #: Exponent of the rank weight of a user's items: rank^-rank_power, 1 being the newest.
    rank_power: NotNegative | Space | None = None

    def open(self, n_events: int | None = None) -> dict[str, tuple[Any, ...]]:
        found = super().open(n_events)
        if n_events is not None and "factors" in found:
            found["factors"] = factors_to_try(n_events)
        return found

    def make(self) -> SpectralMake:
        return SpectralMake(
            factors=whole(self.factors),
            smoothing=number(self.smoothing),
            item_power=number(self.item_power),
            out_power=None if self.out_power is None else number(self.out_power),
            gain=number(self.gain),
        )

    def history_weights(self) -> HistoryWeights:
        shared = super().history_weights()
        return HistoryWeights(recency_days=shared.recency_days, rank_power=number(self.rank_power))


def factors_to_try(n_events: int) -> tuple[int, ...]:
    """Numbers of factors to try on so many events: a moderate one first, then four times and a quarter of it.

    >>> factors_to_try(800_000), factors_to_try(100_000), factors_to_try(1_000)
    ((256, 1024, 64), (32, 128, 16), (16,))
    """
    most = min(max(2 ** round(log2(max(n_events, 1) / EVENTS_PER_FACTOR)), LEAST), MOST)
    return tuple(dict.fromkeys(max(factors, LEAST) for factors in (most // 4, most, most // 16)))


def spectral(**settings: Any) -> Spectral:
    """A spectral linear model with item and user vectors; settings are the fields of `Spectral`."""
    return Spectral.from_settings(settings)


def spectral_vectors(
    events: Interactions,
    *,
    factors: int,
    smoothing: float,
    gain: float = 0.0,
    item_power: float = 0.5,
    out_power: float | None = None,
) -> Vectors:
    """Vectors of every item of `events`; an item with only single-item users has a zero vector.

    `item_power`, b, damps items with many events; `out_power`, by default the same, boosts them in the
    recommendations; `gain` is the weight of strong axes over weak ones. Fewer than `factors` columns are returned if
    the data have a lower rank.
    """
    make = SpectralMake(factors=factors, smoothing=smoothing, item_power=item_power, out_power=out_power, gain=gain)
    return make(events, 0)


@dataclass(frozen=True)
class _Axes:
    """Axes float32 (n_items, k), their strength relative to the first (k), and smoothed degrees (n_items)."""

    axes: F32
    strength: F64
    degrees: F64


@dataclass(frozen=True, kw_only=True)
class SpectralMake:
    """Training in two steps: the SVD, then the powers and the gain."""

    factors: int
    smoothing: float
    item_power: float
    out_power: float | None
    gain: float

    def __call__(self, events: Interactions, as_of: int) -> Vectors:
        """The vectors of these events."""
        return self.second(self.first(events, as_of), events, as_of)

    @property
    def key(self) -> Hashable:
        """The SVD does not depend on the gain, nor on `out_power`."""
        return self.factors, self.smoothing, self.item_power

    def first(self, events: Interactions, as_of: int) -> _Axes:
        """The truncated SVD of the normalised matrix."""
        users = user_item_matrix(events)
        users = users[np.diff(users.indptr) > 1]
        degrees = np.maximum(users.sum(axis=0).A1, 1.0) + self.smoothing  # (n_items)
        sizes = np.maximum(users.sum(axis=1).A1, 1.0) + self.smoothing  # (n_users)
        damped = scipy.sparse.diags_array(degrees**-self.item_power)
        normal = (scipy.sparse.diags_array(sizes**-0.5) @ users @ damped).tocsr()
        axes, strength = truncated_svd(normal, self.factors)  # (n_items, k), (k)
        return _Axes(axes.astype(np.float32), strength / strength.max(initial=1e-300), degrees)

    def second(self, shared: _Axes, events: Interactions, as_of: int) -> Vectors:
        """Vectors from the axes."""
        out_power = self.item_power if self.out_power is None else self.out_power
        damped = (shared.degrees**-self.item_power).astype(np.float32)
        boosted = (shared.degrees**out_power).astype(np.float32)
        counts = (shared.strength**self.gain).astype(np.float32)
        return Vectors(shared.axes * damped[:, None] * counts, shared.axes * boosted[:, None])
