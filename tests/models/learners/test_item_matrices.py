"""Co-occurrence and cosine on worlds small enough to work out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp
from known_worlds import DAY, NOW, checkerboard, events

from tidemill.models import Interactions
from tidemill.models.counts.pair_counts import FLOOR, SAME_DAY, SMOOTH, cooccurrence_matrix
from tidemill.models.learners.item_knn import cosine_matrix
from tidemill.models.recommender.item_lists import ItemLists

PLAIN = {"half_life_days": 1e12, "gap_days": 10.0, "backward": 0.0, "damping": 0.0, "max_lag": 60}


def test_a_pair_weighs_what_the_formula_says() -> None:
    told = events([("u", "a", 10), ("u", "b", 15), ("u", "c", 15)])
    found = cooccurrence_matrix(told, NOW, **PLAIN).toarray()
    after_five_days = math.exp(-0.5) + FLOOR
    expected = np.zeros((3, 3))
    expected[0, 1] = after_five_days
    expected[0, 2] = after_five_days / math.sqrt(2)
    expected[1, 2] = (1 + FLOOR) * SAME_DAY
    assert np.allclose(found, expected)


def test_older_pairs_weigh_less_by_their_half_life() -> None:
    told = events([("u", "a", 60), ("u", "b", 70), ("v", "a", 90), ("v", "c", 100)])
    found = cooccurrence_matrix(told, 100 * DAY, **(PLAIN | {"half_life_days": 30.0})).toarray()
    assert found[0, 1] / found[0, 2] == pytest.approx(0.5)


def test_backward_adds_the_other_direction_and_damping_both_counts() -> None:
    told = events([("u", "a", 10), ("u", "b", 11), ("v", "b", 12)])
    one = cooccurrence_matrix(told, NOW, **PLAIN).toarray()
    both = cooccurrence_matrix(told, NOW, **(PLAIN | {"backward": 0.5})).toarray()
    assert np.allclose(both, one + 0.5 * one.T)
    damped = cooccurrence_matrix(told, NOW, **(PLAIN | {"damping": 0.5})).toarray()
    assert damped[0, 1] == pytest.approx(one[0, 1] / math.sqrt((1 + SMOOTH) * (2 + SMOOTH)))


def test_pairs_further_apart_than_max_lag_and_pairs_across_users_do_not_count() -> None:
    told = events([("u", "a", 1), ("u", "b", 2), ("u", "c", 3), ("v", "d", 4)])
    found = cooccurrence_matrix(told, NOW, **(PLAIN | {"max_lag": 1})).toarray()
    assert found[0, 2] == 0
    assert found[:, 3].sum() == found[3].sum() == 0


def test_pair_counts_add_up_over_users() -> None:
    """What makes them fit to be kept fresh: with time standing still, counts of two groups of users add."""
    told = checkerboard()
    whole = cooccurrence_matrix(told, NOW, **PLAIN).toarray()
    halves = [
        cooccurrence_matrix(
            Interactions(told.users, told.items, told.user[keep], told.item[keep], told.time[keep]), NOW, **PLAIN
        ).toarray()
        for keep in (told.user < 6, told.user >= 6)
    ]
    assert np.allclose(whole, halves[0] + halves[1], rtol=1e-5)


def test_cosine_is_shrunk_by_support() -> None:
    told = events([("u", "a", 1), ("u", "b", 1), ("v", "a", 1), ("v", "b", 1), ("w", "a", 1), ("w", "c", 1)])
    found = cosine_matrix(told, shrinkage=2.0).toarray()
    assert found[0, 1] == pytest.approx(2 / math.sqrt(3 * 2) * 2 / (2 + 2))
    assert found[0, 2] == pytest.approx(1 / math.sqrt(3 * 1) * 1 / (1 + 2))
    assert np.diag(found).tolist() == [0, 0, 0]
    assert np.allclose(found, found.T)


def test_lists_keep_the_best_and_never_the_item_itself() -> None:
    matrix = cosine_matrix(checkerboard(), shrinkage=1.0)
    lists = ItemLists.from_matrix(matrix, 3)
    dense = matrix.toarray()
    for item in range(12):
        row = lists.items[lists.starts[item] : lists.starts[item + 1]]
        kept = lists.weights[lists.starts[item] : lists.starts[item + 1]]
        assert len(row) == 3
        assert item not in row
        assert np.allclose(kept, np.sort(dense[item])[::-1][:3])


@pytest.mark.parametrize("signed", [False, True])
def test_lists_are_in_the_order_of_weights_and_ties_in_the_order_of_items(signed: bool) -> None:
    rng = np.random.default_rng(0)
    dense = np.round(rng.normal(size=(40, 40)), 1).astype(np.float32)  # many ties, and zeros
    lists = ItemLists.from_matrix(sp.csr_matrix(dense)[:, ::-1][:, ::-1], 9, signed=signed)
    for item, row in enumerate(dense):
        others = [other for other in range(40) if other != item and (row[other] != 0 if signed else row[other] > 0)]
        best = sorted(others, key=lambda other: (-abs(row[other]), other))[:9]
        if signed:
            best.sort(key=lambda other: (-row[other], other))
        assert lists.items[lists.starts[item] : lists.starts[item + 1]].tolist() == best


def test_fold_in_is_the_product_with_the_matrix() -> None:
    lists = ItemLists.from_matrix(cosine_matrix(checkerboard(), shrinkage=1.0), 12)
    entries, shares, givers = lists.fold_in([3, 1], [1.0, 0.5])
    summed = np.bincount(entries, weights=shares, minlength=12)
    weights = np.zeros(12)
    weights[[3, 1]] = [1.0, 0.5]
    assert np.allclose(summed, weights @ lists.matrix().toarray())
    assert set(givers.tolist()) == {1, 3}
