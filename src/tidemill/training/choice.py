"""Choosing settings on validation days: one setting after another, each by what it does for warm users there.

The days after the split are never handed in, so nothing here can look at them. The figure is the mean of HR@10 and
NDCG@10 over warm users of back-to-back windows before the split; a setting is changed only for a better figure, so the
first value of each grid stays on a tie.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from tidemill.models import EventFacts, Interactions, LearnerSpec
from tidemill.models.interactions import F32
from tidemill.models.item_lists import ItemLists
from tidemill.models.learners import ListLearner, in_days
from tidemill.models.learning import Progress, blend_of, item_matrix, low_pass_of, silent
from tidemill.models.prior import recent_popularity
from tidemill.models.profile import history_weights
from tidemill.training.measured import MeasuredUser, measured_users, sample
from tidemill.training.measures import per_user
from tidemill.training.time_split import TimeSplit, validation_splits

#: Users in a window: at most so many, and at most so many that their score tables (users x items) stay small.
USERS, CELLS = 1_000, 10_000_000
#: Events that settings are tried on at most.
EVENTS = 400_000
#: Fewer warm users than this in all windows together choose nothing.
ENOUGH = 50
K = 10


@dataclass(frozen=True)
class Choice:
    """The settled learner, and every setting that was tried with its figure, best first."""

    spec: LearnerSpec
    tried: tuple[dict[str, Any], ...]


def choose(spec: LearnerSpec, train: Interactions, *, progress: Progress = silent) -> Choice:
    """Settle what `spec` leaves open on validation windows inside `train`.

    With too few warm users there, every open setting takes its first value and nothing was tried.
    """
    grid = spec.open()
    windows = [_Window.of(split) for split in validation_splits(thinned(train))] if grid else []
    windows = [window for window in windows if window.users]
    n_users = sum(len(window.users) for window in windows)
    if n_users < ENOUGH:
        return Choice(spec.settled(), ())
    total = 1 + sum(len(values) - 1 for values in grid.values())
    tried: list[dict[str, Any]] = []

    def figure(chosen: dict[str, Any]) -> float:
        score = _figure(spec.settled(**chosen), windows)
        tried.append(chosen | {"score": score, "n_users": n_users})
        progress("choose", {"tried": len(tried), "of": total, "score": score} | chosen)
        return score

    best = {name: values[0] for name, values in grid.items()}
    top = figure(best)
    for name, values in grid.items():
        for value in values[1:]:
            score = figure(best | {name: value})
            if score > top:
                best, top = best | {name: value}, score
    return Choice(spec.settled(**best), tuple(sorted(tried, key=lambda row: -row["score"])))


def thinned(train: Interactions) -> Interactions:
    """Every k-th user with all their events where there are more than `EVENTS`: settings need no more to be chosen."""
    every = -(-len(train) // EVENTS)
    return train.where(train.user % every == 0) if every > 1 else train


@dataclass
class _Window:
    """One validation window: its events, its warm users, and what was worked out for earlier settings."""

    split: TimeSplit
    facts: EventFacts
    users: list[MeasuredUser]
    seen: sp.csr_matrix[Any]
    kept: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, split: TimeSplit) -> _Window:
        train = split.train
        warm = [user for user in measured_users(split) if user.code >= 0]
        users = sample(warm, max(1, min(USERS, CELLS // train.n_items)))
        facts = EventFacts(train.items, item=train.item, time=train.time, as_of=split.at)
        return cls(split, facts, users, _histories(train, users, None))

    def once(self, name: str, key: Any, make: Any) -> Any:
        """What `make` gives for `key`; of each name only the latest two keys are kept, because the arrays are large."""
        store = self.kept.setdefault(name, {})
        if key not in store:
            while len(store) > 1:
                store.pop(next(iter(store)))
            store[key] = make()
        return store[key]


def _figure(spec: LearnerSpec, windows: list[_Window]) -> float:
    rows = []
    for window in windows:
        measured = per_user(_ranked(spec, window), [user.targets for user in window.users], (K,))
        rows.append((measured[f"hit_rate@{K}"] + measured[f"ndcg@{K}"]) / 2)
    return float(np.concatenate(rows).mean())


def _ranked(spec: LearnerSpec, window: _Window) -> list[npt.NDArray[np.int32]]:
    """The top items of each user over the whole catalogue, by the score that answers are made with."""
    blend = blend_of(spec, vectors=bool(getattr(spec, "factors", None)))
    histories = window.once("histories", spec.recency, lambda: _weighted(spec, window))
    scores = np.zeros((len(window.users), window.split.train.n_items), np.float32)
    if isinstance(spec, ListLearner) and blend.spectral < 1:
        lists = window.once("lists", _list_key(spec), lambda: _lists(spec, window))
        key = (_list_key(spec), spec.recency)
        scores += (1 - blend.spectral) * window.once("listed", key, lambda: _scaled((histories @ lists).toarray()))
    if blend.spectral > 0 and getattr(spec, "factors", None):
        shape = (getattr(spec, "factors", None), getattr(spec, "smoothing", None))
        vectors = window.once("vectors", shape, lambda: low_pass_of(spec, window.split.train))
        near = window.once("near", (*shape, spec.recency), lambda: _scaled(vectors.users(histories) @ vectors.items.T))
        scores += blend.spectral * near
    prior = recent_popularity(blend.steps, window.facts.counts)
    scores = (1 - blend.popularity) * scores + blend.popularity * prior
    scores[window.seen.nonzero()] = -np.inf
    k = min(K, scores.shape[1] - 1)
    best = np.argpartition(-scores, k, axis=1)[:, :k]
    order = np.lexsort((best, -np.take_along_axis(scores, best, axis=1)))
    return list(np.take_along_axis(best, order, axis=1).astype(np.int32))


def _scaled(scores: npt.NDArray[np.floating]) -> F32:
    """Each row by its largest entry, nothing below zero: as a profile scales relevance."""
    positive = np.maximum(scores, 0).astype(np.float32)
    peak = positive.max(axis=1, keepdims=True)
    scaled: F32 = positive / np.where(peak > 0, peak, np.float32(1))
    return scaled


def _list_key(spec: ListLearner) -> tuple[Any, ...]:
    shared = {"popularity_share", "popularity_half_life", "recency", "spectral_share", "factors"}
    return tuple(value for name, value in spec.settings().items() if name not in shared)


def _lists(spec: ListLearner, window: _Window) -> sp.csr_matrix[Any]:
    matrix = item_matrix(spec, window.split.train, window.split.at)
    return ItemLists.from_matrix(matrix, spec.neighbours).matrix()


def _weighted(spec: LearnerSpec, window: _Window) -> sp.csr_matrix[Any]:
    days = in_days(spec.recency) if spec.recency else None
    return _histories(window.split.train, window.users, days)


def _histories(train: Interactions, users: list[MeasuredUser], recency_days: float | None) -> sp.csr_matrix[Any]:
    """float32 (n_users, n_items): the weights of each user's history, or ones without `recency_days`."""
    rows, columns, weights = [], [], []
    for row, user in enumerate(users):
        items, times = train.history(user.code)
        if recency_days is None:
            codes, values = np.unique(items).tolist(), np.ones(len(np.unique(items))).tolist()
        else:
            codes, values = history_weights(items.tolist(), times.tolist(), recency_days)
        rows += [row] * len(codes)
        columns += codes
        weights += values
    return sp.csr_matrix((np.array(weights, np.float32), (rows, columns)), shape=(len(users), train.n_items))
