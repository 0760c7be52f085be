"""Whom to measure on: users with later events, what they had before, and what they took afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tidemill.models import Interactions
from tidemill.training.time_split import TimeSplit

#: How histories and targets are shown, in words; it goes with every figure.
PROTOCOL = (
    "global time split: train before the split, test at or after it; a user's history is every event before the split; "
    "any later item counts, items never trained on are misses; seen items are dropped; the full catalogue is ranked"
)


@dataclass(frozen=True)
class MeasuredUser:
    """One user: code in train (-1 for a cold one), and targets as codes in train (-1 for an item never trained on)."""

    code: int
    targets: npt.NDArray[np.int32]


def measured_users(split: TimeSplit) -> list[MeasuredUser]:
    """Users with at least one later item that they had not seen before, in the order of their ids."""
    user_of = {user: code for code, user in enumerate(split.train.users)}
    item_of = {item: code for code, item in enumerate(split.train.items)}
    items = np.array([item_of.get(item, -1) for item in split.test.items], np.int32)
    found = []
    for number, user in enumerate(split.test.users):
        code = user_of.get(user, -1)
        later = np.unique(split.test.history(number)[0])
        targets = items[later]
        if code >= 0:
            targets = targets[~np.isin(targets, split.train.history(code)[0])]
        if len(targets):
            found.append(MeasuredUser(code, targets))
    return found


def sample(users: list[MeasuredUser], at_most: int) -> list[MeasuredUser]:
    """At most so many users, evenly from all of them: the same ones each time."""
    if len(users) <= at_most:
        return users
    return [users[i] for i in np.linspace(0, len(users) - 1, at_most).astype(int)]


def histories_codes(train: Interactions, user: MeasuredUser) -> tuple[list[int], list[int]]:
    """Item codes and times (microseconds) of a user's history; empty for a cold one."""
    if user.code < 0:
        return [], []
    items, times = train.history(user.code)
    return items.tolist(), times.tolist()
