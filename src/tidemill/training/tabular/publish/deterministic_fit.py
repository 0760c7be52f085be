"""Deterministic fitting: one thread and seeded generators, so that the same rows give the same model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tidemill.core.processes.single_thread import single_thread


def fit_deterministically(estimator: Any, inputs: Any, target: Any, seed: int) -> Any:
    """The fitted estimator."""
    with deterministic(seed):
        return estimator.fit(inputs, target)


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """One thread for every numeric library, and NumPy's global generator seeded; both are restored afterwards."""
    before = np.random.get_state()  # scikit-learn uses it if `random_state` is not set
    np.random.seed(seed % 2**32)
    try:
        with single_thread():
            yield
    finally:
        np.random.set_state(before)
