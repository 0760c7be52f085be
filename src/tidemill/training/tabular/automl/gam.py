"""A generalised additive model (GAM): linear splines with a ridge penalty; logistic, Poisson, mean or median.

Fitted by Newton steps (iteratively reweighted least squares; Hastie and Tibshirani 1986); absolute error by the same
steps with weights 1/|residual| (Schlossmacher 1973); several classes by L-BFGS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize, sparse

from tidemill.core.records.signature import Task
from tidemill.models.tabular.recipe import AdditiveTerms, Encoder, Member
from tidemill.training.tabular.automl.linear_splines import (
    SplineBasis,
    basis_of,
    roughness_of,
    spline_basis,
    terms_of,
)
from tidemill.training.tabular.automl.member_settings import Curves, Parts
from tidemill.training.tabular.rows.row_losses import Measure, row_losses

F64 = NDArray[np.float64]
_STEPS, _ENOUGH = 25, 1e-6


@dataclass(frozen=True)
class FittedGam:
    """Weights (n_hats, k) and bias (k) over the hats of the columns."""

    hats: tuple[SplineBasis, ...]
    weights: F64
    bias: F64
    usual: F64
    root: bool
    rounds: int = 0

    def margins(self, design: F64) -> F64:
        """float64 (n, k)."""
        found: F64 = basis_of(design, self.hats) @ self.weights + self.bias
        return found

    def written(self, name: str, columns: tuple[int, ...]) -> tuple[Member, Parts]:
        """The member as a part of a recipe; it has no files."""
        terms = terms_of(self.weights, self.hats, self.usual, columns)
        return AdditiveTerms(
            name=name, then="square" if self.root else "", terms=terms, bias=tuple(self.bias.tolist())
        ), {}


class GamFit:
    """The fits on one set of rows for any ridge penalty; each is a warm start for the next."""

    def __init__(
        self,
        design: F64,
        target: F64,
        encoders: Sequence[Encoder],
        task: Task,
        measure: Measure,
        n_classes: int,
        settings: Curves,
    ) -> None:
        self._hats = spline_basis(design, encoders, settings.knots)
        self._basis = basis_of(design, self._hats)
        self._rough = roughness_of(self._hats)
        #: Numbers are fitted in units of their spread, so a penalty means the same for minutes as for millions.
        self._middle, self._spread = _units(target) if task == "number" else (0.0, 1.0)
        self._target, self._task, self._measure = (target - self._middle) / self._spread, task, measure
        self._root = settings.root
        self._k = n_classes if task == "classes" else 1
        self._at: F64 = np.zeros((self._basis.shape[1], self._k))
        self._bias: F64 = _start(self._target, task, measure, self._k)

    def fit(self, ridge: float) -> FittedGam:
        """The GAM with this penalty."""
        if self._task == "classes":
            self._at, self._bias = _softmax_fit(self._basis, self._target, self._at, self._bias, ridge * self._rough)
        else:
            found = _newton(
                self._basis,
                self._target,
                np.append(self._at[:, 0], self._bias),
                ridge * self._rough,
                self._task,
                self._measure,
            )
            self._at, self._bias = found[:-1, None], found[-1:]
        usual = np.asarray(self._basis.mean(axis=0)).ravel()
        weights, bias = self._at * self._spread, self._bias * self._spread + self._middle
        return FittedGam(self._hats, weights, bias, usual, self._root)


def _units(target: F64) -> tuple[float, float]:
    middle = float(np.median(target))
    return middle, float(np.abs(target - middle).mean()) or 1.0


def _start(target: F64, task: Task, measure: Measure, k: int) -> F64:
    """The margins of the intercept alone."""
    if task == "classes":
        shares = (np.bincount(target.astype(np.int64), minlength=k) + 0.5) / (len(target) + 0.5 * k)
        return np.asarray(np.log(shares))
    mean = float(target.mean())
    if task == "binary":
        share = (mean * len(target) + 0.5) / (len(target) + 1)
        return np.asarray([np.log(share / (1 - share))])
    if task == "count":
        return np.asarray([np.log(max(mean, 0.5 / len(target)))])
    return np.asarray([float(np.median(target)) if measure == "mae" else mean])


def _newton(
    basis: sparse.csr_array, target: F64, at: F64, rough: sparse.csr_array, task: Task, measure: Measure
) -> F64:
    """Weights and, last, the bias, by Newton steps with step halving."""
    x = sparse.csr_array(sparse.hstack([basis, sparse.csr_array(np.ones((len(target), 1)))], format="csr"))
    xt = sparse.csr_array(x.T)
    cost = sparse.csr_array(sparse.block_diag([rough, sparse.csr_array([[1e-9]])]))
    scale = float(np.median(np.abs(target - np.median(target)))) or float(target.std()) or 1.0

    def loss(w: F64) -> float:
        per_row = row_losses((x @ w)[:, None], target, task, measure)
        halves = {"number": 1 / scale if measure == "mae" else 0.5, "count": 0.5}.get(task, 1.0)
        return float(per_row.sum() * halves + 0.5 * (w @ (cost @ w)))

    now = loss(at)
    for _ in range(_STEPS):
        residual, curvature = _derivatives(x @ at, target, task, measure, scale)
        weighted = sparse.csr_array(x.multiply(curvature[:, None]))
        hessian = (xt @ weighted).toarray()
        hessian += cost.toarray()
        hessian[np.diag_indices_from(hessian)] += 1e-9
        step = linalg.solve(hessian, -(xt @ residual + cost @ at), assume_a="pos")
        for halving in range(12):
            there = at + step * 0.5**halving
            then = loss(there)
            if then <= now:
                break
        else:
            break
        gained, at, now = now - then, there, then
        if gained <= _ENOUGH * max(abs(now), 1.0):
            break
    return at


def _derivatives(margin: F64, target: F64, task: Task, measure: Measure, scale: float) -> tuple[F64, F64]:
    """The first derivative of each row's loss with respect to its margin, and the second or a bound of it."""
    if task == "binary":
        p = 1 / (1 + np.exp(-np.clip(margin, -35, 35)))
        return p - target, np.maximum(p * (1 - p), 1e-6)
    if task == "count":
        mean = np.exp(np.minimum(margin, 50.0))
        return mean - target, np.maximum(mean, 1e-6)
    if measure == "mae":
        residual = margin - target
        weight = 1 / np.maximum(np.abs(residual), 0.02 * scale) / scale
        return residual * weight, weight
    return margin - target, np.ones(len(target))


