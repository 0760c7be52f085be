"""Item-kNN: cosine between items over the users who took both, shrunk where few did (Sarwar et al. 2001)."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from tidemill.models.common_counts import LONGEST, CommonCounts, taken_by
from tidemill.models.interactions import Interactions

__all__ = ["LONGEST", "cosine_matrix", "user_item_matrix"]


def user_item_matrix(events: Interactions) -> sp.csr_matrix[Any]:
    """float32 (n_users, n_items), 1 where the user has the item."""
    everything = np.arange(events.n_items, dtype=np.int32)
    single: sp.csr_matrix[Any] = taken_by(events, everything, events.n_items).astype(np.float32)
    return single


def cosine_matrix(events: Interactions, *, shrinkage: float) -> sp.csr_matrix[Any]:
    """float32 (n_items, n_items): cosine · common / (common + shrinkage), the diagonal empty."""
    return CommonCounts.of(events).cosine(events.items, shrinkage=shrinkage)
