"""Recent popularity: counts over a few windows, weighted to approximate a half-life, and the resulting order.

An event of age a counts 2^(-a / half_life); windows of 7, 30, 90 and 365 days turn that curve into steps. The
same value can thus be computed from window counts in training and from live counts, which change after training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tidemill.models.recommender.interactions import F32, I32

#: Ends of the windows, in days.
WINDOWS = (7, 30, 90, 365)
Steps = tuple[tuple[int, float], ...]


def decay_steps(half_life_days: float) -> Steps:
    """`(days, weight)` of each window: the weight of its count, always positive.

    >>> [days for days, _ in decay_steps(30)]
    [7, 30, 90, 365]
    """
    ends = np.array((0, *WINDOWS), np.float64)
    mass = 2.0 ** -(ends / half_life_days)
    mean = (mass[:-1] - mass[1:]) * half_life_days / np.log(2) / np.diff(ends)  # mean weight of each interval
    inner = mean - np.append(mean[1:], 0.0)
    return tuple((days, float(weight)) for days, weight in zip(WINDOWS, inner, strict=True))


def recent_popularity(steps: Sequence[tuple[int, float]], counts: Callable[[int | None], npt.NDArray[np.int64]]) -> F32:
    """float32 (n_items), scaled to at most 1: the weighted sum of window counts."""
    total = sum((weight * counts(days) for days, weight in steps), start=np.zeros(1))
    peak = float(np.max(total, initial=0.0))
    return (total / peak if peak > 0 else total * np.ones(len(counts(None)))).astype(np.float32)


def popularity_order(recent: npt.ArrayLike, all_time: npt.ArrayLike) -> I32:
    """int32 (n_items): codes by recent events, then by events of all time, then in item order.

    It is the fallback order of a slate and its tie-breaker for scores.

    >>> popularity_order([0, 2, 0], [5, 2, 5]).tolist()
    [1, 0, 2]
    """
    counts = np.asarray(recent)
    return np.lexsort((np.arange(len(counts)), -np.asarray(all_time), -counts)).astype(np.int32)
