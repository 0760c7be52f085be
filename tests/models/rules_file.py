"""A project's own rules, as they stand in a file of its own."""

from __future__ import annotations

import math

import numpy as np

DAY = 86_400_000_000
OLDEST_DAYS = 90.0


def _age(candidates, column: str) -> np.ndarray:
    return (candidates.as_of - candidates["updated_at"]) / DAY if column else np.zeros(len(candidates))


def fresh(candidates) -> np.ndarray:
    """Only items that changed within ninety days."""
    return candidates.present("updated_at") & ((candidates.as_of - candidates["updated_at"]) / DAY < OLDEST_DAYS)


def cheap_first(candidates) -> np.ndarray:
    """A boost for cheap items, for those who look at the price."""
    careful = candidates.user.get("careful", False)
    return np.where(candidates["price"] < math.sqrt(100.0), 0.5, 0.0) * careful


def reads_by_variable(candidates) -> np.ndarray:
    column = "price"
    return candidates[column] > 0


def opens_a_file(candidates) -> np.ndarray:
    import os

    return np.ones(len(candidates), bool) if os.sep else np.zeros(len(candidates), bool)


def takes_nothing() -> np.ndarray:
    return np.ones(1, bool)


def make():
    def inner(candidates):
        return np.ones(len(candidates), bool)

    return inner


not_a_def = lambda candidates: np.ones(len(candidates), bool)  # noqa: E731 - what the test refuses
