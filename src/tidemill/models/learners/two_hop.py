"""Two-hop neighbours: two steps of a random walk over item-to-item weights.

P contains the `WIDTH` largest weights of each row, scaled to a row sum of 1; the second step is P². It reaches items
that no user took together with any item of a history, as user-kNN does through similar users, but without user
histories in the model. After random walks on the item graph (Gori & Pucci 2007; Cooper et al. 2014).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy  # its parts are loaded when they are first used

from tidemill.models.recommender.item_lists import ItemLists

#: Number of neighbours per item in a walk: more cost more and found no more.
WIDTH = 20


def two_hop_weights(matrix: scipy.sparse.csr_matrix[Any]) -> scipy.sparse.csr_matrix[Any]:
    """float32 (n_items, n_items): the probability that a two-step walk from the row's item ends at the column's."""
    step = ItemLists.from_matrix(matrix, WIDTH).matrix()
    mass = np.asarray(step.sum(axis=1)).ravel()
    step.data = step.data / np.repeat(np.where(mass > 0, mass, 1), np.diff(step.indptr)).astype(np.float32)
    walked: scipy.sparse.csr_matrix[Any] = (step @ step).tocsr()
    walked.sort_indices()
    return walked
