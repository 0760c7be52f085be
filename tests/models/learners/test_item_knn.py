"""How many users two items share, kept and made anew: the same whole numbers."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from changing_events import Rows, histories_of_a_table, interactions, touched
from hypothesis import given
from known_worlds import checkerboard, events

from tidemill.core.errors import BundleCorrupt
from tidemill.models import Interactions
from tidemill.models.learners import item_knn as module
from tidemill.models.learners.item_knn import CommonCounts, cosine_matrix


def by_hand(told: Interactions, longest: int) -> np.ndarray:
    """Shared users from sets."""
    takers: dict[int, set[int]] = {item: set() for item in range(told.n_items)}
    for user in range(told.n_users):
        items = set(told.history(user)[0].tolist())
        for item in items if len(items) <= longest else ():
            takers[item].add(user)
    return np.array([[len(takers[i] & takers[j]) for j in takers] for i in takers]).reshape(len(takers), len(takers))


@given(histories_of_a_table())
def test_kept_counts_are_those_made_anew(moments: list[Rows]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LONGEST", 3)
        kept = CommonCounts.from_interactions(interactions(moments[0]))
        for before, after in itertools.pairwise(moments):
            kept = kept.changed(*touched(before, after))
            now = interactions(after)
            assert kept.tally.known == list(now.items)
            common = kept.matrix(now.items)
            assert (common.data > 0).all()
            assert np.array_equal(common.toarray(), by_hand(now, 3))
            found, wanted = kept.cosine(now.items, shrinkage=2.0), cosine_matrix(now, shrinkage=2.0)
            assert np.array_equal(found.indices, wanted.indices)
            assert np.array_equal(found.data, wanted.data)


def test_a_user_with_too_many_items_counts_for_nobody_until_rows_go() -> None:
    many = events([("u", f"i{n:04}", 1.0) for n in range(module.LONGEST + 1)])
    counts = CommonCounts.from_interactions(many)
    assert counts.matrix(many.items).nnz == 0
    assert counts.tally.known == list(many.items)
    fewer = many.where(np.arange(len(many)) < module.LONGEST)
    assert counts.changed(many, fewer).matrix(fewer.items).nnz == module.LONGEST**2


def test_counts_come_back_from_their_folder(tmp_path: Path) -> None:
    told = checkerboard()
    CommonCounts.from_interactions(told).write(tmp_path / "counts")
    opened = CommonCounts.open(tmp_path / "counts")
    assert (opened.matrix(told.items) != CommonCounts.from_interactions(told).matrix(told.items)).nnz == 0
    (tmp_path / "counts" / "events.npy").unlink()
    with pytest.raises(BundleCorrupt):
        CommonCounts.open(tmp_path / "counts")
