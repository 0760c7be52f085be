"""Ratio estimates by Taylor linearisation: means of some rows, and their differences, with intervals and p values.

The ratio of two sums is nearly a sum of residuals, one of each row, so its variance needs one pass over the rows
(Cochran 1977, "Sampling Techniques", ch. 6) where a bootstrap needs hundreds. Residuals of one group are added first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from tidemill.core.records.quality import Metric

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RatioEstimate:
    """A ratio of sums over some rows, or a difference of two.

    `rows` are the indices of the rows, int64 (k), `residuals` what each adds to it, float64 (k), and `unit` the group
    of each of all `n` rows, or `None`. `units` is the number of independent rows, or groups, on the smaller side.
    """

    value: float
    rows: I64
    residuals: F64
    unit: I64 | None
    units: int

    @cached_property
    def spread(self) -> float:
        """The standard error."""
        sums: F64 = self.residuals
        if self.unit is not None:
            _, code = np.unique(self.unit[self.rows], return_inverse=True)
            sums = np.bincount(code, weights=self.residuals).astype(np.float64)
        n = len(sums)
        return sqrt(float(sums @ sums) * n / (n - 1)) if n > 1 else np.inf

    def interval(self) -> Metric:
        """The ratio with its 95% interval by Student's t; infinite for a single unit."""
        half = float(stdtrit(self.units - 1, 0.975)) * self.spread if self.units > 1 else np.inf
        return Metric(value=self.value, low=self.value - half, high=self.value + half)

    def p(self) -> float:
        """Two-sided p of the ratio being zero, by Student's t; 1 for a single unit."""
        spread = self.spread
        if self.units < 2:
            return 1.0
        if spread == 0:
            return 1.0 if self.value == 0 else 0.0
        return float(2 * stdtr(self.units - 1, -abs(self.value) / spread))

    def minus(self, other: RatioEstimate) -> RatioEstimate:
        """The difference from a ratio over other rows."""
        return RatioEstimate(
            self.value - other.value,
            np.concatenate((self.rows, other.rows)),
            np.concatenate((self.residuals, -other.residuals)),
            self.unit,
            min(self.units, other.units),
        )


def ratio_over(rows: I64, values: F64, counted: F64 | None = None, unit: I64 | None = None) -> RatioEstimate:
    """The sum of `values` divided by that of `counted`, each float64 (n), over `rows`; without `counted` the mean.

    >>> sold, asked = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 10.0])
    >>> ratio_over(np.arange(2), sold, asked).value
    0.5
    """
    above = values[rows]
    below = np.ones(len(rows)) if counted is None else counted[rows]
    total = float(below.sum())
    value = float(above.sum()) / total if total else np.nan
    units = len(rows) if unit is None else len(np.unique(unit[rows]))
    return RatioEstimate(value, rows, (above - value * below) / (total or 1.0), unit, units)


def mean_interval(values: F64, blocks: I64 | None = None) -> Metric:
    """The mean of float64 (n) with its 95% interval; the rows of one block, int64 (n), count as one observation.

    >>> found = mean_interval(np.array([1.0, 2.0, 3.0, 4.0]))
    >>> round(found.low, 2), round(found.high, 2)
    (0.45, 4.55)
    """
    return ratio_over(np.arange(len(values)), values, unit=blocks).interval()
