"""What a ranked list is worth: hit rate, recall and NDCG at k, and what kind of lists they are.

Definitions follow Järvelin & Kekäläinen (2002) for NDCG and Vargas & Castells (2011) for novelty and diversity.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tidemill.models import Interactions

I32 = npt.NDArray[np.int32]
F64 = npt.NDArray[np.float64]

#: Lists looked at for the diversity within a list.
_LISTS = 2_000


def per_user(ranked: Sequence[I32], targets: Sequence[I32], ks: Sequence[int]) -> dict[str, F64]:
    """`hit_rate@k`, `recall@k` and `ndcg@k` of each user, float64 (n_users).

    >>> per_user([np.array([3, 1])], [np.array([1, -1])], [2])["recall@2"].tolist()
    [0.5]
    """
    found: dict[str, F64] = {}
    for k in ks:
        gain = 1 / np.log2(np.arange(2, k + 2))
        hits = np.zeros((len(ranked), k))
        for row, (items, wanted) in enumerate(zip(ranked, targets, strict=True)):
            hits[row, : len(items[:k])] = np.isin(items[:k], wanted[wanted >= 0])
        n_targets = np.array([len(wanted) for wanted in targets])
        ideal = np.cumsum(gain)[np.minimum(n_targets, k) - 1]
        found[f"hit_rate@{k}"] = (hits.sum(axis=1) > 0).astype(np.float64)
        found[f"recall@{k}"] = hits.sum(axis=1) / n_targets
        found[f"ndcg@{k}"] = hits @ gain / ideal
    return found


def coverage(ranked: Sequence[I32], n_items: int, k: int) -> float:
    """Share of the catalogue that stands in at least one list."""
    shown = np.unique(np.concatenate([items[:k] for items in ranked]))
    return len(shown) / n_items


def novelty(ranked: Sequence[I32], train: Interactions, k: int) -> float:
    """Mean self-information of shown items, in bits: -log2 of the share of users who had them."""
    share = np.bincount(train.item, minlength=train.n_items) / train.n_users
    shown = np.concatenate([items[:k] for items in ranked])
    return float(np.mean(-np.log2(np.minimum(share[shown], 1.0))))


def diversity(ranked: Sequence[I32], vectors: npt.NDArray[np.float32], k: int) -> float:
    """Mean distance (1 - cosine) between two items of a list, by their vectors (n_items, d); 0 for lists of one."""
    lists = [items[:k] for items in ranked if len(items[:k]) > 1]
    if not lists:
        return 0.0
    lists = [lists[i] for i in np.linspace(0, len(lists) - 1, min(len(lists), _LISTS)).astype(int)]
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(length > 0, length, 1.0)
    return float(np.mean([_mean_distance(unit[items]) for items in lists]))


def _mean_distance(unit: npt.NDArray[np.floating]) -> float:
    n = len(unit)
    cosine = unit @ unit.T
    return float(1 - (cosine.sum() - np.trace(cosine)) / (n * (n - 1)))
