"""Exact Shapley values of symmetric trees, by a table: they depend only on the row's leaf.

The expected value of a tree when only some columns are known uses the weights of the training rows in each branch
(the path-dependent expectation of Lundberg et al. 2020); the root is the last level, as in CatBoost.
"""

from __future__ import annotations

from functools import cache
from math import factorial

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
#: Deeper trees have tables of more than 2^20 expectations each.
DEEPEST = 10
#: Maximum number of values in a block of trees.
_BLOCK = 4_000_000


def shapley_table(splits: NDArray[np.int64], leaves: F64, counts: F64) -> tuple[NDArray[np.int64], F64, F64]:
    """`(columns (t, d), values (t, d, 2^d, k), base (k))` of trees that split by `splits` (t, d) column numbers.

    A row in leaf p of tree t has the value `values[t, g, p]` for column `columns[t, g]`; unused entries are -1.
    """
    trees, depth = splits.shape
    k, size = leaves.shape[2], 1 << depth
    columns = np.full((trees, depth), -1, np.int64)
    values, base = np.zeros((trees, depth, size, k)), np.zeros(k)
    block = max(1, _BLOCK // (size * size * k))
    for start in range(0, trees, block):
        expected = expectations(leaves[start : start + block], counts[start : start + block])  # (2^d masks, t, 2^d, k)
        base += expected[0, :, 0].sum(axis=0)
        for tree in range(start, min(start + block, trees)):
            groups, distinct = _groups(splits[tree].tolist())
            columns[tree, : len(distinct)] = distinct
            weights = _weights(groups)
            values[tree, : len(distinct)] = np.tensordot(weights, expected[:, tree - start], axes=1)
    return columns, values, base


def expectations(leaves: F64, counts: F64) -> F64:
    """float64 (2^d, t, 2^d, k): the expected value of each tree for a row in leaf p, if only the levels in a mask are
    known. A split that no training row reached weights both branches equally.
    """
    t, size, k = leaves.shape
    expected, weights = leaves[None], counts  # one mask so far, the empty one
    for level in range(size.bit_length() - 1):
        # Bits above this level come first, bits below it last; the lower bits are those of the row if known.
        above, below = size >> (level + 1), 1 << level
        pairs = weights.reshape(t, above, 2)
        total = pairs.sum(axis=2, keepdims=True)
        share = np.where(total > 0, pairs / np.where(total > 0, total, 1.0), 0.5)[None, :, :, :, None, None]
        split = expected.reshape(-1, t, above, 2, below, k)
        averaged = np.broadcast_to((split * share).sum(axis=3, keepdims=True), split.shape)
        expected = np.concatenate(
            [averaged.reshape(expected.shape), expected]
        )  # masks without this level, then with it
        weights = total[:, :, 0]
    return expected


def _groups(columns: list[int]) -> tuple[tuple[int, ...], list[int]]:
    """The group index of each level's column, and the distinct columns."""
    distinct = list(dict.fromkeys(columns))
    return tuple(distinct.index(column) for column in columns), distinct


@cache
def _weights(groups: tuple[int, ...]) -> F64:
    """float64 (m, 2^d): the weight of each mask of levels in the Shapley value of each of the m groups."""
    m = max(groups) + 1
    masks = [sum(1 << level for level, one in enumerate(groups) if one == group) for group in range(m)]
    found = np.zeros((m, 1 << len(groups)))
    for chosen in range(1 << m):
        mask, size = sum(masks[group] for group in range(m) if chosen >> group & 1), chosen.bit_count()
        for group in range(m):
            if chosen >> group & 1:
                found[group, mask] += factorial(size - 1) * factorial(m - size) / factorial(m)
            else:
                found[group, mask] -= factorial(size) * factorial(m - size - 1) / factorial(m)
    return found
