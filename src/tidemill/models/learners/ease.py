"""EASE: item-to-item weights by ridge regression, in closed form, for small catalogues (Steck 2019).

B minimises ‖X - XB‖² + l2 · ‖B‖² with an empty diagonal. With P = (XᵀX + l2 · I)⁻¹ it is B_ij = -P_ij / P_jj. A score
is the history times B, so folding in a user means adding rows. In the Gram matrix XᵀX, a pair of one user's items
counts 1 or, with a `gap`, (exp(-Δt / gap) + 0.1) / 1.1 by the time between them: a kernel (positive semi-definite), so
the sum is still a Gram matrix.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy  # its parts are loaded when they are first used

from tidemill.core.errors import CatalogueTooLarge, LearnError, SettingRefused
from tidemill.core.search_space import Space
from tidemill.models.learners.learner import Capabilities, LearnerSpec
from tidemill.models.learners.settings import Count, Positive, TimeLength, in_days, number, whole
from tidemill.models.learners.user_item_matrix import LONGEST, user_item_matrix
from tidemill.models.recommender.event_facts import DAY_US
from tidemill.models.recommender.interactions import F64, Interactions
from tidemill.models.recommender.item_lists import ItemLists

#: Maximum number of items: the inverse for 20,000 takes 3.2 GB and minutes; twice the items take eight times as
#: long.
MOST_ITEMS = 20_000
#: Minimum weight of a pair, however long the time between its events, if pairs are weighted by time.
FLOOR = 0.1
#: Number of rows processed at a time.
_ROWS = 1_000


class Ease(LearnerSpec, frozen=True, kw_only=True, tag="ease"):
    """Linear item-to-item weights in closed form, for catalogues of up to some ten thousand items (Steck 2019)."""

    GRID: ClassVar[dict[str, tuple[Any, ...]]] = LearnerSpec.GRID | {
        "l2": (200.0, 20.0, 1000.0),
        "recency": ("365 days", "30 days"),
    }
    CAPABILITIES: ClassVar[Capabilities] = Capabilities(auto_order=50)

    #: L2 regularisation of the weights.
    l2: Positive | Space | None = None
    neighbours: Count | Space = 300
    #: Time constant of the weight of a pair of a user's items; without it all pairs count alike.
    gap: TimeLength | Space | None = None

    def fit(self, events: Interactions, as_of: int) -> ItemLists:
        return ease_lists(
            events,
            l2=number(self.l2),
            neighbours=whole(self.neighbours),
            gap_days=in_days(self.gap) if self.gap else None,
        )


def ease(**settings: Any) -> Ease:
    """Closed-form linear item-to-item weights, for small catalogues; settings are the fields of `Ease`."""
    return Ease.from_settings(settings)


def ease_lists(
    events: Interactions,
    *,
    l2: float,
    neighbours: int,
    gap_days: float | None = None,
) -> ItemLists:
    """The `neighbours` largest weights of each item by magnitude: row i has the weights of item i in a history.

    Negative weights are kept because dense data need them: on MovieLens-100k the 300 largest by magnitude keep 99% of
    the full matrix's NDCG@20, the 300 largest positive ones 96%. Raises what `ease_weights` raises.
    """
    weights = ease_weights(events, l2=l2, gap_days=gap_days)
    kept = min(neighbours, len(weights))
    blocks = []
    for start in range(0, len(weights), _ROWS):
        rows = weights[start : start + _ROWS]
        best = np.argpartition(-np.abs(rows), kept - 1, axis=1)[:, :kept]  # (rows, kept)
        values = np.take_along_axis(rows, best, axis=1)
        blocks.append(
            scipy.sparse.csr_matrix((values.ravel(), best.ravel(), np.arange(len(rows) + 1) * kept), shape=rows.shape)
        )
    return ItemLists.from_matrix(scipy.sparse.vstack(blocks, format="csr"), neighbours, signed=True)


def ease_weights(
    events: Interactions,
    *,
    l2: float,
    gap_days: float | None = None,
) -> F64:
    """B, float64 (n_items, n_items), with zero diagonal; the score of item j for a 0/1 row x is (x @ B)[j].

    Without `gap_days` all pairs count 1. Raises `CatalogueTooLarge` above `MOST_ITEMS` items, and `SettingRefused` for
    a non-positive `l2`, for which the matrix may not be invertible.
    """
    if events.n_items > MOST_ITEMS:
        raise CatalogueTooLarge(
            f"ease inverts a matrix of {events.n_items:,} × {events.n_items:,} items; the limit is {MOST_ITEMS:,}",
            tip="use `cooccurrence()`, `item_knn()` or `spectral()`, whose cost grows with the number of events",
        )
    if not l2 > 0:
        raise SettingRefused(f"ease(l2={l2!r}): it must be a number above 0")
    return _solved(_gram(events) if gap_days is None else _timed_gram(events, gap_days), l2)


def _gram(events: Interactions) -> scipy.sparse.csr_matrix[Any]:
    users = user_item_matrix(events)
    users = users[np.diff(users.indptr) <= LONGEST]
    gram: scipy.sparse.csr_matrix[Any] = (users.T @ users).tocsr()
    return gram


def _timed_gram(events: Interactions, gap_days: float) -> scipy.sparse.csr_matrix[Any]:
    """The Gram matrix with time-weighted pairs; of a user's events of one item, the last one counts."""
    user, item, time = _last_events(events)
    n, longest = events.n_items, int(np.bincount(user).max(initial=0))
    upper: scipy.sparse.csr_matrix[Any] = scipy.sparse.csr_matrix((n, n))
    for lag in range(1, longest):
        first = np.flatnonzero(user[:-lag] == user[lag:])
        apart = (time[first + lag] - time[first]) / (DAY_US * gap_days)
        weight = (np.exp(-apart) + FLOOR) / (1 + FLOOR)
        upper = upper + scipy.sparse.csr_matrix((weight, (item[first], item[first + lag])), shape=(n, n))
    own = np.bincount(item, minlength=n).astype(np.float64)
    gram: scipy.sparse.csr_matrix[Any] = (upper + upper.T + scipy.sparse.diags_array(own)).tocsr()
    return gram


