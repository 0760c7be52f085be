"""The user-item matrix: 1 if a user has an item, however often; the input of most learners."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy  # its parts are loaded when they are first used

from tidemill.models.recommender.interactions import I32, Interactions

#: Users with more items say little about related items, and cost the square of their number.
LONGEST = 1_000


def user_item_matrix(events: Interactions) -> scipy.sparse.csr_matrix[Any]:
    """float32 (n_users, n_items), 1 if the user has the item."""
    everything = np.arange(events.n_items, dtype=np.int32)
    single: scipy.sparse.csr_matrix[Any] = taken_by(events, everything, events.n_items).astype(np.float32)
    return single


def taken_by(events: Interactions, place: I32, n: int) -> scipy.sparse.csr_matrix[Any]:
    """int64 (n_users, n): 1 if the user has the item; `place` is the index of each item among the n."""
    ones = np.ones(len(events), np.int64)
    matrix = scipy.sparse.csr_matrix((ones, (events.user, place[events.item])), shape=(events.n_users, n))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix
