"""ALS: a history is folded in as the library would solve for it, and its items' shares add up to the score."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from known_worlds import checkerboard, events

from tidemill.core.errors import BackendMissing
from tidemill.models.learners.als import als_factors
from tidemill.models.learners.user_item_matrix import user_item_matrix
from tidemill.models.recommender.interactions import Interactions
from tidemill.models.recommender.user_vectors import Factors

implicit_als = pytest.importorskip("implicit.cpu.als")


def learned(told: Interactions, **settings: Any) -> Factors:
    return als_factors(told, **({"factors": 4, "regularization": 0.1, "confidence": 20.0} | settings))


def random_factors(n_items: int = 60, d: int = 8, confidence: float = 15.0) -> Factors:
    items = np.random.default_rng(0).standard_normal((n_items, d)).astype(np.float32)
    return Factors.from_items(items, regularization=0.3, confidence=confidence)


def solved(factors: Factors, history: list[int], weights: list[float], regularization: float) -> np.ndarray:
    """The minimum of the weighted loss, written out with one row for each item."""
    wide = factors.items.astype(np.float64)
    weight = np.zeros(len(wide))
    weight[history] = weights
    left = wide.T @ np.diag(1 + factors.confidence * weight) @ wide + regularization * np.eye(wide.shape[1])
    return np.linalg.solve(left, wide.T @ ((1 + factors.confidence) * weight))


def test_the_checkerboard_is_completed() -> None:
    board = checkerboard()
    factors = learned(board, factors=2)
    for user in range(board.n_users):
        items, _ = board.history(user)
        scores = factors.items @ factors.user(items.tolist(), [1.0] * len(items))
        scores[items] = -np.inf
        assert scores.argmax() == list(board.items).index(f"i{int(board.users[user][1:]):02}")


def test_a_folded_in_user_is_the_one_that_the_library_solves_for() -> None:
    board = checkerboard()
    factors = learned(board)
    peer = implicit_als.AlternatingLeastSquares(factors=4, regularization=0.1, num_threads=1)
    peer.item_factors = np.array(factors.items)
    taken = user_item_matrix(board)
    taken.data *= 21.0
    theirs = peer.recalculate_user(np.arange(board.n_users), taken)
    for user in range(board.n_users):
        items, _ = board.history(user)
        assert np.allclose(factors.user(items.tolist(), [1.0] * len(items)), theirs[user], atol=1e-5)


@pytest.mark.parametrize("n", [1, 3, 7, 8, 9, 40])
def test_short_and_long_histories_minimise_the_weighted_loss(n: int) -> None:
    """Fewer items than factors are solved another way than more; both give the same vector."""
    factors = random_factors()
    rng = np.random.default_rng(n)
    history, weights = rng.permutation(60)[:n].tolist(), rng.random(n).tolist()
    assert np.allclose(factors.user(history, weights), solved(factors, history, weights, 0.3), atol=1e-4)


@pytest.mark.parametrize("n", [1, 5, 30])
def test_shares_of_the_history_add_up_to_the_score(n: int) -> None:
    factors = random_factors()
    rng = np.random.default_rng(n)
    history, weights = rng.permutation(60)[:n].tolist(), rng.random(n).tolist()
    codes = np.array([0, 7, 59, 7], np.int32)
    given = factors.given(history, weights, codes)
    assert given.shape == (4, n)
    assert np.allclose(given.sum(axis=1), factors.items[codes] @ factors.user(history, weights), atol=1e-4)


def test_an_item_of_weight_zero_might_as_well_not_be_there() -> None:
    factors = random_factors()
    assert np.allclose(factors.user([3, 9, 4], [1.0, 0.0, 0.5]), factors.user([3, 4], [1.0, 0.5]), atol=1e-6)
    assert not factors.given([3, 9], [1.0, 0.0], np.array([5], np.int32))[0, 1]


def test_no_history_is_a_vector_of_zero() -> None:
    factors = random_factors()
    assert not factors.user([], []).any()
    assert factors.given([], [], np.array([1, 2], np.int32)).shape == (2, 0)


def test_another_catalogue_keeps_what_was_learned_of_each_item() -> None:
    factors = random_factors()
    other = factors.taking(np.array([4, -1, 0], np.int32))
    assert np.allclose(other.user([2, 0], [1.0, 0.5]), factors.user([0, 4], [1.0, 0.5]), atol=1e-6)
    assert np.allclose(other.user([2, 1], [1.0, 1.0]), factors.user([0], [1.0]), atol=1e-6)
    assert not other.items[1].any()


def test_many_users_at_once_are_the_same_as_one_by_one() -> None:
    factors = random_factors()
    histories = sp.random_array((9, 60), density=0.1, format="csr", dtype=np.float32, rng=np.random.default_rng(1))
    together = factors.users(sp.csr_matrix(histories))
    assert together.dtype == np.float32
    for row in range(9):
        entries = histories[[row]].tocoo()
        alone = factors.user(entries.col.tolist(), entries.data.tolist())
        assert np.allclose(together[row], alone, atol=1e-6)


def test_learning_twice_gives_the_same_bytes_and_another_seed_does_not() -> None:
    one, other, third = (learned(checkerboard(), seed=seed).items.tobytes() for seed in (5, 5, 6))
    assert one == other
    assert one != third


def test_an_event_that_comes_twice_counts_once() -> None:
    rows = [(f"u{user}", f"i{item}", 1.0) for user in range(6) for item in range(6) if (user + item) % 3]
    assert np.array_equal(learned(events(rows)).items, learned(events(rows + rows[:4])).items)


def test_files_round_trip(tmp_path) -> None:
    factors = random_factors(confidence=2.5)
    factors.write(tmp_path)
    opened = Factors.open(tmp_path)
    assert opened.n_items == 60
    assert np.array_equal(opened.user([1, 2], [1.0, 0.5]), factors.user([1, 2], [1.0, 0.5]))
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".npy"] * 3


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.startswith("implicit"):
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.delitem(sys.modules, "implicit.cpu.als")
    with pytest.raises(BackendMissing, match="als needs implicit") as refused:
        learned(checkerboard())
    assert "tidemill[learn]" in (refused.value.tip or "")
