"""Linear splines: columns of a design matrix as hat functions between knots (a basis of degree 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tidemill.models.tabular.recipe import AdditiveTerm, Encoder, Ordinal

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class SplineBasis:
    """The hat functions of one column: one per knot, and one for missing values if they occur."""

    knots: F64
    missing: bool
    #: Neighbouring knots have similar weights; neighbouring codes do not.
    smooth: bool = True

    @property
    def width(self) -> int:
        return len(self.knots) + self.missing


def spline_basis(design: F64, encoders: Sequence[Encoder], n_knots: int) -> tuple[SplineBasis, ...]:
    """The hat functions of each column of (n, n_columns): at every code, or at quantiles of the values."""
    found = []
    for column, encoder in zip(design.T, encoders, strict=True):
        known = column[np.isfinite(column)]
        knots = (
            np.arange(len(encoder.codes), dtype=np.float64) if isinstance(encoder, Ordinal) else _knots(known, n_knots)
        )
        found.append(
            SplineBasis(
                knots if len(knots) else np.zeros(1), bool(np.isnan(column).any()), not isinstance(encoder, Ordinal)
            )
        )
    return tuple(found)


def _knots(known: F64, count: int) -> F64:
    """Quantiles of the values and of the distinct values: if most are zero, the others matter too."""
    distinct = np.unique(known)
    if len(distinct) <= count:
        return distinct
    at = np.linspace(0, 1, count // 2)
    return np.unique(np.append(np.quantile(known, at), np.quantile(distinct, at)))


def basis_of(design: F64, hats: Sequence[SplineBasis]) -> sparse.csr_array:
    """Sparse float64 (n, n_hats): at most two entries per row and column, which sum to one."""
    n, start = len(design), 0
    rows, columns, values = [], [], []
    for column, hat in zip(design.T, hats, strict=True):
        gone = np.isnan(column)
        here = np.flatnonzero(~gone)
        low, share = _between(column[here], hat.knots)
        rows += [here, here[share > 0]]
        columns += [start + low, start + low[share > 0] + 1]
        values += [1 - share, share[share > 0]]
        if hat.missing:
            rows.append(np.flatnonzero(gone))
            columns.append(np.full(gone.sum(), start + len(hat.knots)))
            values.append(np.ones(gone.sum()))
        start += hat.width
    if not rows:
        return sparse.csr_array((n, 0))
    places = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array((np.concatenate(values), places), shape=(n, start))


def _between(values: F64, knots: F64) -> tuple[NDArray[np.int64], F64]:
    """The knot below each value, and the relative position to the next knot; constant beyond the ends."""
    if len(knots) == 1:
        return np.zeros(len(values), np.int64), np.zeros(len(values))
    cut = np.clip(values, knots[0], knots[-1])
    low = np.clip(np.searchsorted(knots, cut, side="right") - 1, 0, len(knots) - 2)
    return low, (cut - knots[low]) / (knots[low + 1] - knots[low])


#: Share of the penalty that shrinks every weight to zero if the slopes are penalised already.
_LEVEL = 0.02


def roughness_of(hats: Sequence[SplineBasis]) -> sparse.csr_array:
    """Sparse float64 (n_hats, n_hats): the penalty matrix R of the weights, w'Rw.

    A curve is penalised for its slopes (P-splines, Eilers and Marx 1996), so that a straight line costs the same for
    any number of knots; a code is penalised for its own weight.
    """
    blocks = []
    for hat in hats:
        block = np.eye(hat.width)
        if hat.smooth and len(hat.knots) > 1:
            m = len(hat.knots)
            steps = np.diff(np.eye(m), axis=0)
            block[:m, :m] = _LEVEL * np.eye(m) + (m - 1) * steps.T @ steps
        blocks.append(block)
    return sparse.csr_array(sparse.block_diag(blocks)) if blocks else sparse.csr_array((0, 0))


def terms_of(weights: F64, hats: Sequence[SplineBasis], usual: F64, columns: Sequence[int]) -> tuple[AdditiveTerm, ...]:
    """The curves of weights (n_hats, k); `usual` (n_hats) is the mean of each hat, for columns without gaps."""
    found, start = [], 0
    for hat, column in zip(hats, columns, strict=True):
        end = start + len(hat.knots)
        known = weights[start:end]
        mean = usual[start : start + hat.width] @ weights[start : start + hat.width]
        missing = weights[end] if hat.missing else mean
        found.append(
            AdditiveTerm(
                column=column,
                knots=tuple(hat.knots.tolist()),
                values=tuple(tuple(row) for row in known.tolist()),
                missing=tuple(missing.tolist()),
                mean=tuple(mean.tolist()),
            )
        )
        start += hat.width
    return tuple(found)
