"""User vectors: the mapping of a history to the vector that item vectors are compared with.

`Vectors` sums a row for each item of the history. `Factors` solves for the user vector of implicit-feedback ALS
(Hu, Koren & Volinsky 2008): it minimises, over all items i with their factors y_i,

    Σ w_i · (1 + confidence) · (1 - x·y_i)² + Σ (1 - w_i) · (x·y_i)² + regularization · |x|²

where w_i is 0 for items outside the history and up to 1 for items in it. So x = A⁻¹ Σ v_i y_i with
v_i = (1 + confidence) · w_i and A = YᵀY + regularization · I + confidence · Σ w_i y_i y_iᵀ. With weights of 1 it is
exactly the user vector of ALS.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are first used

from tidemill.core.errors import BundleCorrupt, LearnError
from tidemill.models.formats.arrays import open_array, rows_at, write_array
from tidemill.models.recommender.interactions import F32, F64, I32


@dataclass(frozen=True)
class Vectors:
    """`encoder` and `items`, float32 (n_items, n_factors): maps a history to a user vector, and the item vectors."""

    encoder: F32
    items: F32

    @property
    def n_items(self) -> int:
        """Number of items with a vector."""
        return len(self.items)

    def user(self, history: list[int], weights: list[float]) -> F32:
        """The user vector, float32 (n_factors), of a history of item codes and their weights."""
        return np.asarray(weights, np.float32) @ self.encoder[history]

    def users(self, histories: scipy.sparse.csr_matrix[Any]) -> F32:
        """User vectors, float32 (n_users, n_factors), of many weighted histories (n_users, n_items)."""
        return np.asarray(histories @ self.encoder, np.float32)

    def given(self, history: list[int], weights: list[float], codes: I32) -> F32:
        """The contribution of each history item to the score of each code, float32 (n_codes, n_history)."""
        added = np.asarray(weights, np.float32)[:, None] * self.encoder[history]  # (n_history, n_factors)
        return np.asarray(self.items[codes] @ added.T, np.float32)

    def taking(self, places: I32) -> Vectors:
        """Vectors of other items: item i had the index `places[i]` among these; -1: new, with a zero vector."""
        return Vectors(rows_at(self.encoder, places), rows_at(self.items, places))

    def write(self, folder: Path) -> None:
        """Write both arrays into `folder`."""
        write_array(folder / "encoder.npy", self.encoder)
        write_array(folder / "items.npy", self.items)

    @classmethod
    def open(cls, folder: Path) -> Vectors:
        """Open the arrays memory-mapped."""
        encoder = open_array(folder / "encoder.npy", np.float32, (None, None))
        return cls(encoder, open_array(folder / "items.npy", np.float32, encoder.shape))


@dataclass(frozen=True, eq=False)
class Factors:
    """`items` float32 (n_items, d), `gram` float64 (d, d) = YᵀY + regularization · I, and the confidence.

    Histories contain each item once, with weights from 0 to 1.
    """

    items: F32
    gram: F64
    confidence: float
    _inverse: F32 = field(init=False, repr=False)
    _gram: F32 = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_inverse", np.linalg.inv(self.gram).astype(np.float32))
        object.__setattr__(self, "_gram", self.gram.astype(np.float32))

    @classmethod
    def from_items(cls, items: F32, *, regularization: float, confidence: float) -> Factors:
        """From item factors; `regularization` is positive, so that every history has a unique vector."""
        wide = items.astype(np.float64)
        return cls(items, wide.T @ wide + regularization * np.eye(wide.shape[1]), confidence)

    @property
    def n_items(self) -> int:
        """Number of items with factors."""
        return len(self.items)

    def user(self, history: list[int], weights: list[float]) -> F32:
        """The user vector, float32 (d), of a history of item codes and their weights; zero for an empty one."""
        if not history:
            return np.zeros(self.items.shape[1], np.float32)
        taken = self.items[history]  # (h, d)
        weight = np.asarray(weights, np.float32)
        value = weight * np.float32(1 + self.confidence)  # (h)
        if len(history) < taken.shape[1]:
            system, spread = self._short(taken, weight)
            return np.asarray(_solved(system, value) @ spread, np.float32)
        return np.asarray(_solved(self._long(taken, weight), value @ taken), np.float32)

    def users(self, histories: scipy.sparse.csr_matrix[Any]) -> F32:
        """User vectors, float32 (n_users, d), of many weighted histories (n_users, n_items)."""
        vectors = np.zeros((histories.shape[0], self.items.shape[1]), np.float32)
        ends = histories.indptr
        for row in range(len(vectors)):
            span = slice(ends[row], ends[row + 1])
            vectors[row] = self.user(histories.indices[span].tolist(), histories.data[span].tolist())
        return vectors

    def given(self, history: list[int], weights: list[float], codes: I32) -> F32:
        """The contribution of each history item to each score, float32 (n_codes, n_history); rows sum to the score.

        The share of item h in the score of item c is v_h · y_cᵀ A⁻¹ y_h (section 5 of the paper).
        """
        if not history:
            return np.zeros((len(codes), 0), np.float32)
        taken = self.items[history]
        weight = np.asarray(weights, np.float32)
        value = weight * np.float32(1 + self.confidence)
        if len(history) < taken.shape[1]:
            system, spread = self._short(taken, weight)
            return np.asarray((self.items[codes] @ spread.T) @ _solved(system, np.diag(value)), np.float32)
        return np.asarray(self.items[codes] @ _solved(self._long(taken, weight), taken.T * value), np.float32)

    def taking(self, places: I32) -> Factors:
        """Factors of other items: item i had the index `places[i]` among these; -1: new, with zero factors.

        `gram` stays that of the training items.
        """
        return Factors(rows_at(self.items, places), self.gram, self.confidence)

    def _short(self, taken: F32, weight: F32) -> tuple[F32, F32]:
        """For fewer items than factors, by Woodbury: x = valueᵀ · S⁻ᵀ · spread, an h × h system instead of d × d."""
        spread = taken @ self._inverse  # (h, d)
        system = (spread @ taken.T) * (weight * np.float32(self.confidence))[:, None]  # (h, h)
        system[np.arange(len(weight)), np.arange(len(weight))] += 1
        return system, spread

    def _long(self, taken: F32, weight: F32) -> F32:
        """A itself, float32 (d, d)."""
        return np.asarray(self._gram + (taken.T * (weight * np.float32(self.confidence))) @ taken, np.float32)

    def write(self, folder: Path) -> None:
        """Write the arrays into `folder`."""
        write_array(folder / "items.npy", self.items)
        write_array(folder / "gram.npy", self.gram)
        write_array(folder / "confidence.npy", np.array([self.confidence]))

    @classmethod
    def open(cls, folder: Path) -> Factors:
        """Open the arrays, the items memory-mapped. Raises `BundleCorrupt`."""
        confidence = float(open_array(folder / "confidence.npy", np.float64, (1,))[0])
        items = open_array(folder / "items.npy", np.float32, (None, None))
        gram = open_array(folder / "gram.npy", np.float64, (items.shape[1],) * 2)
        try:
            return cls(items, gram, confidence)
        except np.linalg.LinAlgError as problem:
            raise BundleCorrupt(f"{folder / 'gram.npy'} has no inverse") from problem


def _solved(system: F32, wanted: npt.NDArray[Any]) -> F32:
    _, _, found, failed = scipy.linalg.lapack.sgesv(
        system, wanted
    )  # np.linalg.solve, without its checks on a small array
    if failed:
        raise LearnError("the equations of a user's vector have no solution", tip="train with a larger `l2`")
    answer: F32 = found
    return answer
