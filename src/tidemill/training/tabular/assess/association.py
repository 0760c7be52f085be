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
from numpy.typing import NDArray

from tidemill.training.statistics.rank_tests import chi_squared_p, kruskal_p, spearman_p

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
        return chi_squared_p(codes, wanted.astype(np.int64)) if classes else kruskal_p(wanted, codes)
    numbers = kept.cast(pa.int64()) if pa.types.is_timestamp(kept.type) else kept
    plain = np.asarray(numbers.cast(pa.float64(), safe=False).to_numpy())
    finite = np.isfinite(plain)
    plain, wanted = plain[finite], wanted[finite]
    if len(plain) < _FEWEST or not np.ptp(plain) or not np.ptp(wanted):
        return 1.0
    return kruskal_p(plain, wanted.astype(np.int64)) if classes > 2 else spearman_p(plain, wanted)


def _codes(texts: pa.ChunkedArray) -> NDArray[np.int64]:
    """The code of each row's value, int64 (n,); rare values share the code 0 (unused if none is rare)."""
    codes = texts.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    rare = np.bincount(codes) < _RARE
    return np.asarray(np.unique(np.where(rare[codes], -1, codes), return_inverse=True)[1].astype(np.int64))
