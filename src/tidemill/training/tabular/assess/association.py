"""Association of one column with the target: the p value of a test chosen by their types.

Numbers against an ordered target (a number, a count, two classes): Spearman's rank correlation. Numbers against
several classes, and texts against numbers: Kruskal & Wallis (1952). Texts against classes: Pearson's chi-squared over
sufficiently frequent values. The tests assume independent rows; with many rows per person, p is too small. Tests of
many columns need Holm's correction (`permutation_test.holm`).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy  # its parts are loaded when they are first used
from numpy.typing import NDArray

F64 = NDArray[np.float64]

#: p is 1 if fewer rows than this have a value.
_FEWEST = 20
#: Text values with fewer rows than this are merged.
_RARE = 10


def association(values: pa.ChunkedArray, target: F64, *, classes: int = 0) -> float:
    """The p (0 to 1) of a column being unrelated to `target` (n,), over the rows with both; 1.0 if one is constant.

    `classes`: how many classes the numbers in `target` stand for; 0 for a number or a count.

    >>> n = np.arange(200)
    >>> association(pa.chunked_array([n % 7]), (n % 7).astype(float) ** 2) < 1e-6
    True
    >>> association(pa.chunked_array([["a", "b"] * 100]), (n // 2 % 2).astype(float), classes=2)
    1.0
    """
    there = pc.is_valid(values).to_numpy() & np.isfinite(target)
    kept, wanted = values.filter(pa.array(there)), target[there]
    if len(kept) < _FEWEST or not np.ptp(wanted):
        return 1.0
    nominal = pa.types.is_string(kept.type) or pa.types.is_large_string(kept.type)
    if nominal:
        codes = _codes(kept)
        if codes.max() == 0:
            return 1.0
        return _chi_squared(codes, wanted) if classes else _kruskal(wanted, codes)
    numbers = kept.cast(pa.int64()) if pa.types.is_timestamp(kept.type) else kept
    plain = np.asarray(numbers.cast(pa.float64(), safe=False).to_numpy())
    finite = np.isfinite(plain)
    plain, wanted = plain[finite], wanted[finite]
    if len(plain) < _FEWEST or not np.ptp(plain) or not np.ptp(wanted):
        return 1.0
    return _kruskal(plain, wanted.astype(np.int64)) if classes > 2 else _spearman(plain, wanted)


def _codes(texts: pa.ChunkedArray) -> NDArray[np.int64]:
    """The code of each row's value, int64 (n,); rare values share the code 0 (unused if none is rare)."""
    codes = texts.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    rare = np.bincount(codes) < _RARE
    return np.asarray(np.unique(np.where(rare[codes], -1, codes), return_inverse=True)[1].astype(np.int64))


def _spearman(first: F64, second: F64) -> float:
    return float(scipy.stats.spearmanr(first, second).pvalue)


def _kruskal(numbers: F64, groups: NDArray[np.int64]) -> float:
    parts = [numbers[groups == group] for group in np.unique(groups)]
    return float(scipy.stats.kruskal(*parts).pvalue) if len(parts) > 1 else 1.0


def _chi_squared(codes: NDArray[np.int64], target: F64) -> float:
    places = np.unique(target, return_inverse=True)[1]
    counts = np.zeros((int(codes.max()) + 1, int(places.max()) + 1))
    np.add.at(counts, (codes, places), 1)
    return float(scipy.stats.chi2_contingency(counts, correction=False).pvalue)
