"""Time-decayed co-occurrence of items: which item follows which, counted over each user's events.

For events a before b of one user, at lag k = 1..max_lag, the pair weighs

    (exp(-Δt / gap) + 0.1) · k^-½ · 2^-(age of b / half_life) · (1.5 if on the same day)

W adds these up, M = W + backward · Wᵀ, and M_ij is damped by (f_i + 5)^-damping · (f_j + 5)^-damping with f the decayed
counts. Pair counts are additive, so they can be kept fresh with every increment. Sequence-aware item-to-item counting
goes back to Linden et al. (2003) and to the session-based kNN family (Ludewig & Jannach 2018).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from tidemill.models.facts import DAY_US
from tidemill.models.interactions import F64, I32, Interactions

#: Weight of a pair however far its events lie apart, and the factor of pairs on one day.
FLOOR, SAME_DAY = 0.1, 1.5
#: Added to counts before damping.
SMOOTH = 5.0
#: Pairs that wait to be added up; adding to a large matrix costs as much as the matrix.
WAITING = 20_000_000


def cooccurrence_matrix(
    events: Interactions,
    as_of: int,
    *,
    half_life_days: float,
    gap_days: float,
    backward: float,
    damping: float,
    max_lag: int,
) -> sp.csr_matrix[Any]:
    """float32 (n_items, n_items): row i weighs the items that go with item i; the diagonal is empty."""
    fresh = np.exp2(-(as_of - events.time) / (DAY_US * half_life_days))  # (n_events)
    forward = _pairs(events, fresh, gap_days, max_lag)
    both = (forward + backward * forward.T).tocsr()
    frequency = np.bincount(events.item, weights=fresh, minlength=events.n_items)
    damp = sp.diags_array((frequency + SMOOTH) ** -damping)
    matrix = (damp @ both @ damp).tocsr()
    matrix.sort_indices()
    single: sp.csr_matrix[Any] = matrix.astype(np.float32)
    return single


def _pairs(events: Interactions, fresh: F64, gap_days: float, max_lag: int) -> sp.csr_matrix[Any]:
    """Weights of "the column's item was taken after the row's"."""
    total: sp.csr_matrix[Any] = sp.csr_matrix((events.n_items, events.n_items))
    waiting: list[tuple[F64, I32, I32]] = []
    longest = int(np.diff(events.starts).max(initial=0))
    for lag in range(1, min(max_lag, longest - 1) + 1):
        first = np.flatnonzero(events.user[:-lag] == events.user[lag:])
        first = first[events.item[first] != events.item[first + lag]]
        then = first + lag
        days = (events.time[then] - events.time[first]) / DAY_US
        weight = (np.exp(-days / gap_days) + FLOOR) * lag**-0.5 * fresh[then]
        weight *= np.where(events.time[then] // DAY_US == events.time[first] // DAY_US, SAME_DAY, 1.0)
        waiting.append((weight, events.item[first], events.item[then]))
        if sum(len(weights) for weights, _, _ in waiting) > WAITING:
            total, waiting = total + _summed(waiting, events.n_items), []
    summed: sp.csr_matrix[Any] = total + _summed(waiting, events.n_items)
    return summed


def _summed(pairs: list[tuple[F64, I32, I32]], n: int) -> sp.csr_matrix[Any]:
    if not pairs:
        return sp.csr_matrix((n, n))
    weights, rows, columns = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
    summed: sp.csr_matrix[Any] = sp.csr_matrix((weights, (rows, columns)), shape=(n, n))
    return summed
