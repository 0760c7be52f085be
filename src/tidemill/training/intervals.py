"""95% intervals over users by the Poisson bootstrap; paired: what users share cancels (Chamandy et al. 2012)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tidemill.core.records import Metric

F64 = npt.NDArray[np.float64]

_DRAWS, _CHUNK = 2_000, 100
Name = TypeVar("Name", bound=Hashable)


def intervals(columns: Mapping[Name, F64], *, seed: int = 0) -> dict[Name, Metric]:
    """The mean of each column (n_users) with its 95% interval; all columns are resampled with the same users."""
    values = np.column_stack(list(columns.values()))  # (n_users, n_columns)
    rng = np.random.default_rng(seed)
    means = np.concatenate([_means(values, rng) for _ in range(_DRAWS // _CHUNK)])
    low, high = np.quantile(means, (0.025, 0.975), axis=0)
    mean = values.mean(axis=0)
    return {
        name: Metric(value=float(mean[i]), low=float(low[i]), high=float(high[i])) for i, name in enumerate(columns)
    }


def _means(values: F64, rng: np.random.Generator) -> F64:
    weights = rng.poisson(1.0, (_CHUNK, len(values))).astype(np.float64)
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1.0)
    return np.asarray(weights @ values / total)