def _softmax_fit(basis: sparse.csr_array, target: F64, at: F64, bias: F64, rough: sparse.csr_array) -> tuple[F64, F64]:
    """Weights (n_hats, k) and bias (k) by L-BFGS on the multinomial log loss."""
    n, (p, k) = len(target), at.shape
    basis_t = sparse.csr_array(basis.T)
    is_class = np.zeros((n, k))
    is_class[np.arange(n), target.astype(np.int64)] = 1.0

    def value(flat: F64) -> tuple[float, F64]:
        w, b = flat[: p * k].reshape(p, k), flat[p * k :]
        margins = basis @ w + b
        margins -= margins.max(axis=1, keepdims=True)
        raised = np.exp(margins)
        total = raised.sum(axis=1, keepdims=True)
        loss = float((np.log(total[:, 0]) - (margins * is_class).sum(axis=1)).sum() + 0.5 * (w * (rough @ w)).sum())
        off = raised / total - is_class
        gradient: F64 = np.append((basis_t @ off + rough @ w).ravel(), off.sum(axis=0))
        return loss / n, gradient / n

    start = np.append(at.ravel(), bias)
    options = {"maxiter": 300, "ftol": 1e-9, "gtol": 1e-6}
    found: F64 = optimize.minimize(  # type: ignore[call-overload]
        value, start, jac=True, method="L-BFGS-B", options=options
    ).x
    return found[: p * k].reshape(p, k), found[p * k :]
