"""Spectral vectors: they find the blocks of a checkerboard, fold in users as they were trained, and ignore islands."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from known_worlds import checkerboard, events

from tidemill.models import Interactions
from tidemill.models.learners.spectral import spectral_vectors
from tidemill.models.learners.user_item_matrix import user_item_matrix
from tidemill.models.recommender.user_vectors import Vectors


def scores(vectors: Vectors, history: list[int]) -> np.ndarray:
    return vectors.items @ vectors.user(history, [1.0] * len(history))


def test_two_factors_find_the_two_colours_of_a_checkerboard() -> None:
    vectors = spectral_vectors(checkerboard(), factors=2, smoothing=0.0)
    found = scores(vectors, [0, 2])
    assert found[[0, 2, 4, 6, 8, 10]].min() > 10 * abs(found[[1, 3, 5, 7, 9, 11]]).max()


def test_a_folded_in_user_is_the_trained_one() -> None:
    """The user vector is not another model: it points where the decomposition put that user."""
    told = checkerboard()
    smoothing = 3.0
    vectors = spectral_vectors(told, factors=2, smoothing=smoothing)
    users = user_item_matrix(told)
    degrees = np.asarray(users.sum(axis=0)).ravel() + smoothing
    sizes = np.asarray(users.sum(axis=1)).ravel() + smoothing
    normal = (sp.diags_array(sizes**-0.5) @ users @ sp.diags_array(degrees**-0.5)).toarray()
    left, strength, axes = np.linalg.svd(normal, full_matrices=False)
    trained = left[:, :2] * strength[:2] @ axes[:2]  # the rank-2 rows that the decomposition gives each user
    for user in range(told.n_users):
        items, _ = told.history(user)
        folded = vectors.user(items.tolist(), [1.0] * len(items)) @ (vectors.encoder * degrees[:, None] ** 0.5).T
        assert np.allclose(folded * sizes[user] ** -0.5, trained[user], atol=1e-5)


def test_many_users_at_once_are_the_same_as_one_by_one() -> None:
    told = checkerboard()
    vectors = spectral_vectors(told, factors=3, smoothing=1.0)
    together = vectors.users(user_item_matrix(told))
    for user in range(told.n_users):
        items = np.unique(told.history(user)[0])
        assert np.allclose(together[user], vectors.user(items.tolist(), [1.0] * len(items)), atol=1e-5)


def test_islands_of_single_item_users_do_not_lead() -> None:
    """Forty users with one item each are the largest block of the matrix, and say nothing about what goes together."""
    rows = [(f"s{number}", "island", 1.0) for number in range(40)]
    board = checkerboard()
    rows += [(board.users[u], board.items[i], 2.0) for u, i in zip(board.user, board.item, strict=True)]
    told = events(rows)
    island = list(told.items).index("island")
    vectors = spectral_vectors(told, factors=2, smoothing=0.0)
    assert np.abs(vectors.items[island]).max() == 0
    naive = user_item_matrix(told)  # the variant that keeps them: its first axis is the island alone
    sizes, degrees = np.asarray(naive.sum(axis=1)).ravel(), np.asarray(naive.sum(axis=0)).ravel()
    axes = np.linalg.svd((naive.toarray() / sizes[:, None] ** 0.5) / degrees**0.5, full_matrices=False)[2]
    assert np.abs(axes[:3, island]).max() > 0.9, "the wrong variant is led by the island"


def test_learning_twice_gives_the_same_bytes() -> None:
    one, other = (spectral_vectors(checkerboard(), factors=4, smoothing=1.0) for _ in range(2))
    assert one.items.tobytes() == other.items.tobytes()
    assert one.encoder.tobytes() == other.encoder.tobytes()


def test_too_few_items_for_any_factor_give_vectors_of_zero() -> None:
    vectors = spectral_vectors(events([("u", "a", 1)]), factors=8, smoothing=1.0)
    assert vectors.items.shape[0] == 1
    assert not vectors.items.any()


def popular_board() -> Interactions:
    """A checkerboard of two colours, and an item that nearly everybody took."""
    board = checkerboard()
    rows = [(board.users[u], board.items[i], 2.0) for u, i in zip(board.user, board.item, strict=True)]
    return events(rows + [(f"u{user:02}", "everywhere", 1.0) for user in range(11)])


def test_out_power_lifts_frequent_items_and_leaves_the_rest_of_the_score() -> None:
    told = popular_board()
    degrees = np.bincount(told.item) + 1.0
    plain = spectral_vectors(told, factors=3, smoothing=1.0)
    lifted = spectral_vectors(told, factors=3, smoothing=1.0, out_power=0.9)
    assert np.allclose(scores(lifted, [0, 2]), scores(plain, [0, 2]) * degrees**0.4, rtol=1e-4)


def test_item_power_is_the_exponent_of_degrees_on_both_sides() -> None:
    told = popular_board()
    vectors = spectral_vectors(told, factors=3, smoothing=1.0, item_power=0.8)
    users = user_item_matrix(told).toarray().astype(np.float64)
    degrees, sizes = users.sum(axis=0) + 1.0, users.sum(axis=1) + 1.0
    axes = np.linalg.svd(users / sizes[:, None] ** 0.5 / degrees**0.8)[2][:3]
    expected = (axes / degrees**0.8).T @ (axes * degrees**0.8)
    assert np.allclose(vectors.encoder @ vectors.items.T, expected, atol=1e-5)


def test_a_gain_of_two_over_all_axes_is_the_linear_filter() -> None:
    """R̃ᵀR̃ itself, up to its largest singular value: what GF-CF adds to the ideal low-pass filter."""
    told = popular_board()
    users = user_item_matrix(told).toarray().astype(np.float64)
    degrees, sizes = users.sum(axis=0) + 1.0, users.sum(axis=1) + 1.0
    normal = users / sizes[:, None] ** 0.5 / degrees**0.5
    vectors = spectral_vectors(told, factors=100, smoothing=1.0, gain=2.0)
    found = (vectors.encoder * degrees[:, None] ** 0.5) @ (vectors.items / degrees[:, None] ** 0.5).T
    strength = np.linalg.svd(normal, compute_uv=False)
    assert np.abs(found - normal.T @ normal / strength[0] ** 2).max() <= 1e-5


def test_shares_of_the_history_add_up_to_the_score() -> None:
    vectors = spectral_vectors(checkerboard(), factors=4, smoothing=1.0)
    codes = np.array([1, 6, 6], np.int32)
    given = vectors.given([0, 5, 2], [1.0, 0.5, 0.1], codes)
    assert given.shape == (3, 3)
    assert np.allclose(given.sum(axis=1), vectors.items[codes] @ vectors.user([0, 5, 2], [1.0, 0.5, 0.1]), atol=1e-6)
