"""Contract suite of `VectorSearch` back-ends: nearest neighbours by inner product, best first, same after reopening."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tidemill.core.ports import VectorSearch
from tidemill.models.recommender.exact_search import recall

F32 = npt.NDArray[np.float32]

#: Recall that an approximate back-end must reach at the size of a candidate pool.
RECALL, POOL = 0.95, 200


def skewed(n: int, width: int, *, seed: int = 0) -> tuple[F32, F32]:
    """Clustered item vectors with norms as skewed as item popularity, and queries that are sums of a few items."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((24, width))
    directions = centres[rng.integers(0, 24, n)] + 0.4 * rng.standard_normal((n, width))
    norms = (rng.permutation(n) + 10.0) ** -0.7
    items = directions / np.linalg.norm(directions, axis=1, keepdims=True) * norms[:, None] * 50
    history = rng.integers(0, n, (100, 5))
    return items.astype(np.float32), items[history].sum(axis=1).astype(np.float32)


class SearchSuite:
    """Subclass it, name the class `Test…`, and override `search`."""

    #: Number of vectors of the large catalogue, enough for the back-end to use its approximate index.
    many = 6_000

    def search(self) -> VectorSearch:
        """The back-end under test."""
        raise NotImplementedError

    def test_an_index_counts_its_vectors(self, tmp_path: Path) -> None:
        items, _ = skewed(50, 8)
        self.search().build(items, str(tmp_path / "index"))
        assert self.search().open(str(tmp_path / "index")).count == 50

    def test_scores_are_inner_products_best_first_and_none_twice(self, tmp_path: Path) -> None:
        items, queries = skewed(self.many, 8)
        self.search().build(items, str(tmp_path / "index"), queries)
        index = self.search().open(str(tmp_path / "index"))
        for query in queries[:20]:
            found, scores = index.query(query, 50)
            assert len(set(found.tolist())) == len(found)
            assert np.allclose(scores, items[found] @ query, rtol=1e-3, atol=1e-3 * abs(scores[0]))
            assert np.all(np.diff(scores) <= 1e-3 * abs(scores[0]))

    def test_enough_of_the_nearest_are_found_at_the_size_of_the_pool(self, tmp_path: Path) -> None:
        """With skewed norms, a graph index with inner product has low recall at 200, though perfect recall at 20."""
        items, queries = skewed(self.many, 16)
        self.search().build(items, str(tmp_path / "index"), queries[::2])
        index = self.search().open(str(tmp_path / "index"))
        found = [recall(items, query, index.query(query, POOL)[0], POOL) for query in queries[1::2]]
        assert np.mean(found) >= RECALL

    def test_several_queries_at_once_find_what_each_finds_alone(self, tmp_path: Path) -> None:
        items, queries = skewed(self.many, 8)
        self.search().build(items, str(tmp_path / "index"), queries)
        index = self.search().open(str(tmp_path / "index"))
        allowed = np.random.default_rng(1).random(self.many) < 0.5
        for mask in (None, allowed):
            found, scores = index.query_many(queries[:20], 50, mask)
            assert found.shape == scores.shape == (20, 50)
            for row, query in enumerate(queries[:20]):
                alone, products = index.query(query, 50, mask)
                assert np.allclose(scores[row][: len(products)], products, rtol=1e-3, atol=1e-3 * abs(products[0]))
                assert len(set(found[row].tolist()) & set(alone.tolist())) >= 49  # rounding may change the last one
        assert index.query_many(queries[:0], 50)[0].shape == (0, 50)

    def test_only_allowed_vectors_are_found_and_enough_of_their_nearest(self, tmp_path: Path) -> None:
        """For every allowed share; an index that filters after the search would find nothing for small shares."""
        items, queries = skewed(self.many, 16)
        self.search().build(items, str(tmp_path / "index"), queries[::2])
        index = self.search().open(str(tmp_path / "index"))
        chance = np.random.default_rng(2).random(self.many)
        for share in (0.9, 0.3, 0.05, 0.002):
            allowed = chance < share
            n = min(50, int(np.count_nonzero(allowed)))
            places = np.flatnonzero(allowed)
            good = []
            for query in queries[1:40:2]:
                found, scores = index.query(query, n, allowed)
                assert allowed[found].all() and len(set(found.tolist())) == len(found)
                assert np.allclose(scores, items[found] @ query, rtol=1e-3, atol=1e-3 * abs(scores[0]))
                good.append(recall(items[places], query, np.searchsorted(places, found), n))
            assert np.mean(good) >= RECALL

    def test_fewer_allowed_than_asked_for_gives_them_all(self, tmp_path: Path) -> None:
        items, queries = skewed(self.many, 8)
        self.search().build(items, str(tmp_path / "index"), queries)
        index = self.search().open(str(tmp_path / "index"))
        few = np.zeros(self.many, np.bool_)
        for places in ([], [3, 17, self.many - 1]):
            few[places] = True
            assert sorted(index.query(queries[0], 50, few)[0].tolist()) == places
            found, scores = index.query_many(queries[:2], 50, few)
            assert [sorted(row[row >= 0].tolist()) for row in found] == [places] * 2
            assert np.all(np.isneginf(scores[found < 0])) and np.isfinite(scores[found >= 0]).all()

    def test_asking_for_more_than_there_are_gives_what_there_is(self, tmp_path: Path) -> None:
        items, queries = skewed(7, 4)
        self.search().build(items, str(tmp_path / "index"))
        found, scores = self.search().open(str(tmp_path / "index")).query(queries[0], 50)
        assert sorted(found.tolist()) == list(range(7))
        assert len(scores) == 7

    def test_the_same_question_has_the_same_answer_after_opening_again(self, tmp_path: Path) -> None:
        items, queries = skewed(self.many, 8)
        self.search().build(items, str(tmp_path / "index"), queries)
        one, other = (self.search().open(str(tmp_path / "index")) for _ in range(2))
        for query in queries[:10]:
            assert one.query(query, 30)[0].tolist() == other.query(query, 30)[0].tolist()
