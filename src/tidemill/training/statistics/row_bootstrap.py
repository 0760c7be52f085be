"""The Poisson bootstrap over test rows, or over groups if rows have groups, drawn once for all metrics.

All metrics use the same resamples, so shared effects cancel in the difference of two models (Chamandy et al. 2012).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from tidemill.core.records.quality import Metric
from tidemill.training.statistics.bootstrap import interval

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
#: Weights of rows, float64 (d, n) -> the metric in each of these resamples, float64 (d).
Weighted = Callable[[F64], F64]

#: Number of resamples of a small test and of a large one, and maximum weights in memory (one byte each).
MOST, FEWEST, HELD = 500, 100, 200_000_000
#: Weights converted to float64 at a time: two megabytes fit in the cache, which is three times as fast.
_BLOCK = 250_000


class RowBootstrap:
    """How often each of `n` rows is drawn in each resample; rows of one `group` are drawn together.

    >>> draws = RowBootstrap(1000)
    >>> found = draws.mean(np.arange(1000.0))
    >>> found.low < 499.5 < found.high
    True
    """

    def __init__(self, n: int, group: I64 | None = None, *, seed: int = 0) -> None:
        self.n = n
        units = n if group is None else len(codes := np.unique(group, return_inverse=True)[1]) and int(codes.max()) + 1
        #: Number of rows, or groups, that are drawn independently.
        self.units = units
        n_draws = int(np.clip(HELD // max(n, 1), FEWEST, MOST))
        rng = np.random.default_rng(seed)
        self._drawn = np.stack([rng.poisson(1.0, units).astype(np.uint8) for _ in range(n_draws)])  # (draws, units)
        self._unit = None if group is None else codes

    def __len__(self) -> int:
        return len(self._drawn)

    def resample(self, figures: Mapping[str, Weighted]) -> dict[str, F64]:
        """Each metric in every resample: float64 (draws), NaN if undefined."""
        step = max(1, _BLOCK // max(self.n, 1))
        found: dict[str, list[F64]] = {name: [] for name in figures}
        for at in range(0, len(self), step):
            weights = self._weights(at, at + step)
            for name, figure in figures.items():
                found[name].append(figure(weights))
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def sums(self, values: F64) -> F64:
        """The sum of each column of float64 (n, k) in every resample: float64 (draws, k)."""
        if self._unit is not None:  # rows of a group share their weight, so their sum suffices
            of_unit = np.zeros((self.units, values.shape[1]))
            np.add.at(of_unit, self._unit, values)
            values = of_unit
        step = max(1, _BLOCK // max(self.units, 1))
        found = [self._drawn[at : at + step].astype(np.float64) @ values for at in range(0, len(self), step)]
        return np.concatenate(found)

    def mean(self, values: F64) -> Metric:
        """The mean of float64 (n) with its 95% interval."""
        sums = self.sums(np.column_stack((values, np.ones(self.n))))
        return within(float(values.mean()), sums[:, 0] / np.maximum(sums[:, 1], 1.0))

    def units_in(self, rows: npt.NDArray[np.bool_]) -> int:
        """Number of rows, or groups with rows, in this mask, bool (n)."""
        return int(rows.sum()) if self._unit is None else len(np.unique(self._unit[rows]))

    def _weights(self, start: int, stop: int) -> F64:
        drawn = self._drawn[start:stop]
        return (drawn if self._unit is None else drawn[:, self._unit]).astype(np.float64)


def within(value: float, draws: F64) -> Metric:
    """`value` with the central 95% of its draws; undefined draws are left out."""
    known = draws[np.isfinite(draws)]
    if not len(known):
        return Metric(value=value, low=value, high=value)
    return interval(value, known)
