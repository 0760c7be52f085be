"""Ranker features of a candidate: scores of each part, event counts and age of the item, and the user's history.

Training and serving call the same functions, so the features are the same. Item features depend only on the facts and
are computed once per facts version; the rest is computed per request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill.models.recommender.event_facts import DAY_US
from tidemill.models.recommender.folded_in_user import FoldedInUser
from tidemill.models.recommender.interactions import F32, I32, I64
from tidemill.models.recommender.part_scores import ListScores
from tidemill.models.recommender.recent_popularity import WINDOWS

_WINDOWS: tuple[int | None, ...] = (*WINDOWS, None)
#: Added to the counts of a shorter and a longer window before they are compared.
_SMOOTH = (0.5, 2.0)

_COUNTS = tuple("taken" if days is None else f"taken_{days}d" for days in _WINDOWS)
ITEM_FEATURES = (*_COUNTS, *(f"{short}_of_{long}" for short, long in pairwise(_COUNTS)), "age_days")
HISTORY_FEATURES = ("history", "history_last_day", "days_since")


def feature_names(parts: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the columns of `query_features`, for parts by name with their kinds.

    >>> feature_names({"knn": "lists", "spectral": "vectors"})[:5]
    ('knn', 'knn_to_best', 'knn_listed', 'spectral', 'spectral_to_best')
    """
    said = [(name, f"{name}_to_best", *_listed(name, kind)) for name, kind in parts.items()]
    return (*(feature for features in said for feature in features), *ITEM_FEATURES, *HISTORY_FEATURES)


def _listed(name: str, kind: str) -> tuple[str, ...]:
    return (f"{name}_listed",) if kind == "lists" else ()


def item_features(counts: Callable[[int | None], npt.NDArray[np.integer]], first_seen: I64, as_of: int) -> F32:
    """float32 (n_items, len(ITEM_FEATURES)): event counts, shorter windows relative to longer ones, age in days.

    `counts` returns the events of each item in the last days (`None`: of all time), `first_seen` is the time of each
    item's first event, `as_of` the current time (both microseconds).
    """
    taken = np.stack([counts(days) for days in _WINDOWS], axis=1).astype(np.float32)  # (n_items, n_windows)
    trend = (taken[:, :-1] + np.float32(_SMOOTH[0])) / (taken[:, 1:] + np.float32(_SMOOTH[1]))
    age = np.maximum(as_of - first_seen, 0) / DAY_US
    return np.concatenate((taken, trend, age[:, None]), axis=1, dtype=np.float32)


def query_features(profile: FoldedInUser, of_items: F32, codes: I32, as_of: int) -> F32:
    """float32 (n_codes, n_features), in the order of `feature_names` of the profile's parts.

    `of_items` is the result of `item_features`, `as_of` the time of the request (microseconds). Raises `ValueError` for
    an empty history, for which no part has scores.
    """
    if not profile.history:
        raise ValueError("a ranker needs a history, and this one is empty")
    columns: list[npt.NDArray[Any]] = []
    for opinion in profile.opinions.values():
        scores = np.maximum(opinion.scores(codes), np.float32(0))
        columns += [scores, scores / np.float32(max(opinion.peak, 1e-12))]
        if isinstance(opinion, ListScores):
            columns.append(opinion.listed(codes))
    n, of_history = len(columns), _history(profile.times, as_of)
    features = np.empty((len(codes), n + of_items.shape[1] + len(of_history)), np.float32)
    for place, column in enumerate(columns):
        features[:, place] = column
    features[:, n : n + of_items.shape[1]] = of_items[codes]
    features[:, n + of_items.shape[1] :] = of_history
    return features


def _history(times: Sequence[int], as_of: int) -> tuple[float, ...]:
    """Of a history, newest first: its length, the share of its last day, and the days since then."""
    day = times[0] // DAY_US
    return len(times), sum(time // DAY_US == day for time in times), max(as_of - times[0], 0) / DAY_US
