"""Ranking metrics: hit rate, recall and NDCG at k, by user or by any slice of the targets.

NDCG follows Järvelin & Kekäläinen (2002) with gains of one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


def per_user(ranked: Sequence[I32], targets: Sequence[I32], ks: Sequence[int]) -> dict[str, F64]:
    """`hit_rate@k`, `recall@k` and `ndcg@k` of each user, float64 (n_users).

    >>> per_user([np.array([3, 1])], [np.array([1, -1])], [2])["recall@2"].tolist()
    [0.5]
    """
    return measured_at(places(ranked, targets), owners(targets), len(targets), ks)


def owners(lists: Sequence[I32]) -> I64:
    """int64 (all entries): the index of the list that each entry belongs to."""
    return np.repeat(np.arange(len(lists)), [len(one) for one in lists])


def flat(lists: Sequence[I32]) -> I64:
    """int64 (all entries): the concatenated lists."""
    return np.concatenate([np.zeros(0, np.int64), *lists]).astype(np.int64)


def places(ranked: Sequence[I32], targets: Sequence[I32]) -> I64:
    """int64 (all targets): the rank of each target in its list, from 0; -1 if missing. Code -1 is in no list."""
    given, wanted = flat(ranked), flat(targets)
    stride = max(given.max(initial=0), wanted.max(initial=0)) + 2
    row = owners(ranked)
    place = np.arange(len(given)) - np.searchsorted(row, row)
    key = row * stride + given + 1
    order = np.argsort(key, kind="stable")  # of a repeated item, the first position
    order = order[given[order] >= 0]
    target_keys = owners(targets) * stride + wanted + 1
    if not len(order):
        return np.full(len(target_keys), -1, np.int64)
    found = np.minimum(np.searchsorted(key[order], target_keys), len(order) - 1)
    return np.where(key[order][found] == target_keys, place[order][found], -1).astype(np.int64)


def measured_at(place: I64, owner: I64, n: int, ks: Sequence[int]) -> dict[str, F64]:
    """The metrics of `n` lists from the rank of each target and the index of its list; each list needs a target."""
    n_targets = np.bincount(owner, minlength=n)
    found: dict[str, F64] = {}
    for k in ks:
        gain = 1 / np.log2(np.arange(2, k + 2))
        hit = (place >= 0) & (place < k)
        hits = np.bincount(owner[hit], minlength=n)
        gained = np.bincount(owner[hit], weights=gain[place[hit]], minlength=n)
        found[f"hit_rate@{k}"] = (hits > 0).astype(np.float64)
        found[f"recall@{k}"] = hits / n_targets
        found[f"ndcg@{k}"] = gained / np.cumsum(gain)[np.minimum(n_targets, k) - 1]
    return found
