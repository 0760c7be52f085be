"""Popularity tiers (head, middle, tail): items by popularity, each tier with a third of the events."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]

HEAD, MIDDLE, TAIL, NEW = range(4)
TIERS = ("head", "middle", "tail", "never trained on")


def tiers(counts: I64, n_catalogue: int) -> I64:
    """int64 (n_catalogue): `HEAD` for the most popular items with the first third of the events, and so on.

    `counts` are training events by code; higher codes were never trained on.

    >>> tiers(np.array([1, 6, 1, 2, 2]), 6).tolist()
    [2, 0, 2, 1, 2, 3]
    """
    order = np.lexsort((np.arange(len(counts)), -counts))
    before = np.cumsum(counts[order]) - counts[order]
    found = np.full(n_catalogue, NEW, np.int64)
    found[order] = np.minimum(3 * before // max(int(counts.sum()), 1), TAIL)
    return found
