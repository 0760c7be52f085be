"""Oblivious (symmetric) trees as in CatBoost, evaluated with NumPy alone: each level of a tree has one split.

The leaf of a row is therefore a d-bit number, and a tree is a lookup (Prokhorenkova et al. 2018).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.core.errors import NotExplained
from tidemill.models.tabular import shapley_values
from tidemill.models.tabular.recipe import ObliviousTreesMember
from tidemill.models.tabular.tree_member import OfRow

F64 = NDArray[np.float64]
#: Rows per batch: their values for all trees fit in the cache.
ROWS = 512
#: Maximum supported depth; CatBoost's limit is 16.
DEEPEST = 16


class ObliviousMember:
    """An `ObliviousTreesMember` member over its arrays, by file name."""

    def __init__(self, member: ObliviousTreesMember, parts: Mapping[str, Any]) -> None:
        name = member.name
        self.splits: NDArray[np.int32] = np.asarray(parts[f"{name}.splits.npy"])  # (t, d)
        self.borders: NDArray[np.float32] = np.asarray(parts[f"{name}.borders.npy"])  # (t, d)
        self.leaves: F64 = np.asarray(parts[f"{name}.leaves.npy"])  # (t, 2^d, k)
        counts = parts.get(f"{name}.counts.npy")
        self.counts: F64 | None = None if counts is None else np.asarray(counts)  # (t, 2^d)
        self.columns = np.asarray(member.columns, np.int64)
        self.bias, self.scale = np.asarray(member.bias, np.float64), member.scale
        self._missing = np.float32(-np.inf if member.missing == "low" else np.inf)

    def margins(self, design: F64, inputs: Any) -> F64:
        """float64 (n, k)."""
        trees = np.arange(len(self.splits))
        total = np.empty((len(design), self.leaves.shape[2]))
        for start in range(0, len(design), ROWS):
            places = self.places(self.compared(design[start : start + ROWS]))
            total[start : start + ROWS] = self.leaves[trees, places].sum(axis=1)
        return self.bias + self.scale * total

    def compared(self, design: F64) -> NDArray[np.float32]:
        """float32 (n, n_columns of this member): its columns in the precision of the comparison with borders."""
        with np.errstate(over="ignore"):
            values = design[:, self.columns].astype(np.float32)
        values[np.isnan(values)] = self._missing
        return values

    def places(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """int64 (n, t): the leaf of each row in each tree."""
        found = np.zeros((len(values), len(self.splits)), np.int64)
        for level in range(self.splits.shape[1]):
            found |= (values[:, self.splits[:, level]] > self.borders[:, level]).astype(np.int64) << level
        return found

    def contributions(self, design: F64) -> tuple[F64, F64]:
        """Shapley values float64 (n, k, n_columns of the design) and their base (n, k).

        Raises `NotExplained` if the leaf weights are missing, or trees are too deep.
        """
        columns, table, base = self._table
        values = np.zeros((design.shape[1], len(design), self.leaves.shape[2]))
        places = self.places(self.compared(design))
        for tree in range(len(self.splits)):
            for group, column in enumerate(columns[tree]):
                if column >= 0:
                    values[column] += table[tree, group, places[:, tree]]
        return self.scale * values.transpose(1, 2, 0), np.tile(self.bias + self.scale * base, (len(design), 1))

    @cached_property
    def _table(self) -> tuple[NDArray[np.int64], F64, F64]:
        if self.counts is None:
            raise NotExplained("the weights of the trees' leaves are missing", tip="train the model again")
        if self.splits.shape[1] > shapley_values.DEEPEST:
            raise NotExplained(f"symmetric trees are explained up to a depth of {shapley_values.DEEPEST}")
        return shapley_values.shapley_table(self.columns[self.splits], self.leaves, self.counts)

    def row(self) -> OfRow:
        """The function that predicts single rows, for one thread at a time, because it owns its buffers."""
        t, depth = self.splits.shape
        k = self.leaves.shape[2]
        columns = np.ascontiguousarray(self.columns[self.splits.T].ravel())  # level by level, columns of the design
        borders = np.ascontiguousarray(self.borders.T.ravel())
        leaves = np.ascontiguousarray(self.leaves).reshape(-1, k)
        flat = leaves.ravel() if k == 1 else None
        first = np.arange(t, dtype=np.int64) << depth
        powers = (1 << np.arange(depth, dtype=np.int64))[:, None]
        picked, bits = np.empty(t * depth, np.float32), np.empty(t * depth, np.bool_)
        weighed, places = np.empty((depth, t), np.int64), np.empty(t, np.int64)
        by_level, missing = bits.reshape(depth, t), float(self._missing)
        bias, scale = self.bias, self.scale

        def of_row(design: list[float], values: Sequence[Any]) -> Sequence[float]:
            with np.errstate(over="ignore"):
                compared = np.array([missing if one != one else one for one in design]).astype(np.float32)
            np.take(compared, columns, out=picked, mode="clip")
            np.greater(picked, borders, out=bits)
            np.multiply(by_level, powers, out=weighed)
            np.add.reduce(weighed, axis=0, out=places)
            np.add(places, first, out=places)
            if flat is not None:
                return (float(bias[0] + scale * flat.take(places).sum()),)
            found: list[float] = (bias + scale * leaves.take(places, axis=0).sum(axis=0)).tolist()
            return found

        return of_row
