"""Training noise: the variance of a metric over fits with other seeds, added to its interval over test rows.

Two fits of one plan on the same rows differ only by their seeds, and an interval over test rows alone calls this
difference significant if the test is large. Few fits tell little of their variance, so the interval is that of
Student's t with the degrees of freedom of Welch and Satterthwaite (Satterthwaite 1946).
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtrit

from tidemill.core.records.quality import Metric

F64 = npt.NDArray[np.float64]


def with_training_noise(found: Metric, *fits: F64) -> Metric:
    """`found` with an interval that covers training too: `fits` are the values of each model's fits, float64 (k).

    >>> rows_only = Metric(value=0.5, low=0.48, high=0.52)
    >>> found = with_training_noise(rows_only, np.array([0.5, 0.53, 0.46]))
    >>> found.low < 0.42, with_training_noise(rows_only, np.array([0.5, 0.5])) == rows_only
    (True, True)
    """
    noise = [(float(np.var(one, ddof=1)), len(one) - 1) for one in fits if len(one) > 1]
    added = sum(variance for variance, _ in noise)
    if not added > 0:
        return found

    def half(over_rows: float) -> float:
        total = (over_rows / float(ndtri(0.975))) ** 2 + added
        freedom = total**2 / sum(variance**2 / n for variance, n in noise)
        return float(stdtrit(freedom, 0.975)) * sqrt(total)

    return Metric(
        value=found.value,
        low=found.value - half(found.value - found.low),
        high=found.value + half(found.high - found.value),
    )
