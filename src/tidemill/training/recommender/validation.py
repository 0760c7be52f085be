"""Validation before the split: back-to-back windows, their warm users, and the metric of each user.

Only the days before the split are passed in, so the test days cannot be used. The metric of a user is the mean of
HR@10 and NDCG@10 over the whole catalogue, without seen items.

Events that all have one time are validated on a random part of each user's events instead, by NDCG@50: a user then has
many targets, and the first ten hardly distinguish settings (spectral on Gowalla with a smoothing of 10 and of 30: 0.6
standard errors of the difference, and 4.4 by NDCG@50).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from tidemill.core.records.release import RuleSet
from tidemill.models import EventFacts, Interactions, LearnerSpec, SlateEngine, learn, nearest, popular, unseen
from tidemill.models.learners.learner import Make, PartRecipe, StagedMake
from tidemill.models.recommender.history_weights import HistoryWeights, newest_first
from tidemill.models.recommender.interactions import F32, I32, I64
from tidemill.models.recommender.item_lists import ItemLists
from tidemill.models.recommender.part_scores import UserVectors
from tidemill.models.recommender.recent_popularity import popularity_order, recent_popularity
from tidemill.models.slates.slate_plan import FALLBACK_DAYS
from tidemill.training.recommender.ranking_metrics import per_user
from tidemill.training.recommender.splits import WINDOWS, TimeSplit, validation_splits
from tidemill.training.recommender.users_to_evaluate import EvaluationUser, evaluation_users, sample

F64 = npt.NDArray[np.float64]

#: Maximum number of users in all windows, and of cells in their score tables (users x items).
USERS, CELLS = 3_000, 80_000_000
#: Number of cells that are sorted at once.
BATCH = 10_000_000
#: Maximum number of events on which settings are tried: enough for the largest number of factors that is tried.
EVENTS = 1_000_000
#: Minimum number of warm users over all windows for a choice.
ENOUGH = 50
#: Length of a list, and of the list of a random hold-out.
K, DEPTH = 10, 50
#: Candidates of each part if a learner is evaluated through the slate.
MOST = 200


def thinned(train: Interactions) -> Interactions:
    """Every k-th user with all their events if there are more than `EVENTS`: enough to choose settings."""
    every = -(-len(train) // EVENTS)
    return train.where(train.user % every == 0) if every > 1 else train


@dataclass
class ValidationWindow:
    """One validation window: its events, its warm users, and cached arrays of earlier settings."""

    split: TimeSplit
    facts: EventFacts
    users: list[EvaluationUser]
    #: For each user the history items that determine a recommendation, newest first, and their times.
    histories: list[tuple[list[int], list[int]]]
    #: Nonzero if the user has the item.
    seen: sp.csr_matrix[Any]
    kept: dict[Any, Any] = field(default_factory=dict)
    #: The metric of each user under every model that was measured, by what defines its scores.
    measured: dict[Hashable, F64] = field(default_factory=dict)

    @classmethod
    def from_split(cls, split: TimeSplit, windows: int = WINDOWS) -> ValidationWindow:
        """The window of a split, one of so many that share the maximum numbers of users and cells."""
        train = split.train
        warm = [user for user in evaluation_users(split) if user.code >= 0]
        users = sample(warm, max(1, min(USERS, CELLS // train.n_items) // windows))
        facts = EventFacts(train.items, item=train.item, time=train.time, as_of=split.at)
        events = [train.history(user.code) for user in users]
        histories = [newest_first(items.tolist(), times.tolist()) for items, times in events]
        rows = np.repeat(np.arange(len(users)), [len(items) for items, _ in events])
        columns = np.concatenate([items for items, _ in events]) if events else np.zeros(0, np.int32)
        shape = (len(users), train.n_items)
        return cls(split, facts, users, histories, sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape))

    def once(self, name: str, key: Any, make: Any) -> Any:
        """The cached result of `make` for `key`; only the latest two keys per name are kept, to save memory."""
        store = self.kept.setdefault(name, {})
        if key not in store:
            while len(store) > 1:
                store.pop(next(iter(store)))
            store[key] = make()
        return store[key]


def windows_before(train: Interactions) -> list[ValidationWindow]:
    """Validation windows inside `train`, thinned, latest first; none if they have fewer than `ENOUGH` warm users."""
    return windows_in(thinned(train))


def windows_in(events: Interactions) -> list[ValidationWindow]:
    """Validation windows of events that are already thinned."""
    splits = validation_splits(events)
    windows = [ValidationWindow.from_split(split, len(splits)) for split in splits]
    windows = [window for window in windows if window.users]
    return windows if sum(len(window.users) for window in windows) >= ENOUGH else []


def figure(spec: LearnerSpec, windows: Sequence[ValidationWindow]) -> float:
    """The validation metric of a resolved learner: the mean over the users of all windows."""
    return float(np.concatenate([user_figures(spec, window) for window in windows]).mean())


def user_figures(spec: LearnerSpec, window: ValidationWindow) -> F64:
    """float64 (n_users): the metric of each user of a window; settings with equal scores are measured once."""
    if spec.CAPABILITIES.has_ranking:
        return _user_figures(spec, window)
    key = _score_key(spec, window)
    if key not in window.measured:
        window.measured[key] = _user_figures(spec, window)
    return window.measured[key]


def _score_key(spec: LearnerSpec, window: ValidationWindow) -> Hashable:
    """Equal for settings with equal scores: popularity without a share and events of one time have no decay."""
    timeless = window.split.kind == "random"
    prior = spec.popularity_prior()
    parts = []
    for name, recipe in spec.part_recipes().items():
        weights = msgspec.structs.replace(recipe.weights, recency_days=None) if timeless else recipe.weights
        parts.append((name, recipe.share, weights, recipe.key))
    return prior.share, prior.steps if prior.share and not timeless else None, tuple(parts)


def _user_figures(spec: LearnerSpec, window: ValidationWindow) -> F64:
    targets = [user.targets for user in window.users]
    if window.split.kind == "random":
        return per_user(ranked(spec, window, DEPTH), targets, (DEPTH,))[f"ndcg@{DEPTH}"]
    measured = per_user(ranked(spec, window), targets, (K,))
    return (measured[f"hit_rate@{K}"] + measured[f"ndcg@{K}"]) / 2


def ranked(spec: LearnerSpec, window: ValidationWindow, k: int = K) -> list[npt.NDArray[np.int32]]:
    """The top `k` items of each user over the whole catalogue, by the score that is served."""
    if spec.CAPABILITIES.has_ranking:
        return _answered(spec, window, k)
    scores = np.zeros((len(window.users), window.split.train.n_items), np.float32)
    for name, recipe in spec.part_recipes().items():
        if recipe.share > 0:
            scores += recipe.share * window.once(
                name, (recipe.key, recipe.weights), partial(_scores, window, name, recipe)
            )
    prior = spec.popularity_prior()
    popular = recent_popularity(prior.steps, window.facts.counts)
    scores = (1 - prior.share) * scores + prior.share * popular
    scores[window.seen.nonzero()] = -np.inf
    ties = window.once("ties", None, partial(_ties, window))
    batches = np.array_split(scores, -(-scores.size // BATCH))
    return [best for batch in batches for best in _best(batch, ties, k)]


def _ties(window: ValidationWindow) -> I64:
    """int64 (n_items): larger for items that a slate shows first among equal scores."""
    order = popularity_order(window.facts.counts(FALLBACK_DAYS), window.facts.counts(None))
    ties = np.empty(len(order), np.int64)
    ties[order] = np.arange(len(order))[::-1]
    return ties


def _best(scores: F32, ties: I64, k: int) -> I32:
    """int32 (n_users, at most `k`): indices of the largest scores (each at least 0 or -inf); ties go by `ties`."""
    k = min(k, scores.shape[1] - 1)
    # The bits of a non-negative float32 sort like its value, so one integer holds the score and its tie-breaker.
    keys = scores.view(np.int32).astype(np.int64)
    keys <<= 32
    keys += ties
    best = np.argpartition(keys, -k, axis=1)[:, -k:] if k else np.zeros((len(keys), 0), np.int64)
    order = np.argsort(-np.take_along_axis(keys, best, axis=1), axis=1)
    return np.take_along_axis(best, order, axis=1).astype(np.int32)


def _scores(window: ValidationWindow, name: str, recipe: PartRecipe) -> F32:
    """float32 (n_users, n_items): the scores of a part, each row scaled by its maximum, nothing below zero."""
    arrays = window.once(f"{name} arrays", recipe.key, partial(_arrays, window, name, recipe.make))
    if isinstance(arrays, ItemLists):
        weighted = window.once("histories", recipe.weights, lambda: _histories(window, recipe.weights))
        scores = (weighted @ arrays.matrix()).toarray()
    else:
        vectors = [arrays.user(history, recipe.weights.weigh(times)) for history, times in window.histories]
        scores = np.stack(vectors) @ arrays.items.T
    positive: F32 = np.maximum(scores, 0, out=scores).astype(np.float32, copy=False)
    peak = positive.max(axis=1, keepdims=True)
    positive /= np.where(peak > 0, peak, np.float32(1))
    return positive


def _arrays(window: ValidationWindow, name: str, make: Make) -> ItemLists | UserVectors:
    train, at = window.split.train, window.split.at
    if not isinstance(make, StagedMake):
        return make(train, at)
    return make.second(window.once(f"{name} first step", make.key, partial(make.first, train, at)), train, at)


def _histories(window: ValidationWindow, weights: HistoryWeights) -> sp.csr_matrix[Any]:
    """float32 (n_users, n_items): the weights of each user's history."""
    rows, columns, values = [], [], []
    for row, (history, times) in enumerate(window.histories):
        rows += [row] * len(history)
        columns += history
        values += weights.weigh(times)
    shape = (len(window.users), window.split.train.n_items)
    return sp.csr_matrix((np.array(values, np.float32), (rows, columns)), shape=shape)


def _answered(spec: LearnerSpec, window: ValidationWindow, k: int) -> list[npt.NDArray[np.int32]]:
    """The top items through the slate, for a learner whose score is more than a sum over parts."""
    split = window.split
    recommender = learn(spec, split.train, split.at)
    rules = RuleSet(retrieve=(nearest(MOST),), filter=(unseen(),), fallback=popular(days=30))
    engine = SlateEngine(recommender, rules, window.facts)
    found = []
    for user in window.users:
        items, times = split.train.history(user.code)
        answer = engine.answer([split.train.items[i] for i in items], times.tolist(), k, as_of=split.at)
        found.append(np.array([recommender.codes[item] for item in answer.items], np.int32))
    return found
