"""The port `search`: nearest-neighbour search in vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np


class VectorSearch(Protocol):
    """Nearest-neighbour search by inner product (maximum inner product search)."""

    name: str

    def build(self, vectors: np.ndarray, folder: str, queries: np.ndarray | None = None) -> None:
        """Write an index of float32 vectors (n, d) into `folder`, tuned on real `queries` (m, d) if given."""
        ...

    def open(self, folder: str) -> VectorIndex:
        """Open the index that `build` wrote, memory-mapped."""
        ...


class VectorIndex(Protocol):
    """An opened index."""

    @property
    def count(self) -> int:
        """The number of vectors in the index."""
        ...

    def query(self, vector: np.ndarray, n: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Positions and inner products of the n nearest vectors, best first.

        `allowed` (bool, one per vector) excludes vectors before the search (pre-filtering), so the result has n vectors
        if at least n are allowed.
        """
        ...

    def query_many(
        self, vectors: np.ndarray, n: int, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """`query` for each row of `vectors` (m, d). Gives arrays (m, min(n, count)), padded with position -1 and
        product -inf where a row has fewer results.
        """
        ...
