"""EASE: the weights are those of the dense formula, pairs count by time where asked, and too much is refused."""

from __future__ import annotations

import numpy as np
import pytest
from known_worlds import checkerboard, events

from tidemill.core.errors import CatalogueTooLarge, LearnError, SettingRefused
from tidemill.models import Interactions
from tidemill.models.learners import ease as module
from tidemill.models.learners.ease import FLOOR, ease_lists, ease_weights
from tidemill.models.learners.user_item_matrix import user_item_matrix
from tidemill.models.recommender.item_lists import ItemLists
from tidemill.models.recommender.part_scores import ListScores, Workspace


def dense_reference(gram: np.ndarray, l2: float) -> np.ndarray:
    """The formula of the paper, word for word."""
    inverse = np.linalg.inv(gram + l2 * np.eye(len(gram)))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


def some_events(n_users: int = 40, n_items: int = 17) -> Interactions:
    rng = np.random.default_rng(3)
    rows = [
        (f"u{user:02}", f"i{item:02}", float(rng.integers(0, 90)))
        for user in range(n_users)
        for item in np.flatnonzero(rng.random(n_items) < 0.3)
    ]
    return events(rows + rows[:9])  # some events come twice


def test_weights_are_those_of_the_dense_formula() -> None:
    told = some_events()
    taken = user_item_matrix(told).toarray().astype(np.float64)
    weights = ease_weights(told, l2=3.0)
    assert np.allclose(weights, dense_reference(taken.T @ taken, 3.0), atol=1e-12)
    assert not np.diag(weights).any()


def test_blocks_of_rows_are_put_together_rightly(monkeypatch: pytest.MonkeyPatch) -> None:
    told = some_events()
    whole, lists = ease_weights(told, l2=3.0), ease_lists(told, l2=3.0, neighbours=5)
    monkeypatch.setattr(module, "_ROWS", 4)
    assert np.array_equal(ease_weights(told, l2=3.0), whole)
    blocks = ease_lists(told, l2=3.0, neighbours=5)
    assert (blocks.matrix() != lists.matrix()).nnz == 0


def test_the_checkerboard_is_completed() -> None:
    """What each user lacks of his colour is what he is shown."""
    board = checkerboard()
    weights = ease_weights(board, l2=1.0)
    for user in range(board.n_users):
        items, _ = board.history(user)
        scores = weights[items].sum(axis=0)
        scores[items] = -np.inf
        assert scores.argmax() == list(board.items).index(f"i{int(board.users[user][1:]):02}")


def test_pairs_count_by_the_time_between_them() -> None:
    told = events([("u", "a", 10), ("u", "b", 14), ("v", "a", 20), ("v", "c", 20), ("w", "b", 90), ("w", "c", 70)])
    days = {"u": {"a": 10, "b": 14}, "v": {"a": 20, "c": 20}, "w": {"b": 90, "c": 70}}
    gram = np.zeros((3, 3))
    for taken in days.values():
        for one, day in taken.items():
            for other, then in taken.items():
                near = (np.exp(-abs(day - then) / 7.0) + FLOOR) / (1 + FLOOR)
                gram["abc".index(one), "abc".index(other)] += near
    weights = ease_weights(told, l2=0.5, gap_days=7.0)
    assert np.allclose(weights, dense_reference(gram, 0.5), atol=1e-12)


def test_pairs_that_count_alike_whenever_they_were_give_the_plain_weights() -> None:
    told = some_events()
    slow = ease_weights(told, l2=3.0, gap_days=1e12)
    assert np.allclose(slow, ease_weights(told, l2=3.0), atol=1e-9)


def test_lists_keep_the_largest_weights_and_their_sign() -> None:
    told = some_events()
    weights, lists = ease_weights(told, l2=3.0), ease_lists(told, l2=3.0, neighbours=4)
    cut = lists.matrix().toarray()
    assert (cut < 0).any(), "this world has weights below zero among the largest"
    for row, kept in zip(weights, cut, strict=True):
        largest = np.sort(np.argsort(-np.abs(row))[:4])
        assert np.array_equal(np.flatnonzero(kept), largest)
        assert np.allclose(kept[largest], row[largest], atol=1e-6)
    for item in range(lists.n_items):
        assert (np.diff(lists.weights[lists.starts[item] : lists.starts[item + 1]]) <= 0).all()


def test_more_neighbours_than_items_is_the_whole_matrix() -> None:
    told = some_events()
    whole = ease_lists(told, l2=3.0, neighbours=1_000).matrix().toarray()
    assert np.allclose(whole, ease_weights(told, l2=3.0), atol=1e-6)


def test_learning_twice_gives_the_same_bytes() -> None:
    one, other = (ease_lists(some_events(), l2=3.0, neighbours=5) for _ in range(2))
    assert one.weights.tobytes() == other.weights.tobytes()
    assert one.items.tobytes() == other.items.tobytes()


def test_one_item_has_an_empty_list() -> None:
    lists = ease_lists(events([("u", "a", 1)]), l2=1.0, neighbours=3)
    assert (lists.n_items, len(lists.items)) == (1, 0)


def test_lists_round_trip_through_files(tmp_path) -> None:
    lists = ease_lists(some_events(), l2=3.0, neighbours=5)
    lists.write(tmp_path)
    assert (ItemLists.open(tmp_path).matrix() != lists.matrix()).nnz == 0


def test_a_large_catalogue_is_refused_before_any_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ITEMS", 16)
    with pytest.raises(CatalogueTooLarge, match="17 × 17 items; the limit is 16") as refused:
        ease_weights(some_events(), l2=3.0)
    assert "item_knn" in (refused.value.tip or "")


@pytest.mark.parametrize("l2", [0.0, -1.0, float("nan")])
def test_an_l2_that_is_not_above_zero_is_refused(l2: float) -> None:
    with pytest.raises(SettingRefused, match="above 0"):
        ease_weights(some_events(), l2=l2)


def test_an_l2_that_vanishes_beside_the_counts_is_told() -> None:
    """Two items that the same users took: without a real l2 the matrix has no inverse."""
    told = events([(f"u{user}", item, 1.0) for user in range(50) for item in ("a", "b")])
    with pytest.raises(LearnError, match="no inverse"):
        ease_weights(told, l2=1e-300)


def test_items_that_a_history_speaks_against_are_not_drawn_and_have_no_giver() -> None:
    told = some_events()
    lists = ease_lists(told, l2=3.0, neighbours=1_000)
    weights = lists.matrix().toarray()
    for history in ([0], [3, 8], [1, 4, 9]):
        opinion = ListScores(lists, Workspace(told.n_items), history, [1.0] * len(history))
        sums = weights[history].sum(axis=0)
        against = np.flatnonzero((weights[history] < 0).all(axis=0)).astype(np.int32)
        assert (sums < -0.01).any()
        assert set(opinion.draw(1_000).tolist()) == set(np.flatnonzero(sums > 0).tolist())
        assert set(opinion.draw(2).tolist()) == set(np.argsort(-sums)[:2].tolist())
        assert (opinion.because(against) == -1).all()
