"""Splits by global time: training data ends before an instant; everything measured is at or after it.

All users share one instant, so that no model sees the future of any user ("Time to Split", arXiv 2507.16289).
Validation windows are cut the same way from the days before the split; the test days never influence a choice.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from tidemill.core.errors import TooLittleData
from tidemill.models import Interactions
from tidemill.training.recommender.protocol import Split

#: Share of the events before the default split, and of the training events in each validation window.
TRAIN_SHARE, WINDOW_SHARE, WINDOWS = 0.9, 0.1, 3
#: Share of each user's events in a random hold-out.
HELD_SHARE = 0.2


@dataclass(frozen=True)
class TimeSplit:
    """Events before `at` (microseconds) and events from `at` on; of `leave_one_out`, all but each user's last event.

    A random hold-out has no order in time: `at` is the first instant after all its events.
    """

    at: int
    train: Interactions
    test: Interactions
    kind: Split = "time"


def split_at(interactions: Interactions, at: int | None = None, *, until: int | None = None) -> TimeSplit:
    """Split at `at`, by default after 90% of the events; `until` ends the test days (exclusive).

    Raises `TooLittleData` if one side is empty.
    """
    if at is None:
        at = int(np.quantile(interactions.time, TRAIN_SHARE, method="higher"))
    later = interactions.time >= at
    if until is not None:
        later &= interactions.time < until
    if not later.any() or not (interactions.time < at).any():
        raise TooLittleData("a split by time needs events on both sides of it", tip="choose an earlier or a later time")
    split = TimeSplit(at, interactions.before(at), interactions.where(later))
    # Events exactly at the split that were on both sides once made a model look a third better than it was.
    assert split.train.time.max() < split.test.time.min()
    return split


def validation_splits(train: Interactions, windows: int = WINDOWS) -> list[TimeSplit]:
    """Consecutive windows at the end of `train`, latest first, a tenth of its events each; fewer if days are few.

    If all events have the same time, one random hold-out instead; none without users with two events.
    """
    if train.time.min() == train.time.max():
        held = random_hold_out(train)
        return [held] if len(held.test) else []
    shares = 1 - WINDOW_SHARE * np.arange(windows + 1)
    ends = [int(np.quantile(train.time, share, method="higher")) for share in shares]
    ends[0] = int(train.time.max()) + 1
    splits = []
    for end, at in itertools.pairwise(ends):
        if train.time.min() < at < end:
            splits.append(split_at(train, at, until=end))
    return splits


def random_hold_out(events: Interactions, share: float = HELD_SHARE) -> TimeSplit:
    """`share` of the events of each user with two or more, at least one, drawn with a fixed seed, and the rest."""
    drawn = np.random.default_rng(0).random(len(events))
    rank = np.empty(len(events), np.int64)
    rank[np.lexsort((drawn, events.user))] = np.arange(len(events)) - events.starts[events.user]
    n = np.diff(events.starts)  # (n_users)
    held = rank < np.where(n > 1, np.maximum(n * share, 1).astype(np.int64), 0)[events.user]
    return TimeSplit(int(events.time.max()) + 1, events.where(~held), events.where(held), kind="random")


def leave_one_out(interactions: Interactions) -> TimeSplit:
    """Train on all but the last event of each user with two or more; `at` is the first instant after all training.

    Raises `TooLittleData` if no user has two events.
    """
    last = interactions.starts[1:] - 1  # (n_users)
    held = last[np.diff(interactions.starts) > 1]
    if not len(held):
        raise TooLittleData("leave-one-out needs users with two events or more", tip="use the split by time")
    keep = np.ones(len(interactions), np.bool_)
    keep[held] = False
    train = interactions.where(keep)
    return TimeSplit(int(train.time.max()) + 1, train, interactions.where(~keep), kind="leave-one-out")
