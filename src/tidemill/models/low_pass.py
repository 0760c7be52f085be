"""Spectral vectors: the leading components of the degree-normalised interactions, used as a low-pass filter.

R̃ = (D_u + s)^-½ R (D_i + s)^-½ without single-item users, whose islands would lead the spectrum; V holds its k leading
right singular vectors. A user vector is the weighted history times the encoder (D_i + s)^-½ V, an item vector is
(D_i + s)^½ V, and the score is their inner product. So a new user, and a new event, is folded in by one sparse
product. After GF-CF (Shen et al. 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import svds

from tidemill.models.arrays import open_array, write_array
from tidemill.models.interactions import F32, Interactions
from tidemill.models.item_cosine import user_item_matrix


@dataclass(frozen=True)
class Vectors:
    """`encoder` and `items`, float32 (n_items, n_factors): history to user vector, and what it is compared with."""

    encoder: F32
    items: F32

    @property
    def n_items(self) -> int:
        """How many items have a vector."""
        return len(self.items)

    def user(self, history: list[int], weights: list[float]) -> F32:
        """The user vector, float32 (n_factors), of a history of item codes and their weights."""
        return np.asarray(weights, np.float32) @ self.encoder[history]

    def users(self, histories: sp.csr_matrix[Any]) -> F32:
        """User vectors, float32 (n_users, n_factors), of many weighted histories (n_users, n_items)."""
        return np.asarray(histories @ self.encoder, np.float32)

    def write(self, folder: Path) -> None:
        """Write both arrays into `folder`."""
        write_array(folder / "encoder.npy", self.encoder)
        write_array(folder / "items.npy", self.items)

    @classmethod
    def open(cls, folder: Path) -> Vectors:
        """Open them memory-mapped."""
        return cls(open_array(folder / "encoder.npy"), open_array(folder / "items.npy"))


def low_pass_vectors(events: Interactions, *, factors: int, smoothing: float) -> Vectors:
    """Vectors of every item of `events`; an item that only single-item users took has vectors of zero.

    Fewer than `factors` columns come back where the data have a lower rank.
    """
    users = user_item_matrix(events)
    users = users[np.diff(users.indptr) > 1]
    degrees = np.maximum(users.sum(axis=0).A1, 1.0) + smoothing  # (n_items)
    sizes = np.maximum(users.sum(axis=1).A1, 1.0) + smoothing  # (n_users)
    normal = (sp.diags_array(sizes**-0.5) @ users @ sp.diags_array(degrees**-0.5)).tocsr()
    axes = _leading(normal.astype(np.float64), factors)  # (n_items, k)
    return Vectors(
        (axes * degrees[:, None] ** -0.5).astype(np.float32), (axes * degrees[:, None] ** 0.5).astype(np.float32)
    )


def _leading(matrix: sp.csr_matrix[Any], factors: int) -> np.ndarray[Any, Any]:
    """The leading right singular vectors, largest first, the largest entry of each one positive: always the same."""
    k = min(factors, min(matrix.shape) - 1)
    if k < 1:
        return np.zeros((matrix.shape[1], 1))
    start = np.random.default_rng(0).standard_normal(min(matrix.shape))
    _, strength, axes = svds(matrix, k=k, v0=start)
    order = np.argsort(-strength, kind="stable")
    axes = axes[order][strength[order] > 1e-9]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    return np.asarray((axes * signs[:, None]).T)