def _last_events(events: Interactions) -> tuple[Any, Any, Any]:
    """User, item and time of each user's last event of each item, by user and time; without overlong users."""
    pair = events.user.astype(np.int64) * events.n_items + events.item
    _, from_end = np.unique(pair[::-1], return_index=True)
    last = np.sort(len(pair) - 1 - from_end)
    user, item, time = events.user[last], events.item[last], events.time[last]
    keep = np.bincount(user, minlength=events.n_users)[user] <= LONGEST
    return user[keep], item[keep], time[keep]


def _solved(gram: scipy.sparse.csr_matrix[Any], l2: float) -> F64:
    """-P_ij / P_jj in the memory of one matrix: Cholesky, inverse and division in place."""
    n = gram.shape[0]
    inverse: F64 = np.zeros((n, n), order="F")
    gram.astype(np.float64).toarray(out=inverse)
    diagonal = np.arange(n)
    inverse[diagonal, diagonal] += l2
    _, failed = scipy.linalg.lapack.dpotrf(inverse, lower=1, clean=0, overwrite_a=1)
    if not failed:
        _, failed = scipy.linalg.lapack.dpotri(inverse, lower=1, overwrite_c=1)
    if failed:
        raise LearnError("the items' Gram matrix has no inverse", tip="use a larger `l2`")
    for start in range(0, n, _ROWS):  # only the lower triangle was computed
        end = min(start + _ROWS, n)
        own = inverse[start:end, start:end]
        own[:] = np.tril(own) + np.tril(own, -1).T
        inverse[start:end, end:] = inverse[end:, start:end].T
    weights = inverse.T  # row-major, and symmetric
    weights /= -np.diagonal(weights).copy()
    weights[diagonal, diagonal] = 0.0
    return weights
