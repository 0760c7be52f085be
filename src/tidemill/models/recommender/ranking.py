"""Ranking of candidates by a trained ranker: trees over part scores, item counts and the history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tidemill.models.formats.arrays import open_array, write_array
from tidemill.models.recommender.folded_in_user import FoldedInUser
from tidemill.models.recommender.interactions import F32, I32, I64
from tidemill.models.recommender.ranker import Ranker
from tidemill.models.recommender.ranker_features import item_features, query_features


@dataclass(frozen=True, eq=False)
class CandidateRanker:
    """A ranker and the time of each item's first event: `first_seen` int64 (n_items), microseconds."""

    ranker: Ranker
    first_seen: I64

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.first_seen)

    def of_items(self, counts: Callable[[int | None], npt.NDArray[np.int64]], as_of: int) -> F32:
        """float32 (n_items, n_item_features), computed once per state of the live counts."""
        return self.features_of(self.first_seen, counts, as_of)

    @staticmethod
    def features_of(first_seen: I64, counts: Callable[[int | None], npt.NDArray[np.int64]], as_of: int) -> F32:
        """The same before the ranker is trained; counts may have newer items at the end."""
        return item_features(lambda days: counts(days)[: len(first_seen)], first_seen, as_of)

    def scores(self, profile: FoldedInUser, of_items: F32, codes: I32, as_of: int) -> F32:
        """float32 (n_codes), 0 to 1."""
        return self.ranker.scores(query_features(profile, of_items, codes, as_of))

    def write(self, folder: Path) -> None:
        """Write the trees as text and the times as an array."""
        self.ranker.write(folder)
        write_array(folder / "first_seen.npy", self.first_seen)

    @classmethod
    def open(cls, folder: Path) -> CandidateRanker:
        """Open what `write` wrote."""
        return cls(Ranker.open(folder), open_array(folder / "first_seen.npy", np.int64, (None,)))
