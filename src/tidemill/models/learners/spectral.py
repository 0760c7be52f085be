"""Spectral: truncated SVD of the degree-normalised interactions, used as a low-pass filter.

R̃ = (D_u + s)^-½ R (D_i + s)^-b without single-item users, whose isolated items would dominate; V holds its k leading
right singular vectors and σ their strengths. A user vector is the weighted history times the encoder
(D_i + s)^-b V (σ / σ_1)^gain, an item vector is (D_i + s)^out V, and the score is their inner product. A new user or a
new event is thus folded in by one sparse product. With b = out = ½ and gain 0 it is the filter of GF-CF
(Shen et al. 2021); with gain 2 it approaches the linear filter R̃ᵀR̃.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy  # its parts are loaded when they are first used

from tidemill.core.search_space import Space
from tidemill.models.learners.learner import Capabilities, LearnerSpec
from tidemill.models.learners.settings import CountOrZero, NotNegative, Share, number, whole
from tidemill.models.learners.truncated_svd import truncated_svd
from tidemill.models.learners.user_item_matrix import user_item_matrix
from tidemill.models.recommender.interactions import Interactions
from tidemill.models.recommender.user_vectors import Vectors


class Spectral(LearnerSpec, frozen=True, kw_only=True, tag="spectral"):
    """Truncated SVD of the degree-normalised interactions as a low-pass filter: item vectors and user vectors."""

    GRID: ClassVar[dict[str, tuple[Any, ...]]] = LearnerSpec.GRID | {
        "factors": (16, 64, 128),
        "smoothing": (10.0, 3.0, 30.0),
        "recency": ("365 days", "30 days"),
    }
    CAPABILITIES: ClassVar[Capabilities] = Capabilities(auto_order=40)

    #: Dimensions of the vectors.
    factors: CountOrZero | Space | None = None
    #: Added to the degrees of users and items, so that isolated groups of rare items do not dominate.
    smoothing: NotNegative | Space | None = None
    #: Damping of items with many events, 0 to 1.
    item_power: Share | Space = 0.5
    #: Boost of frequent items as recommendations; default: `item_power`.
    out_power: Share | Space | None = None
    #: Exponent of the strength of axes: above 0, strong axes count more.
    gain: NotNegative | Space = 0.0

    def fit(self, events: Interactions, as_of: int) -> Vectors:
        return spectral_vectors(
            events,
            factors=whole(self.factors),
            smoothing=number(self.smoothing),
            gain=number(self.gain),
            item_power=number(self.item_power),
            out_power=None if self.out_power is None else number(self.out_power),
        )


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
    users = user_item_matrix(events)
    users = users[np.diff(users.indptr) > 1]
    degrees = np.maximum(users.sum(axis=0).A1, 1.0) + smoothing  # (n_items)
    sizes = np.maximum(users.sum(axis=1).A1, 1.0) + smoothing  # (n_users)
    normal = (scipy.sparse.diags_array(sizes**-0.5) @ users @ scipy.sparse.diags_array(degrees**-item_power)).tocsr()
    axes, strength = truncated_svd(normal, factors)  # (n_items, k), (k)
    counts = (strength / strength.max(initial=1e-300)) ** gain
    encoder = axes * degrees[:, None] ** -item_power * counts
    items = axes * degrees[:, None] ** (item_power if out_power is None else out_power)
    return Vectors(encoder.astype(np.float32), items.astype(np.float32))
