"""Item map: nearest items in a model's own similarity, and a two-dimensional projection of all items.

The vectors are the model's own. A model with item lists only uses the leading axes of the lists' matrix, in both
directions, so that items with the same neighbours are close. The map is t-SNE (van der Maaten and Hinton 2008)
initialised with the principal components, so it is deterministic; without scikit-learn it is the principal components.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import util

import numpy as np
import scipy  # its parts are loaded when they are first used

from tidemill.core.errors import LearnError, UnknownName, nearest
from tidemill.models.recommender.exact_search import ExactIndex
from tidemill.models.recommender.interactions import F32, I32
from tidemill.models.recommender.item_lists import ItemLists
from tidemill.models.recommender.recommender import Recommender

#: Number of axes that item lists are reduced to.
AXES = 32
#: Fewer items than this are placed by their principal axes: there are too few neighbours for t-SNE.
FEW = 10


@dataclass(frozen=True, eq=False)
class ItemVectors:
    """A unit vector for each item, float32 (n_items, n_factors); zero if unknown."""

    items: tuple[str, ...]
    directions: F32
    #: Source of the vectors: `spectral: vectors`, `cooccurrence: axes of its lists`.
    source: str

    @classmethod
    def from_recommender(cls, recommender: Recommender) -> ItemVectors:
        """The vectors of the first part that has vectors, else of the first with lists; `LearnError` without either."""
        for name, part in recommender.parts.items():
            if part.vectors is not None:
                return cls(tuple(recommender.items), _unit(np.asarray(part.vectors.items)), f"{name}: vectors")
        for name, part in recommender.parts.items():
            if part.lists is not None:
                return cls(tuple(recommender.items), _unit(_axes(part.lists)), f"{name}: axes of its lists")
        raise LearnError("a popularity model has no similarity between items", tip="train tm.item_knn() instead")

    @cached_property
    def _places(self) -> dict[str, int]:
        return {item: place for place, item in enumerate(self.items)}

    def nearest(self, item: str, n: int = 10) -> list[tuple[str, float]]:
        """The `n` items with the largest cosine to `item`, with the cosine, closest first.

        Items without a vector are left out. Raises `UnknownName` for an item that the model does not contain.
        """
        if item not in self._places:
            raise UnknownName(f"the model does not contain the item {item!r}", tip=nearest(item, self.items))
        place = self._places[item]
        near, cosines = _neighbours(self.directions, np.array([place]), n)
        return [(self.items[i], float(cosine)) for i, cosine in zip(near[0], cosines[0], strict=True) if cosine > 0]


@dataclass(frozen=True, eq=False)
class ItemMap:
    """Items on a plane: `x` and `y` float32 (n), from 0 to 1, and the neighbours of each item among them.

    `near` int32 (n, k) are indices into `items`, closest first, `cosines` float32 (n, k); a cosine of 0: no neighbour.
    """

    items: tuple[str, ...]
    x: F32
    y: F32
    near: I32
    cosines: F32
    #: Popularity of each item, from 0 to 1.
    popularity: F32
    #: The projection, the source of the vectors, and the number of omitted items.
    method: str
    source: str
    left_out: int


def item_map(recommender: Recommender, *, at_most: int = 800, neighbours: int = 8) -> ItemMap:
    """The `at_most` most popular items that have a vector, placed so that similar items are close.

    Raises `LearnError` for a model without item similarity.
    """
    vectors = ItemVectors.from_recommender(recommender)
    known = np.flatnonzero(np.linalg.norm(vectors.directions, axis=1) > 0)
    popularity = np.asarray(recommender.popularity)
    shown = np.sort(known[np.lexsort((known, -popularity[known]))][:at_most])
    if not len(shown):
        raise LearnError("there is no similarity between the items", tip="train on more days")
    directions = vectors.directions[shown]
    near, cosines = _neighbours(directions, np.arange(len(shown)), min(neighbours, len(shown) - 1))
    plane, method = _plane(directions)
    low, high = plane.min(axis=0), plane.max(axis=0)
    plane = (plane - low) / np.maximum(high - low, 1e-12)
    return ItemMap(
        items=tuple(vectors.items[i] for i in shown.tolist()),
        x=plane[:, 0].astype(np.float32),
        y=plane[:, 1].astype(np.float32),
        near=near,
        cosines=cosines,
        popularity=(popularity[shown] / max(float(popularity[shown].max()), 1e-12)).astype(np.float32),
        method=method,
        source=vectors.source,
        left_out=recommender.n_items - len(shown),
    )


def _unit(vectors: F32) -> F32:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    small = lengths <= 1e-9 * max(float(lengths.max(initial=0.0)), 1e-30)
    return np.where(small, 0.0, vectors / np.where(small, 1.0, lengths)).astype(np.float32)


def _axes(lists: ItemLists) -> F32:
    """The leading axes of the list matrix and its transpose, with the largest entry of each axis positive."""
    matrix = lists.matrix().astype(np.float64)
    both = (matrix + matrix.T).tocsr()
    k = min(AXES, min(both.shape) - 1)
    if k < 1 or both.nnz == 0:
        return np.zeros((lists.n_items, 1), np.float32)
    left, strength, _ = scipy.sparse.linalg.svds(both, k=k, v0=np.random.default_rng(0).standard_normal(both.shape[0]))
    order = np.argsort(-strength, kind="stable")
    left, strength = left[:, order], strength[order]
    signs = np.sign(left[np.abs(left).argmax(axis=0), np.arange(k)])
    return np.asarray(left * signs * np.sqrt(strength), np.float32)


def _neighbours(directions: F32, indices: np.ndarray, n: int) -> tuple[I32, F32]:
    """For each of the indices the `n` other items with the largest cosine; ties by index."""
    index, every = ExactIndex(directions), np.arange(len(directions))
    found = [index.query(directions[place], n, every != place) for place in indices.tolist()]
    near, cosines = zip(*found, strict=True)
    return np.stack(near).astype(np.int32), np.maximum(np.stack(cosines), 0.0)


def _plane(directions: F32) -> tuple[F32, str]:
    """Float32 (n, 2), and the name of the projection."""
    flat = _principal(directions)
    if len(directions) < FEW or util.find_spec("sklearn") is None:
        return flat, "the two principal axes"
    from sklearn.manifold import TSNE  # noqa: PLC0415 - an extra

    begun = flat / max(float(flat[:, 0].std()), 1e-12) * 1e-4
    perplexity = min(30.0, (len(directions) - 1) / 3)
    laid = TSNE(init=begun, perplexity=perplexity, learning_rate="auto", random_state=0, n_jobs=1)
    return np.asarray(laid.fit_transform(directions), np.float32), "t-SNE"


def _principal(directions: F32) -> F32:
    centred = directions.astype(np.float64) - directions.mean(axis=0)
    left, strength, _ = np.linalg.svd(centred, full_matrices=False)
    flat = left[:, :2] * strength[:2]
    if flat.shape[1] < 2:
        flat = np.concatenate((flat, np.zeros((len(flat), 2 - flat.shape[1]))), axis=1)
    signs = np.sign(flat[np.abs(flat).argmax(axis=0), np.arange(2)])
    return np.asarray(flat * np.where(signs == 0, 1.0, signs), np.float32)
