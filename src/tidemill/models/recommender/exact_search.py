"""Exact nearest-neighbour search: inner products with every vector, fast enough for small catalogues.

The back-end `exact` of the port `Search`, and the default of a recommender without an index.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tidemill.core.backend import BackendContext
from tidemill.models.formats.arrays import open_array, write_array
from tidemill.models.recommender.interactions import F32

I64 = npt.NDArray[np.int64]


class ExactSearch:
    """Stores the vectors unchanged, float32 (n, d), memory-mapped."""

    name = "exact"

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> ExactSearch:
        """The search; it has no options."""
        return cls()

    def build(self, vectors: F32, folder: str, queries: F32 | None = None) -> None:
        """Write `vectors`; nothing is tuned on `queries`."""
        write_array(Path(folder) / "vectors.npy", np.asarray(vectors, np.float32))

    def open(self, folder: str) -> ExactIndex:
        """Memory-map what `build` wrote."""
        return ExactIndex(open_array(Path(folder) / "vectors.npy", np.float32, (None, None)))


class ExactIndex:
    """Inner products with each of float32 vectors (n, d); exact by definition."""

    def __init__(self, vectors: F32) -> None:
        self._vectors = vectors

    @property
    def count(self) -> int:
        """Number of vectors."""
        return len(self._vectors)

    def query(self, vector: F32, n: int, allowed: npt.NDArray[np.bool_] | None = None) -> tuple[I64, F32]:
        """Indices and inner products of the `n` nearest, best first, ties by index."""
        return _nearest(self._vectors @ vector, n, allowed)

    def query_many(self, vectors: F32, n: int, allowed: npt.NDArray[np.bool_] | None = None) -> tuple[I64, F32]:
        """The same for each row of `vectors` (m, d): arrays (m, min(n, count)), padded with -1 and -inf."""
        width = min(n, self.count)
        found = np.full((len(vectors), width), -1, np.int64)
        products = np.full((len(vectors), width), -np.inf, np.float32)
        for row, vector in enumerate(vectors):  # one at a time: all products together would be m times the catalogue
            near, scores = self.query(vector, n, allowed)
            found[row, : len(near)], products[row, : len(near)] = near, scores
        return found, products


def _nearest(scores: F32, n: int, allowed: npt.NDArray[np.bool_] | None) -> tuple[I64, F32]:
    if allowed is not None:
        places = np.flatnonzero(allowed)
        best, scores = _nearest(scores[places], n, None)
        return places[best], scores
    if not n:
        return np.zeros(0, np.int64), scores[:0]
    best = np.arange(len(scores))
    if n < len(scores):
        best = np.flatnonzero(scores >= np.partition(scores, -n)[-n])  # all that tie with the last one
    best = best[np.lexsort((best, -scores[best]))][:n]
    return best, scores[best]


def recall(items: F32, query: F32, found: npt.NDArray[np.integer], n: int) -> float:
    """Recall of the `n` items with the largest inner products; one that ties with the last of them counts as found.

    Scores are compared, not indices, and all are of one product: two ways to compute it differ by rounding.
    """
    scores = items @ query
    edge = np.partition(scores, -n)[-n]
    return float(np.count_nonzero(scores[found] >= edge - 1e-5 * abs(edge))) / n
