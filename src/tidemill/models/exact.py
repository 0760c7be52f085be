"""Nearest vectors by scanning all of them: what a recommender uses where it was given no index."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tidemill.models.interactions import F32


class ExactIndex:
    """Inner products with every one of float32 vectors (n, d); exact by definition."""

    def __init__(self, vectors: F32) -> None:
        self._vectors = vectors

    @property
    def count(self) -> int:
        """How many vectors there are."""
        return len(self._vectors)

    def query(self, vector: F32, n: int) -> tuple[npt.NDArray[np.int64], F32]:
        """Positions and inner products of the `n` nearest, best first, ties by position."""
        scores = self._vectors @ vector
        best = np.arange(len(scores)) if n >= len(scores) else np.argpartition(-scores, n)[:n]
        order = np.lexsort((best, -scores[best]))
        return best[order], scores[best[order]]
