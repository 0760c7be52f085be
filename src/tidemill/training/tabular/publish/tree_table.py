"""Tree tables: trees of any library as one table, and as one ONNX node that compares in double precision.

Libraries compare differently: scikit-learn's forests round a value to float32 first, XGBoost uses `<` instead of `<=`.
Both are exact in double precision with an adjusted threshold, which is computed here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.training.tabular.publish.onnx_nodes import OnnxNodes


@dataclass
class TreeTable:
    """Inner nodes and leaves of all trees: a row goes left if `column <= threshold`, or if missing and `missing`.

    A child is the number of a node, or `-1 - number` for a leaf. Each leaf adds `value` to one target.
    """

    column: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    missing: list[bool] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    target: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)

    def leaf(self, target: int, value: float) -> int:
        """Add a leaf."""
        self.target.append(target)
        self.value.append(value)
        return -len(self.value)

    def inner(self, column: int, threshold: float, missing: bool) -> int:
        """Add an inner node; its children are set later."""
        self.column.append(column)
        self.threshold.append(threshold)
        self.missing.append(missing)
        self.left.append(0)
        self.right.append(0)
        return len(self.column) - 1

    def root(self, place: int) -> None:
        """Add the root of a tree. A single leaf gets a split with the same leaf on both sides."""
        if place < 0:
            leaf, place = place, self.inner(0, 0.0, True)
            self.left[place] = self.right[place] = leaf
        self.roots.append(place)

    def grow(self, tree: ArrayTree, target: int, values: NDArray[np.float64]) -> None:
        """Add a tree given as arrays over its nodes; each leaf adds its entry of `values` (n_nodes) to `target`."""
        places = [
            self.inner(int(tree.column[i]), float(tree.threshold[i]), bool(tree.missing[i]))
            if tree.left[i] >= 0
            else self.leaf(target, float(values[i]))
            for i in range(len(tree.left))
        ]
        for i, place in enumerate(places):
            if place >= 0:
                self.left[place], self.right[place] = places[tree.left[i]], places[tree.right[i]]
        self.root(places[0])

    def node(self, nodes: OnnxNodes, matrix: str, width: int) -> str:
        """The sums of all trees over `matrix` (n, n_columns, double), as (n, `width`): one `TreeEnsemble` node."""
        import onnx  # noqa: PLC0415 - an optional library

        def tensor(name: str, values: Any, dtype: Any) -> Any:
            return onnx.numpy_helper.from_array(np.asarray(values, dtype), name)

        left, right = np.array(self.left), np.array(self.right)
        return nodes.add(
            "TreeEnsemble",
            [matrix],
            domain="ai.onnx.ml",
            aggregate_function=1,
            post_transform=0,
            n_targets=width,
            tree_roots=self.roots,
            nodes_featureids=self.column,
            nodes_splits=tensor("splits", self.threshold, np.float64),
            nodes_modes=tensor("modes", np.zeros(len(self.column)), np.uint8),
            nodes_truenodeids=np.where(left < 0, -1 - left, left).tolist(),
            nodes_falsenodeids=np.where(right < 0, -1 - right, right).tolist(),
            nodes_trueleafs=(left < 0).astype(int).tolist(),
            nodes_falseleafs=(right < 0).astype(int).tolist(),
            nodes_missing_value_tracks_true=[int(one) for one in self.missing],
            leaf_targetids=self.target,
            leaf_weights=tensor("weights", self.value, np.float64),
        )


@dataclass(frozen=True)
class ArrayTree:
    """A tree as arrays over its nodes (n_nodes): the first node is the root, and a leaf has `left` -1."""

    column: NDArray[Any]
    threshold: NDArray[np.float64]
    missing: NDArray[Any]
    left: NDArray[Any]
    right: NDArray[Any]


def rounding(threshold: NDArray[np.float64], *, strict: bool = False) -> NDArray[np.float64]:
    """The largest doubles that are at most (`strict`: below) each threshold after rounding to float32.

    >>> bool(np.float32(rounding(np.array([0.1]))[0]) <= 0.1)
    True
    """
    wide = np.asarray(threshold, np.float64)
    with np.errstate(over="ignore"):
        low = wide.astype(np.float32)
    above = low.astype(np.float64) >= wide if strict else low.astype(np.float64) > wide
    low = np.where(above, np.nextafter(low, np.float32(-np.inf)), low).astype(np.float32)
    high = np.nextafter(low, np.float32(np.inf))
    middle = (low.astype(np.float64) + high.astype(np.float64)) / 2
    with np.errstate(over="ignore"):
        stays = middle.astype(np.float32) == low  # ties round to even
    kept = np.where(stays, middle, np.nextafter(middle, -np.inf))
    return np.where(np.isfinite(wide), kept, wide)
