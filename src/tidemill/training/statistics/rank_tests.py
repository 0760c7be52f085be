"""Tests of association: Spearman's rank correlation, Kruskal & Wallis's test, Pearson's chi-squared.

They equal those of `scipy.stats`, whose import takes 0.7 s of CPU time: more than the tests, and than many a fit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, stdtr

F64 = NDArray[np.float64]


def average_ranks(values: F64) -> F64:
    """The ranks from 1 on, float64 (n); equal values share the mean of theirs.

    >>> average_ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist()
    [3.5, 1.0, 3.5, 2.0]
    """
    _, of, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: F64 = (np.cumsum(counts) - (counts - 1) / 2)[of]
    return ranks


def spearman_p(first: F64, second: F64) -> float:
    """Two-sided p of the ranks of two variables (n,) being uncorrelated, by Student's t; neither is constant."""
    r = float(np.corrcoef(average_ranks(first), average_ranks(second))[0, 1])
    free = len(first) - 2
    rest = (1 - r) * (1 + r)
    return float(2 * stdtr(free, -abs(r) * np.sqrt(free / rest))) if rest > 0 else 0.0


def kruskal_p(values: F64, groups: NDArray[np.int64]) -> float:
    """The p of groups (n,) having the same distribution of `values` (n,), which are not constant; 1 for one group."""
    ranks, n = average_ranks(values), len(values)
    _, of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        return 1.0
    _, ties = np.unique(values, return_counts=True)
    sums = np.bincount(of, weights=ranks)
    h = 12 / (n * (n + 1)) * float((sums**2 / sizes).sum()) - 3 * (n + 1)
    equal = 1 - float((ties.astype(np.float64) ** 3 - ties).sum()) / (float(n) ** 3 - n)
    return float(chdtrc(len(sizes) - 1, max(h / equal, 0.0)))


def chi_squared_p(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """The p of two categorical variables (n,) being independent, each with at least two values."""
    rows, columns = (np.unique(one, return_inverse=True)[1] for one in (first, second))
    counts = np.zeros((int(rows.max()) + 1, int(columns.max()) + 1))
    np.add.at(counts, (rows, columns), 1)
    expected = counts.sum(axis=1)[:, None] * counts.sum(axis=0)[None] / counts.sum()
    free = (counts.shape[0] - 1) * (counts.shape[1] - 1)
    return float(chdtrc(free, float(((counts - expected) ** 2 / expected).sum())))
