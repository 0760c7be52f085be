"""Stacking: a weighted sum of the members' margins with non-negative weights, fitted on out-of-fold rows.

Wolpert 1992; non-negative weights because negative ones only fit noise: Breiman 1996, "Stacked Regressions".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from tidemill.core.records.signature import Task
from tidemill.training.tabular.rows.row_losses import Measure, row_losses

F64 = NDArray[np.float64]
#: Members with a smaller weight are dropped.
LEAST = 0.03
#: Prior rows that shrink the weights towards equal ones: on few rows a member can be right by chance.
PULL_ROWS = 10.0
_PARTS = 5


@dataclass(frozen=True)
class Stack:
    """A weight for each member, and a bias that is added to every margin."""

    weights: tuple[float, ...]
    bias: tuple[float, ...]

    def margins(self, members: F64) -> F64:
        """float64 (n, k) of the members' margins (m, n, k)."""
        found: F64 = np.tensordot(np.asarray(self.weights), members, axes=1) + np.asarray(self.bias)
        return found


def stack(members: F64, target: F64, task: Task, measure: Measure) -> Stack:
    """The weights with the smallest loss on margins (m, n, k) of rows; small ones are set to zero."""
    weights, bias = _solved(members, target, task, measure)
    few = weights < LEAST
    if few.any() and not few.all():
        weights = np.zeros(len(members))
        weights[~few], bias = _solved(members[~few], target, task, measure)
    return Stack(tuple(weights.tolist()), tuple(bias.tolist()))


def stacked_apart(members: F64, target: F64, task: Task, measure: Measure, *, seed: int) -> F64:
    """Out-of-fold margins (n, k) of the stack: each fifth of the rows uses weights fitted on the other four."""
    part = np.random.default_rng(seed).permutation(len(target)) % _PARTS
    found = np.empty(members.shape[1:])
    for one in range(_PARTS):
        others = part != one
        found[~others] = stack(members[:, others], target[others], task, measure).margins(members[:, ~others])
    return found


def _solved(members: F64, target: F64, task: Task, measure: Measure) -> tuple[F64, F64]:
    """Weights (m) and bias (k) by L-BFGS-B."""
    m, _, k = members.shape
    shifts = k if task in ("binary", "count") else 0  # for classes and numbers the members' own level is kept
    scale = float(np.abs(target - np.median(target)).mean()) or 1.0 if task == "number" else 1.0

    def value(x: F64) -> tuple[float, F64]:
        margins = np.tensordot(x[:m], members, axes=1) + (x[m:] if shifts else 0.0)
        slope = _slope(margins, target, task, measure, scale) / len(target)  # (n, k)
        loss = _smooth(margins, target, task, measure, scale)
        by_weight = np.tensordot(members, slope, axes=([1, 2], [0, 1]))
        off = x - start
        slopes = np.append(by_weight, slope.sum(axis=0) if shifts else ())
        return loss + 0.5 * pull * float(off @ off), slopes + pull * off

    start = np.append(np.full(m, 1.0 / m), np.zeros(shifts))
    pull = PULL_ROWS / len(target)
    bounds = [(0.0, None)] * m + [(None, None)] * shifts
    found = optimize.minimize(value, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-10}).x
    return found[:m], found[m:] if shifts else np.zeros(k)


def _smooth(margins: F64, target: F64, task: Task, measure: Measure, scale: float) -> float:
    """The mean loss; the absolute error is smoothed at zero so that it is differentiable everywhere."""
    if task == "number" and measure == "mae":
        return float(np.sqrt(np.square(margins[:, 0] - target) + (0.01 * scale) ** 2).mean() / scale)
    divisor = scale**2 if task == "number" else 1.0
    return float(row_losses(margins, target, task, measure).mean() / divisor)


def _slope(margins: F64, target: F64, task: Task, measure: Measure, scale: float) -> F64:
    if task == "classes":
        raised = np.exp(margins - margins.max(axis=1, keepdims=True))
        shares: F64 = raised / raised.sum(axis=1, keepdims=True)
        shares[np.arange(len(target)), target.astype(np.int64)] -= 1.0
        return shares
    margin = margins[:, 0]
    if task == "binary":
        return np.asarray(1 / (1 + np.exp(-np.clip(margin, -500, 500))) - target)[:, None]
    if task == "count":
        return np.asarray(2 * (np.exp(np.minimum(margin, 50.0)) - target))[:, None]
    residual = margin - target
    if measure == "mae":
        return np.asarray(residual / np.sqrt(np.square(residual) + (0.01 * scale) ** 2) / scale)[:, None]
    return np.asarray(2 * residual / scale**2)[:, None]
