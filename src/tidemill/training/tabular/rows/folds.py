"""Cross-validation folds, computed from the rows and the seed alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidemill.models.tabular.examples import Examples

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
#: Training rows and held-out rows: indices, int64, ascending.
Fold = tuple[I64, I64]

#: Share of the latest rows that are held out if rows have a time.
LATEST = 0.2
COUNT = 5
#: Above this many rows only one fold is held out: a fifth of many rows is precise enough.
_MANY = 300_000


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Indices of some training rows, int64 (n), and their predictions, float64 (n), or (n, k) for classes."""

    places: I64
    answer: F64


def folds_of(examples: Examples, *, seed: int) -> tuple[Fold, ...]:
    """The latest fifth if rows have a time; else five folds, by group if there are groups, with balanced classes."""
    n = len(examples)
    if examples.time is not None and np.ptp(examples.time):
        return (_latest(examples.time),)
    of = _fold_numbers(examples, COUNT, seed)
    folds = [(np.flatnonzero(of != fold), np.flatnonzero(of == fold)) for fold in range(COUNT)]
    folds = [fold for fold in folds if len(fold[0]) and len(fold[1])]
    return tuple(folds[:1] if n > _MANY else folds)


def _latest(time: I64) -> Fold:
    """Rows of one instant stay together."""
    times = np.sort(time)
    cut = times[int(len(times) * (1 - LATEST))]
    cut = cut if cut > times[0] else times[times > times[0]][0]
    return np.flatnonzero(time < cut), np.flatnonzero(time >= cut)


def _fold_numbers(examples: Examples, count: int, seed: int) -> I64:
    rng = np.random.default_rng(seed)
    if examples.group is not None:
        groups, of = np.unique(examples.group, return_inverse=True)
        found: I64 = (rng.permutation(len(groups)) % count)[of]
        return found
    numbers = np.empty(len(examples), np.int64)
    order = rng.permutation(len(examples))
    if examples.task in ("binary", "classes"):
        order = order[np.argsort(examples.target[order], kind="stable")]
    numbers[order] = np.arange(len(order)) % count
    return numbers


def blocks_of(examples: Examples, held: I64) -> I64:
    """int64 (n_held): blocks of rows with correlated losses: a group, a stretch of time, or a single row."""
    if examples.group is not None:
        return np.unique(examples.group[held], return_inverse=True)[1]
    if examples.time is not None:
        ranks = np.argsort(np.argsort(examples.time[held], kind="stable"), kind="stable")
        return np.asarray(ranks * min(50, len(held)) // max(len(held), 1))
    return np.arange(len(held))
