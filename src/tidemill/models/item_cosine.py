"""Item-kNN: cosine between items over the users who took both, shrunk where few did (Sarwar et al. 2001)."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from tidemill.models.interactions import Interactions

#: Users with more events than this say little about which items go together, and cost its square.
LONGEST = 1_000


def user_item_matrix(events: Interactions) -> sp.csr_matrix[Any]:
    """float32 (n_users, n_items), 1 where the user has the item."""
    ones = np.ones(len(events), np.float32)
    matrix = sp.csr_matrix((ones, (events.user, events.item)), shape=(events.n_users, events.n_items))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def cosine_matrix(events: Interactions, *, shrinkage: float) -> sp.csr_matrix[Any]:
    """float32 (n_items, n_items): cosine · common / (common + shrinkage), the diagonal empty."""
    users = user_item_matrix(events)
    users = users[np.diff(users.indptr) <= LONGEST]
    common = (users.T @ users).tocsr()
    norm = np.sqrt(np.maximum(common.diagonal(), 1.0))
    rows = np.repeat(np.arange(events.n_items), np.diff(common.indptr))
    common.data = common.data**2 / (common.data + shrinkage) / (norm[rows] * norm[common.indices])
    common.setdiag(0)
    common.eliminate_zeros()
    single: sp.csr_matrix[Any] = common.astype(np.float32)
    return single
