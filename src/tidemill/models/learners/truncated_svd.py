"""Truncated SVD: leading right singular vectors of a sparse matrix; exact for a small one, else by blocks.

A small matrix, or one with hardly more axes than requested, is decomposed densely. For all others a block of random
vectors, wider than requested, is multiplied with the matrix as a whole (Halko, Martinsson & Tropp 2011). The cost grows
with the number of vectors: of Gowalla's 29,858 × 40,981 matrix, 64 vectors take twice and 256 take five times as long
as 16. The result is inexact only where neighbouring singular values are so close that any mixture of their vectors
filters equally well; a block of hardly more vectors than requested mixes in weaker axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy  # its parts are loaded when they are first used

from tidemill.models.recommender.interactions import F32, F64

#: A matrix with at most this many rows or columns is decomposed exactly.
EXACT = 1024
#: Power iterations, and extra columns of the block: a tenth, but at least this many.
ROUNDS, BESIDE = 4, 96
#: Singular values below this share of the largest are rounding errors.
_NOTHING = 1e-9


def truncated_svd(matrix: scipy.sparse.csr_matrix[Any], factors: int) -> tuple[F64, F64]:
    """`(axes, strength)`: float64 (n_columns, k) and (k), largest first; deterministic.

    The largest entry of each axis is positive. k is below `factors` if the matrix has a lower rank; a matrix of rank
    zero gives one zero axis.
    """
    small = min(matrix.shape)
    k = min(factors, small)
    if k < 1 or not matrix.nnz:
        return np.zeros((matrix.shape[1], 1)), np.zeros(1)
    exact = small <= EXACT or k + _beside(k) >= small
    axes, strength = _densely(matrix, k) if exact else _by_blocks(matrix, k)
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return axes * signs, strength


def _densely(matrix: scipy.sparse.csr_matrix[Any], k: int) -> tuple[F64, F64]:
    exact = matrix.astype(np.float64)
    wide = exact.shape[0] <= exact.shape[1]
    one, other = (exact, exact.T.tocsr()) if wide else (exact.T.tocsr(), exact)  # one: (n, m) with n <= m
    n = one.shape[0]
    _, basis = scipy.linalg.eigh((one @ other).toarray(), subset_by_index=(n - k, n - 1))  # (n, k)
    left, strength, right = scipy.linalg.svd(other @ basis, full_matrices=False)  # (m, k), (k), (k, k)
    axes = left if wide else basis @ right.T
    kept = strength > _NOTHING * strength[0]
    return np.asarray(axes[:, kept]), np.asarray(strength[kept])


def _by_blocks(matrix: scipy.sparse.csr_matrix[Any], k: int) -> tuple[F64, F64]:
    single = matrix.astype(np.float32)
    turned = single.T.tocsr()
    block = np.random.default_rng(0).standard_normal((matrix.shape[0], k + _beside(k)), np.float32)
    for _ in range(ROUNDS):
        block = _orthonormal(single @ (turned @ block))  # (n_rows, <= k + beside)
    seen = turned @ block  # (n_columns, <= k + beside): the matrix projected on this block
    values, mix = scipy.linalg.eigh(seen.T.astype(np.float64) @ seen)
    best = np.argsort(-values, kind="stable")[:k]
    strength = np.sqrt(np.maximum(values[best], 0.0))
    kept = strength > max(_NOTHING, 1e-4 * float(strength.max()))  # float32 cannot resolve smaller ones
    return (seen @ mix[:, best[kept]]) / strength[kept], strength[kept]


def _beside(k: int) -> int:
    return max(BESIDE, k // 10)


def _orthonormal(block: F32) -> F32:
    """An orthonormal basis of the columns, by their Gram matrix: a quarter of the cost of a QR decomposition."""
    values, mix = scipy.linalg.eigh(block.T @ block)
    kept = values > values[-1] * 1e-6
    basis: F32 = block @ (mix[:, kept] * values[kept] ** -0.5)
    return basis
