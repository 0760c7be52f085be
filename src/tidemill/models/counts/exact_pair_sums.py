"""Exact sums over pairs of items, as integers: subtracting an addend restores the earlier sum bit for bit.

Sums of floats depend on their order and do not return to zero; after a thousand days of additions and subtractions the
remainder would be noise. Integer sums are independent of order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are first used

from tidemill.core.errors import BundleCorrupt, LearnError
from tidemill.models.formats.arrays import open_array, write_array
from tidemill.models.recommender.interactions import I32, I64

#: Maximum of a sum. Two of them, or a sum and a change, still fit into 64 bits.
LARGEST = 2**61
#: Changes are buffered until they reach this share of the base, because adding to a large matrix costs its size.
ASIDE = 1 / 8


@dataclass(frozen=True, eq=False)
class PairSums:
    """Integers for pairs of `n` items, most of them 0: `base`, and `aside`, which buffers later changes.

    Both are int64 (n, n), sorted, each entry once.
    """

    base: scipy.sparse.csr_matrix[Any]
    aside: scipy.sparse.csr_matrix[Any]

    @classmethod
    def none(cls, n: int) -> PairSums:
        """Zero for every pair."""
        return cls(_empty(n), _empty(n))

    @property
    def n_items(self) -> int:
        """Number of items."""
        return int(self.base.shape[0])

    def plus(self, change: scipy.sparse.csr_matrix[Any]) -> PairSums:
        """The sums plus `change`, int64 (m, m) for m >= n items; the first n are the existing ones."""
        n = change.shape[0]
        aside = _sum(grown(self.aside, n), change)
        if aside.nnz > ASIDE * self.base.nnz:
            return PairSums(_sum(grown(self.base, n), aside), _empty(n))
        return PairSums(grown(self.base, n), aside)

    def total(self, least: int = 1) -> scipy.sparse.csr_matrix[Any]:
        """The sums, int64 (n, n).

        `least` is the minimum that one supporting event adds; a smaller sum is a rounding remainder, from another
        machine, of events that were removed, and is left out.
        """
        total = _sum(self.base, self.aside) if self.aside.nnz else self.base
        alive = total.data >= least
        return total if alive.all() else where(total, alive)

    def write(self, folder: Path) -> None:
        """Write the arrays into `folder`."""
        for name, part in (("base", self.base), ("aside", self.aside)):
            write_array(folder / name / "starts.npy", part.indptr.astype(np.int64))
            write_array(folder / name / "items.npy", part.indices.astype(np.int32))
            write_array(folder / name / "sums.npy", part.data)

    @classmethod
    def open(cls, folder: Path, n: int) -> PairSums:
        """Open what `write` wrote for `n` items, memory-mapped; raises `BundleCorrupt` if arrays are missing."""
        return cls(_opened(folder / "base", n), _opened(folder / "aside", n))


def summed(rows: I32, columns: I32, numbers: I64, n: int) -> scipy.sparse.csr_matrix[Any]:
    """Integers at positions that may repeat, summed: int64 (n, n)."""
    total: scipy.sparse.csr_matrix[Any] = scipy.sparse.csr_matrix(
        (numbers, (rows, columns)), shape=(n, n), dtype=np.int64
    )
    total.sum_duplicates()
    if total.nnz and (total.data.max() > LARGEST or total.data.min() < -LARGEST):
        raise LearnError("the co-occurrence count of two items is too large", tip="train on fewer events")
    return total


def from_entries(rows: I64, columns: I64, sums: I64, n: int) -> scipy.sparse.csr_matrix[Any]:
    """Entries in the order of rows and columns, each once, as int64 (n, n)."""
    if len(sums) and (sums.max() > LARGEST or sums.min() < -LARGEST):
        raise LearnError("the co-occurrence count of two items is too large", tip="train on fewer events")
    starts = np.searchsorted(rows, np.arange(n + 1))
    return _csr(sums, columns.astype(np.int32), starts.astype(np.int64))


def added(parts: Iterable[scipy.sparse.csr_matrix[Any]], n: int) -> scipy.sparse.csr_matrix[Any]:
    """The sum of several matrices, int64 (n, n)."""
    total = _empty(n)
    for part in parts:
        total = _sum(total, part)
    return total


def where(matrix: scipy.sparse.csr_matrix[Any], kept: npt.NDArray[np.bool_]) -> scipy.sparse.csr_matrix[Any]:
    """A sorted matrix with only the `kept` entries."""
    starts = np.concatenate(([0], np.cumsum(kept)))[matrix.indptr].astype(np.int64)
    return _csr(matrix.data[kept], matrix.indices[kept], starts)


def _empty(n: int) -> scipy.sparse.csr_matrix[Any]:
    return _csr(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(n + 1, np.int64))


def _csr(data: npt.NDArray[Any], columns: npt.NDArray[Any], starts: npt.NDArray[Any]) -> scipy.sparse.csr_matrix[Any]:
    matrix: scipy.sparse.csr_matrix[Any] = scipy.sparse.csr_matrix(
        (data, columns, starts), shape=(len(starts) - 1, len(starts) - 1)
    )
    matrix.has_canonical_format = True
    return matrix


def grown(matrix: scipy.sparse.csr_matrix[Any], n: int) -> scipy.sparse.csr_matrix[Any]:
    """The same matrix with further items at its end, sharing the arrays."""
    more = n - matrix.shape[0]
    if not more:
        return matrix
    return _csr(matrix.data, matrix.indices, np.r_[matrix.indptr, np.repeat(matrix.indptr[-1:], more)])


def _sum(one: scipy.sparse.csr_matrix[Any], other: scipy.sparse.csr_matrix[Any]) -> scipy.sparse.csr_matrix[Any]:
    if not one.nnz or not other.nnz:
        return one if one.nnz else other
    total: scipy.sparse.csr_matrix[Any] = one + other
    total.eliminate_zeros()
    if total.nnz and (total.data.max() > LARGEST or total.data.min() < -LARGEST):
        raise LearnError("the co-occurrence count of two items is too large", tip="train on fewer events")
    return total


def _opened(folder: Path, n: int) -> scipy.sparse.csr_matrix[Any]:
    starts, items, sums = (open_array(folder / f"{name}.npy") for name in ("starts", "items", "sums"))
    if len(starts) != n + 1 or len(items) != len(sums) or int(starts[-1]) != len(items):
        raise BundleCorrupt(f"the arrays in {folder} do not match each other")
    return _csr(sums, items, starts)
