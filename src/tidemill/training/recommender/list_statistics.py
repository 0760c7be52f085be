"""Statistics of recommendation lists: popularity, coverage and diversity of their items.

Novelty and diversity follow Vargas & Castells (2011). Popularity bias follows Abdollahpouri et al. (2019): the shown
items compared with the items that users took.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tidemill.core.records.quality import ListStatistics
from tidemill.models import Interactions
from tidemill.training.recommender.popularity_tiers import HEAD, tiers

I32 = npt.NDArray[np.int32]
F64 = npt.NDArray[np.float64]

#: Maximum number of lists for the diversity within a list.
_LISTS = 2_000


def list_statistics(
    lists: Sequence[I32], train: Interactions, k: int | None, vectors: npt.NDArray[np.float32] | None = None
) -> ListStatistics:
    """Statistics of the first `k` positions (`None`: all); items never trained on are left out.

    `vectors` (n_items, d) are used for the diversity.
    """
    counts = np.bincount(train.item, minlength=train.n_items)
    shown = _shown(lists, train.n_items, k)
    fewer = np.searchsorted(np.sort(counts), counts) / len(counts)
    head = tiers(counts, len(counts)) == HEAD
    return ListStatistics(
        popularity=_mean(counts[shown]),
        percentile=_mean(fewer[shown]),
        head_share=_mean(head[shown]),
        gini=gini(np.bincount(shown, minlength=train.n_items)) if len(shown) else None,
        coverage=coverage(lists, train.n_items, k),
        novelty=novelty(lists, train, k),
        diversity=None if vectors is None else diversity(lists, vectors, k),
    )


def coverage(lists: Sequence[I32], n_items: int, k: int | None) -> float:
    """Share of the catalogue's items that are in at least one list."""
    return len(np.unique(_shown(lists, n_items, k))) / n_items


def novelty(lists: Sequence[I32], train: Interactions, k: int | None) -> float | None:
    """Mean self-information of shown items, in bits: -log2 of the share of users who had them."""
    share = np.bincount(train.item, minlength=train.n_items) / train.n_users
    return _mean(-np.log2(np.minimum(share[_shown(lists, train.n_items, k)], 1.0)))


def diversity(lists: Sequence[I32], vectors: npt.NDArray[np.float32], k: int | None) -> float | None:
    """Mean distance (1 - cosine) between two items of a list, by their vectors (n_items, d).

    An item without a vector (never taken together with another) has the largest distance to all others. `None` if no
    list has two items or no item has a vector.
    """
    cut = [items[:k][items[:k] < len(vectors)] for items in lists]
    several = [items for items in cut if len(items) > 1]
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not several or not length.any():
        return None
    several = [several[i] for i in np.linspace(0, len(several) - 1, min(len(several), _LISTS)).astype(int)]
    unit = vectors / np.where(length > 0, length, 1.0)
    return float(np.mean([_mean_distance(unit[items]) for items in several]))


def gini(counts: npt.NDArray[np.integer]) -> float:
    """The Gini coefficient of counts: 0 where all are equal, (n - 1)/n where one has everything.

    >>> gini(np.array([2, 2, 2, 2])), gini(np.array([0, 0, 0, 9]))
    (0.0, 0.75)
    """
    n, total = len(counts), counts.sum()
    ranks = np.arange(1, n + 1)
    return float((2 * ranks - n - 1) @ np.sort(counts) / (n * total)) if total else 0.0


def _shown(lists: Sequence[I32], n_items: int, k: int | None) -> I32:
    shown = np.concatenate([np.zeros(0, np.int32), *(items[:k] for items in lists)])
    return shown[(shown >= 0) & (shown < n_items)].astype(np.int32)


def _mean(values: npt.NDArray[np.generic]) -> float | None:
    return float(np.mean(values)) if len(values) else None  # type: ignore[arg-type]


def _mean_distance(unit: npt.NDArray[np.floating]) -> float:
    n = len(unit)
    cosine = unit @ unit.T
    return float(1 - (cosine.sum() - np.trace(cosine)) / (n * (n - 1)))
