"""95% intervals over users by the Poisson bootstrap; paired, so shared effects cancel (Chamandy et al. 2012).

All metrics of an evaluation are resampled with the same users: the weights are drawn once, and each block of metrics
is multiplied by them as a matrix, so that thirty slices cost little more than one.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tidemill.core.records.quality import Metric

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_DRAWS, _CHUNK = 2_000, 100
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class BootstrapBlock:
    """Metrics of some users: their indices (`None`: all users), and float64 (n_selected, n_columns)."""

    users: I64 | None
    values: F64


class Bootstrap:
    """2,000 resamples of `n_users` users: how often each user is drawn, shared by all metrics."""

    def __init__(self, n_users: int, *, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        drawn = [rng.poisson(1.0, (_CHUNK, n_users)).astype(np.uint8) for _ in range(_DRAWS // _CHUNK)]
        self._drawn = np.concatenate(drawn)  # (draws, n_users)

    def sums(self, block: BootstrapBlock) -> F64:
        """The sum of every column in each resample: float64 (draws, n_columns)."""
        found = []
        for start in range(0, _DRAWS, _CHUNK):
            weights = self._drawn[start : start + _CHUNK]
            if block.users is not None:
                weights = weights[:, block.users]
            found.append(weights.astype(np.float64) @ block.values)
        return np.concatenate(found)

    def means(self, block: BootstrapBlock) -> F64:
        """The mean of every column instead of the sum; a resample without any of these users has mean zero."""
        sums = self.sums(BootstrapBlock(block.users, np.column_stack((block.values, np.ones(len(block.values))))))
        means: F64 = sums[:, :-1] / np.maximum(sums[:, -1:], 1.0)
        return means


def interval(value: float, draws: F64) -> Metric:
    """`value` with the central 95% of its `draws`."""
    low, high = np.quantile(draws, (0.025, 0.975))
    return Metric(value=float(value), low=float(low), high=float(high))


def intervals(columns: Mapping[Name, F64], *, seed: int = 0) -> dict[Name, Metric]:
    """The mean of each column (n_users) with its 95% interval; all columns share the resampled users."""
    values = np.column_stack(list(columns.values()))  # (n_users, n_columns)
    means = Bootstrap(len(values), seed=seed).means(BootstrapBlock(None, values))
    return {name: interval(values[:, i].mean(), means[:, i]) for i, name in enumerate(columns)}
