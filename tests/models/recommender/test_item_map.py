"""Which items are near each other, and the map of them: known answers, and always the same."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from known_worlds import NOW, checkerboard, events

from tidemill import models
from tidemill.core.errors import LearnError, UnknownName
from tidemill.models import ItemVectors, item_map
from tidemill.models.recommender import item_map as item_plane

LEARNERS = [
    models.spectral(factors=2),  # the rank of a checkerboard; further axes are noise
    models.cooccurrence(factors=2),
    models.item_knn(factors=0, spectral_share=0.0),
]


@pytest.fixture(scope="module", params=LEARNERS, ids=lambda spec: f"{spec.name}")
def recommender(request: pytest.FixtureRequest) -> models.Recommender:
    return models.learn(request.param, checkerboard(20, 20), NOW)


def parity(item: str) -> int:
    return int(item[1:]) % 2


def test_the_nearest_are_of_the_same_colour(recommender: models.Recommender) -> None:
    vectors = ItemVectors.from_recommender(recommender)
    for item in vectors.items:
        near = vectors.nearest(item, 5)
        assert len(near) == 5
        assert {parity(other) for other, _ in near} == {parity(item)}
        cosines = [cosine for _, cosine in near]
        assert cosines == sorted(cosines, reverse=True) and cosines[-1] > 0 and cosines[0] <= 1.0001


def test_each_colour_lies_together_on_the_map(recommender: models.Recommender) -> None:
    found = item_map(recommender, neighbours=4)
    assert len(found.items) == 20 and found.left_out == 0
    for values in (found.x, found.y):
        assert values.min() >= 0 and values.max() <= 1
    place = np.stack((found.x, found.y), axis=1)
    far = np.linalg.norm(place[:, None] - place[None], axis=2)
    np.fill_diagonal(far, np.inf)
    nearest = far.argmin(axis=1)
    assert all(parity(found.items[i]) == parity(found.items[other]) for i, other in enumerate(nearest.tolist()))
    for i, row in enumerate(found.near.tolist()):
        assert {parity(found.items[other]) for other in row} == {parity(found.items[i])} and i not in row


def test_the_map_is_always_the_same(recommender: models.Recommender) -> None:
    one, two = item_map(recommender), item_map(recommender)
    assert np.array_equal(one.x, two.x) and np.array_equal(one.y, two.y) and np.array_equal(one.near, two.near)


def test_where_it_comes_from_is_said() -> None:
    told = checkerboard()
    found = [item_map(models.learn(spec, told, NOW)).source for spec in LEARNERS]
    assert found == ["spectral: vectors", "spectral: vectors", "item_knn: axes of its lists"]


def test_only_the_most_popular_are_shown(recommender: models.Recommender) -> None:
    found = item_map(recommender, at_most=8)
    assert len(found.items) == 8 and found.left_out == 12
    least = min(recommender.popularity[recommender.codes[item]] for item in found.items)
    assert least >= np.sort(recommender.popularity)[-8]


def test_without_scikit_learn_there_is_a_map(recommender: models.Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    assert importlib.util.find_spec("sklearn") is None or item_map(recommender).method == "t-SNE"
    monkeypatch.setattr(item_plane.util, "find_spec", lambda name: None)
    found = item_map(recommender)
    assert found.method == "the two principal axes"
    even = np.array([parity(item) == 0 for item in found.items])
    assert found.x[even].max() < found.x[~even].min() or found.x[~even].max() < found.x[even].min()


@pytest.mark.parametrize("n_items", [1, 2, 3])
def test_few_items_are_a_map_too(n_items: int) -> None:
    told = events([(user, f"i{item:02}", 1 + item) for user in ("a", "b") for item in range(n_items)])
    recommender = models.learn(models.cooccurrence(factors=0, spectral_share=0.0), told, NOW)
    if n_items == 1:
        with pytest.raises(LearnError, match="no similarity between the items"):
            item_map(recommender)
    else:
        assert len(item_map(recommender).items) == n_items


def test_popularity_knows_no_item_from_another() -> None:
    with pytest.raises(LearnError, match="a popularity model"):
        item_map(models.learn(models.popularity(days=30), checkerboard(), NOW))


def test_an_unknown_item_is_named_with_the_nearest(recommender: models.Recommender) -> None:
    with pytest.raises(UnknownName, match="i99"):
        ItemVectors.from_recommender(recommender).nearest("i99")
