"""Item-to-item lists: the neighbours of each item with their weights, best first; fold-in is a sum of lists."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy  # its parts are loaded when they are first used

from tidemill.core.errors import BundleCorrupt
from tidemill.models.formats.arrays import open_array, write_array
from tidemill.models.recommender.interactions import F32, I32, I64


@dataclass(frozen=True)
class ItemLists:
    """`starts` int64 (n_items + 1), `items` int32 and `weights` float32 (n_entries): row i lists neighbours of item i.

    Weights are descending within a row, and an item is never its own neighbour. They are positive, except in lists cut
    as `signed`: there a negative weight lowers the score.
    """

    starts: I64
    items: I32
    weights: F32

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.starts) - 1

    @classmethod
    def from_matrix(cls, matrix: scipy.sparse.csr_matrix[Any], neighbours: int, *, signed: bool = False) -> ItemLists:
        """The `neighbours` largest positive entries of each row of a square matrix, without the diagonal.

        With `signed`, the largest by magnitude instead.
        """
        matrix = matrix if matrix.has_sorted_indices else matrix.sorted_indices()
        rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
        columns, values = matrix.indices.astype(np.int32), matrix.data.astype(np.float32)
        keep = ((values != 0) if signed else (values > 0)) & (rows != columns)
        rows, columns, values = rows[keep], columns[keep], values[keep]
        order = _by_row_and_size(rows, values)
        rows, columns, values = rows[order], columns[order], values[order]
        starts = np.searchsorted(rows, np.arange(matrix.shape[0] + 1))
        best = np.arange(len(rows)) - starts[rows] < neighbours
        rows, columns, values = rows[best], columns[best], values[best]
        if signed:  # selected by magnitude, sorted by value
            order = np.lexsort((columns, -values, rows))
            columns, values = columns[order], values[order]
        kept = np.bincount(rows, minlength=matrix.shape[0])
        return cls(np.concatenate(([0], np.cumsum(kept))).astype(np.int64), columns, values)

    def matrix(self) -> scipy.sparse.csr_matrix[Any]:
        """The lists as a sparse matrix (n_items, n_items)."""
        return scipy.sparse.csr_matrix((self.weights, self.items, self.starts), shape=(self.n_items, self.n_items))

    def fold_in(self, history: list[int], weights: list[float]) -> tuple[I32, F32, I32]:
        """Entries of the lists of a history's items: the item, its weighted share, and the history item it came from.

        An item occurs once per list that contains it; the sum of its shares is its score.
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

    def taking(self, places: I32) -> ItemLists:
        """Lists of other items: item i had the index `places[i]` among these; -1: new, with an empty list."""
        into = np.full(self.n_items, -1, np.int32)
        into[places[places >= 0]] = np.flatnonzero(places >= 0)
        owner = into[np.repeat(np.arange(self.n_items), np.diff(self.starts))]
        items = into[self.items]
        kept = (owner >= 0) & (items >= 0)
        order = np.argsort(owner[kept], kind="stable")
        lengths = np.bincount(owner[kept], minlength=len(places))
        starts = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        return ItemLists(starts, items[kept][order], self.weights[kept][order])

    def write(self, folder: Path) -> None:
        """Write the three arrays into `folder`."""
        write_array(folder / "starts.npy", self.starts)
        write_array(folder / "items.npy", self.items)
        write_array(folder / "weights.npy", self.weights)

    @classmethod
    def open(cls, folder: Path) -> ItemLists:
        """Open the arrays memory-mapped. Raises `BundleCorrupt` if they are not lists of each other's items."""
        starts = open_array(folder / "starts.npy", np.int64, (None,))
        items = open_array(folder / "items.npy", np.int32, (None,))
        lists = cls(starts, items, open_array(folder / "weights.npy", np.float32, (len(items),)))
        whole = len(starts) and starts[0] == 0 and starts[-1] == len(items) and (np.diff(starts) >= 0).all()
        if not whole or (len(items) and not 0 <= items.min() <= items.max() < lists.n_items):
            raise BundleCorrupt(f"{folder} has lists that lead out of its arrays")
        return lists


def _by_row_and_size(rows: I32, values: F32) -> I64:
    """The order by row, then by descending magnitude, stable: one sort, because the bits of positive floats are in
    the order of the floats.
    """
    bits = np.abs(values).view(np.int32).astype(np.int64)
    order: I64 = np.argsort((rows.astype(np.int64) << 32) - bits, kind="stable")
    return order
