"""The promises of a `Search`: the nearest by inner product, best first, the same after opening, whatever the norms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tidemill.core.ports import Search

F32 = npt.NDArray[np.float32]

#: Share of the true nearest that an approximate back-end must find at the size of a candidate pool.
RECALL, POOL = 0.95, 200


def skewed(n: int, width: int, *, seed: int = 0) -> tuple[F32, F32]:
    """Item vectors in clusters with norms as skewed as popularity makes them, and queries like users of a few items."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((24, width))
    directions = centres[rng.integers(0, 24, n)] + 0.4 * rng.standard_normal((n, width))
    norms = (rng.permutation(n) + 10.0) ** -0.7
    items = directions / np.linalg.norm(directions, axis=1, keepdims=True) * norms[:, None] * 50
    history = rng.integers(0, n, (100, 5))
    return items.astype(np.float32), items[history].sum(axis=1).astype(np.float32)


def recall(found: npt.NDArray[np.integer], items: F32, query: F32, n: int) -> float:
    """Share of the true `n` nearest that were found; items that tie at the edge are as near as each other."""
    scores = items @ query
    edge = np.partition(scores, -n)[-n]
    return float(np.count_nonzero(scores[found] >= edge - 1e-5 * abs(edge))) / n


class SearchSuite:
    """Subclass it, name the class `Test…`, and override `search`."""

    #: How many vectors the large catalogue has: enough that the back-end searches as it would in earnest.
    many = 6_000

    def search(self) -> Search:
        """A back-end."""
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
        """Skewed norms are what a graph index with inner product fails on while it looks perfect at twenty."""
        items, queries = skewed(self.many, 16)
        self.search().build(items, str(tmp_path / "index"), queries[::2])
        index = self.search().open(str(tmp_path / "index"))
        found = [recall(index.query(query, POOL)[0], items, query, POOL) for query in queries[1::2]]
        assert np.mean(found) >= RECALL

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
