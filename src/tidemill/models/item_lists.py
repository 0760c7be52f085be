"""Item-to-item lists: for each item its neighbours with their weights, best first; fold-in is adding up lists."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from tidemill.models.arrays import open_array, write_array
from tidemill.models.interactions import F32, I32, I64


@dataclass(frozen=True)
class ItemLists:
    """`starts` int64 (n_items + 1), `items` int32 and `weights` float32 (n_entries): row i lists neighbours of item i.

    Weights are above zero and fall within a row; an item is never its own neighbour.
    """

    starts: I64
    items: I32
    weights: F32

    @property
    def n_items(self) -> int:
        """How many items have a list."""
        return len(self.starts) - 1

    @classmethod
    def from_matrix(cls, matrix: sp.csr_matrix[Any], neighbours: int) -> ItemLists:
        """The `neighbours` largest positive entries of each row of a square matrix, the diagonal left out."""
        rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
        columns, values = matrix.indices.astype(np.int32), matrix.data.astype(np.float32)
        keep = (values > 0) & (rows != columns)
        rows, columns, values = rows[keep], columns[keep], values[keep]
        order = np.lexsort((columns, -values, rows))
        rows, columns, values = rows[order], columns[order], values[order]
        starts = np.searchsorted(rows, np.arange(matrix.shape[0] + 1))
        best = np.arange(len(rows)) - starts[rows] < neighbours
        kept = np.bincount(rows[best], minlength=matrix.shape[0])
        return cls(np.concatenate(([0], np.cumsum(kept))).astype(np.int64), columns[best], values[best])

    def matrix(self) -> sp.csr_matrix[Any]:
        """The lists as a sparse matrix (n_items, n_items)."""
        return sp.csr_matrix((self.weights, self.items, self.starts), shape=(self.n_items, self.n_items))

    def fold_in(self, history: list[int], weights: list[float]) -> tuple[I32, F32, I32]:
        """Entries of the lists of a history's items: item, its weighted share, and which history item gave it.

        An item occurs as often as it stands in lists; the sum of its shares is its score.
        """
        if not history:
            return np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int32)
        codes = np.array(history, np.int32)
        low, high = self.starts[codes], self.starts[codes + 1]
        spans = [slice(start, end) for start, end in zip(low.tolist(), high.tolist(), strict=True)]
        entries = np.concatenate([self.items[span] for span in spans])
        shares = np.concatenate([self.weights[span] for span in spans])
        lengths = high - low
        shares *= np.repeat(np.array(weights, np.float32), lengths)
        return entries, shares, np.repeat(codes, lengths)

    def write(self, folder: Path) -> None:
        """Write the three arrays into `folder`."""
        write_array(folder / "starts.npy", self.starts)
        write_array(folder / "items.npy", self.items)
        write_array(folder / "weights.npy", self.weights)

    @classmethod
    def open(cls, folder: Path) -> ItemLists:
        """Open them memory-mapped."""
        return cls(
            open_array(folder / "starts.npy"), open_array(folder / "items.npy"), open_array(folder / "weights.npy")
        )
