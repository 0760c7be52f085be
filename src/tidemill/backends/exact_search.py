"""Search by scanning every vector: exact, and fast enough for small catalogues."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]


class ExactSearch:
    """Keeps the vectors as they are, float32 (n, d), memory-mapped."""

    name = "exact"

    def build(self, vectors: F32, folder: str, queries: F32 | None = None) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        np.save(Path(folder) / "vectors.npy", np.ascontiguousarray(vectors, np.float32), allow_pickle=False)

    def open(self, folder: str) -> ExactIndex:
        vectors = np.load(Path(folder) / "vectors.npy", mmap_mode="r", allow_pickle=False)
        return ExactIndex(vectors.view(np.ndarray))


class ExactIndex:
    """Inner products with all vectors."""

    def __init__(self, vectors: F32) -> None:
        self._vectors = vectors

    @property
    def count(self) -> int:
        return len(self._vectors)

    def query(self, vector: F32, n: int) -> tuple[npt.NDArray[np.int64], F32]:
        scores = self._vectors @ vector
        best = np.arange(len(scores)) if n >= len(scores) else np.argpartition(-scores, n)[:n]
        order = np.lexsort((best, -scores[best]))
        return best[order], scores[best[order]]
