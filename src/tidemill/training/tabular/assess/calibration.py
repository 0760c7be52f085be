"""Calibration: predicted probabilities compared with observed frequencies in bins of similar predictions.

The expected calibration error is the mean absolute difference of the two, over bins of equally many rows, corrected for
sampling noise, as a perfect model has differences too. The variance of the outcomes inflates the squared differences
(Kumar, Liang & Ma 2019, "Verified Uncertainty Calibration"); the error is reduced by the same share. Without groups, a
bin's interval is Wilson's (1927).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tidemill.core.records.assessment import CalibrationBin
from tidemill.core.records.quality import FEWEST_USERS, Metric
from tidemill.core.wilson_interval import wilson_interval
from tidemill.training.statistics.bootstrap import Bootstrap, interval
from tidemill.training.tabular.assess.losses import RowAnswers

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: Maximum number of bins, and minimum rows per bin.
MOST_BINS, FEWEST_ROWS = 10, 3 * FEWEST_USERS


def bins_of(told: RowAnswers, draws: Bootstrap) -> tuple[CalibrationBin, ...]:
    """Up to ten bins of about equal size, by rising prediction; for classes, by the predicted class's probability."""
    answer, came = told.sides
    place = _places(answer)
    shares = told.task in ("binary", "classes")
    found = []
    for bin_ in range(int(place.max(initial=-1)) + 1):
        rows = place == bin_
        if rows.sum() < FEWEST_USERS:
            continue
        n = int(rows.sum())
        plain = shares and draws.units == draws.n
        observed = _share(float(came[rows].sum()), n) if plain else draws.mean(came[rows], np.flatnonzero(rows))
        low, high = float(answer[rows].min()), float(answer[rows].max())
        found.append(CalibrationBin(n=n, low=low, high=high, predicted=float(answer[rows].mean()), observed=observed))
    return tuple(found)


def calibration_error(told: RowAnswers, draws: Bootstrap) -> Metric | None:
    """The expected calibration error minus that of chance, with its 95% interval; `None` for numbers and counts."""
    if told.task in ("number", "count"):
        return None
    answer, came = told.sides
    place = _places(answer)
    n_bins = int(place.max(initial=0)) + 1
    inside = np.zeros((len(answer), n_bins))
    inside[np.arange(len(answer)), place] = 1.0
    columns = np.concatenate((inside, inside * answer[:, None], inside * came[:, None]), axis=1)
    drawn = draws.sums(columns)
    noise = _gaps(drawn, n_bins)[1].var(axis=0)  # variance of each bin's difference, with groups
    value = _error(columns.sum(axis=0)[None], n_bins, noise)[0]
    # A resample adds the sampling noise once more, so twice the variance is subtracted.
    found = interval(float(value), _error(drawn, n_bins, 2 * noise))
    return Metric(value=found.value, low=min(found.low, found.value), high=max(found.high, found.value))


def _share(positive: float, n: int) -> Metric:
    low, high = wilson_interval(positive, n)
    return Metric(value=positive / n, low=low, high=high)


def _places(answer: F64) -> I64:
    """The bin of each row, int64 (n): quantiles; equal predictions share a bin."""
    n_bins = int(np.clip(len(answer) // FEWEST_ROWS, 1, MOST_BINS))
    edges = np.unique(np.quantile(answer, np.arange(1, n_bins) / n_bins, method="lower"))
    place = np.searchsorted(edges, answer, side="left")
    return np.unique(place, return_inverse=True)[1].astype(np.int64)


def _gaps(sums: F64, n_bins: int) -> tuple[F64, F64]:
    """Rows of each bin, and mean prediction minus mean outcome, float64 (d, n_bins); from sums (d, 3 · n_bins)."""
    n = sums[:, :n_bins]
    return n, (sums[:, n_bins : 2 * n_bins] - sums[:, 2 * n_bins :]) / np.maximum(n, 1e-9)


def _error(sums: F64, n_bins: int, noise: F64) -> F64:
    """float64 (d): the mean difference, times the root of the share of its square that exceeds `noise`."""
    n, gap = _gaps(sums, n_bins)
    weight = n / np.maximum(n.sum(axis=1, keepdims=True), 1e-9)
    squared = np.maximum((weight * gap**2).sum(axis=1), 1e-300)
    real = np.sqrt(np.maximum(1 - (weight * noise).sum(axis=1) / squared, 0.0))
    found: F64 = (weight * np.abs(gap)).sum(axis=1) * real
    return found
