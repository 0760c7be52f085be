"""Spectral vectors: the leading components of the degree-normalised interactions, used as a low-pass filter.

R̃ = (D_u + s)^-½ R (D_i + s)^-b without single-item users, whose islands would lead the spectrum; V holds its k leading
right singular vectors and σ their strengths. A user vector is the weighted history times the encoder
(D_i + s)^-b V (σ / σ_1)^gain, an item vector is (D_i + s)^out V, and the score is their inner product. So a new user,
and a new event, is folded in by one sparse product. With b = out = ½ and gain 0 it is the filter of GF-CF
(Shen et al. 2021); with gain 2 it tends to the linear filter R̃ᵀR̃.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from tidemill.models.arrays import open_array, rows_at, write_array
from tidemill.models.interactions import F32, I32, Interactions
from tidemill.models.item_cosine import user_item_matrix
from tidemill.models.leading_axes import leading_axes


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

    def given(self, history: list[int], weights: list[float], codes: I32) -> F32:
        """What each history item adds to the score of each code, float32 (n_codes, n_history)."""
        added = np.asarray(weights, np.float32)[:, None] * self.encoder[history]  # (n_history, n_factors)
        return np.asarray(self.items[codes] @ added.T, np.float32)

    def taking(self, places: I32) -> Vectors:
        """Vectors of other items: item i had the place `places[i]` among these, -1: none, and its vectors are zero."""
        return Vectors(rows_at(self.encoder, places), rows_at(self.items, places))

    def write(self, folder: Path) -> None:
        """Write both arrays into `folder`."""
        write_array(folder / "encoder.npy", self.encoder)
        write_array(folder / "items.npy", self.items)

    @classmethod
    def open(cls, folder: Path) -> Vectors:
        """Open them memory-mapped."""
        return cls(open_array(folder / "encoder.npy"), open_array(folder / "items.npy"))


def low_pass_vectors(
    events: Interactions,
    *,
    factors: int,
    smoothing: float,
    gain: float = 0.0,
    item_power: float = 0.5,
    out_power: float | None = None,
) -> Vectors:
    """Vectors of every item of `events`; an item that only single-item users took has vectors of zero.

    `item_power`, b, is how much items with many events are held back; `out_power`, by default the same, how much they
    gain in the answer; `gain`, how much strong axes count above weak ones. Fewer than `factors` columns come back where
    the data have a lower rank.
    """
    users = user_item_matrix(events)
    users = users[np.diff(users.indptr) > 1]
    degrees = np.maximum(users.sum(axis=0).A1, 1.0) + smoothing  # (n_items)
    sizes = np.maximum(users.sum(axis=1).A1, 1.0) + smoothing  # (n_users)
    normal = (sp.diags_array(sizes**-0.5) @ users @ sp.diags_array(degrees**-item_power)).tocsr()
    axes, strength = leading_axes(normal, factors)  # (n_items, k), (k)
    counts = (strength / strength.max(initial=1e-300)) ** gain
    encoder = axes * degrees[:, None] ** -item_power * counts
    items = axes * degrees[:, None] ** (item_power if out_power is None else out_power)
    return Vectors(encoder.astype(np.float32), items.astype(np.float32))
