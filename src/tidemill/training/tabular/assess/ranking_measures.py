"""Ranking metrics of predictions (AUC, average precision), under many row weightings at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tidemill.training.statistics.bootstrap import Weighted

F64 = npt.NDArray[np.float64]


def weighted_auc(answer: F64, target: F64) -> Weighted:
    """The probability that a positive row ranks above a negative one; ties count half.

    NaN if one of the two is missing. Both arrays are float64 (n); the returned function maps weights (d, n) to (d).

    >>> float(weighted_auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0, 1, 1]))(np.ones((1, 4)))[0])
    0.75
    """
    order, starts, positive = _tied(answer, target)

    def auc(weights: F64) -> F64:
        drawn = weights[:, order]
        up = np.add.reduceat(drawn * positive, starts, axis=1)  # (d, n_distinct), answers rising
        down = np.add.reduceat(drawn * (1 - positive), starts, axis=1)
        below = np.cumsum(down, axis=1) - down / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            found: F64 = (up * below).sum(axis=1) / (up.sum(axis=1) * down.sum(axis=1))
        return found

    return auc


def weighted_average_precision(answer: F64, target: F64) -> Weighted:
    """Precision at each positive row from the largest prediction down, averaged; ties are handled together.

    >>> found = weighted_average_precision(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0, 1, 1]))
    >>> round(float(found(np.ones((1, 4)))[0]), 4)
    0.8333
    """
    order, starts, positive = _tied(-answer, target)

    def precision(weights: F64) -> F64:
        drawn = weights[:, order]
        up = np.add.reduceat(drawn * positive, starts, axis=1)  # (d, n_distinct), answers falling
        seen = np.cumsum(np.add.reduceat(drawn, starts, axis=1), axis=1)
        right = np.cumsum(up, axis=1) / np.maximum(seen, 1e-300)
        with np.errstate(invalid="ignore", divide="ignore"):
            found: F64 = (right * up).sum(axis=1) / up.sum(axis=1)
        return found

    return precision


def weighted_macro_auc(answer: F64, target: F64) -> Weighted:
    """The mean over classes of each class's one-vs-rest AUC; classes that do not occur are left out."""
    each = [weighted_auc(answer[:, k], (target == k).astype(np.float64)) for k in range(answer.shape[1])]

    def macro(weights: F64) -> F64:
        found = np.stack([auc(weights) for auc in each])  # (k, d)
        known = np.isfinite(found)
        with np.errstate(invalid="ignore"):
            mean: F64 = np.where(known, found, 0.0).sum(axis=0) / known.sum(axis=0)
        return mean

    return macro


def weighted_median(values: F64) -> Weighted:
    """The smallest value that at least half of the weight does not exceed."""
    order = np.argsort(values, kind="stable")
    rising = values[order]

    def median(weights: F64) -> F64:
        seen = np.cumsum(weights[:, order], axis=1)
        found: F64 = rising[(seen < seen[:, -1:] / 2).sum(axis=1)]
        return found

    return median


def _tied(answer: F64, target: F64) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], F64]:
    """The rows in ascending order, the start of each run of equal predictions, and the targets in that order."""
    order = np.argsort(answer, kind="stable")
    rising = answer[order]
    starts = np.flatnonzero(np.r_[True, rising[1:] != rising[:-1]])
    return order, starts, target[order]
