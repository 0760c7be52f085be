"""A permutation test of a slice against other rows, also valid for small slices with skewed losses.

Under random assignment of rows to the slice, the sum of their losses has a known mean, variance and skew. A gamma
distribution with these three (Pearson's type III, as in Mielke & Berry, "Permutation Methods") has the tails of a
hundred thousand shuffles. A second test is Student's t with the spread of the resamples, which accounts for groups and
for slices with a larger variance; the larger p counts.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincc, ndtr, stdtr

F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: Below this skew the normal approximation is good enough.
_STRAIGHT = 1e-4


def slice_p(values: F64, inside: Mask, drawn: F64, units: int) -> float:
    """Two-sided p for the mean of `values` (n) being the same `inside` and outside.

    `drawn` are the differences in the resamples, `units` the number of rows, or groups, on the smaller side.
    """
    difference = float(values[inside].mean() - values[~inside].mean())
    return max(permutation_p(values, inside), spread_chance(difference, drawn, units))


def permutation_p(values: F64, inside: Mask) -> float:
    """Two-sided p by random assignment of rows: how often the sum inside would be at least as extreme.

    >>> values = np.r_[np.ones(20), np.zeros(180)]
    >>> permutation_p(values, np.arange(200) < 20) < 1e-10, permutation_p(values, np.arange(200) % 10 == 0) > 0.9
    (True, True)
    """
    n, m = len(values), int(inside.sum())
    away = values - values.mean()
    spread2 = float((away**2).mean()) * m * (n - m) / (n - 1)
    if spread2 <= 0 or n < 3:
        return 1.0
    third = float((away**3).mean()) * m * (n - m) * (n - 2 * m) / ((n - 1) * (n - 2))
    total = float(away[inside].sum())
    levels = np.unique(values[:1_000])
    if len(levels) <= 2 and len(levels := np.unique(values)) == 2:  # sums are discrete: continuity correction
        step = float(levels[1] - levels[0])
        total = math.copysign(max(abs(total) - step / 2, 0.0), total)
    return _two_sided(total / math.sqrt(spread2), third / spread2**1.5)


def spread_chance(difference: float, drawn: F64, units: int) -> float:
    """Two-sided p by Student's t with `units` - 1 degrees of freedom; 1 if the draws do not vary."""
    known = drawn[np.isfinite(drawn)]
    spread = float(known.std()) if len(known) > 1 else 0.0
    if units < 2:
        return 1.0
    if spread == 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * stdtr(units - 1, -abs(difference) / spread))


def _two_sided(z: float, skew: float) -> float:
    if skew < 0:
        z, skew = -z, -skew
    if skew < _STRAIGHT:
        return float(2 * ndtr(-abs(z)))
    shape = 4 / skew**2
    upper = float(gammaincc(shape, max(shape + z * math.sqrt(shape), 0.0)))
    return min(1.0, 2 * min(upper, 1 - upper)) if z < 0 else min(1.0, 2 * upper)
