"""Evaluation users: users with later events, their history before the split and their targets after it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tidemill.training.recommender.protocol import Protocol
from tidemill.training.recommender.splits import TimeSplit

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Thing = TypeVar("Thing")

#: Maximum queries per user, evenly spaced over the later events, if each later event is a query of its own.
QUESTIONS = 10


@dataclass(frozen=True, eq=False)
class EvaluationUser:
    """One user at one moment: the history and the targets.

    Items are codes of the catalogue: first those of train, then those that appear only later (`catalogue`). A target
    that was not in train therefore has a code that a frozen model never returns.
    """

    #: Code in train; -1 for a user without events there.
    code: int
    targets: I32
    #: The user's id; one user with several queries occurs several times in a row.
    user: str = ""
    #: The history given to the ranker, oldest first, and its times (microseconds).
    items: I32 = field(default_factory=lambda: np.zeros(0, np.int32))
    times: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    #: Time of the query: the split, or the time of the target if the history continues until then.
    at: int = 0
    #: Time of each target.
    taken: I64 = field(default_factory=lambda: np.zeros(0, np.int64))


def catalogue(split: TimeSplit) -> list[str]:
    """Item ids by code: the items of train, then those that occur only in the test."""
    known = set(split.train.items)
    return [*split.train.items, *(item for item in split.test.items if item not in known)]


def evaluation_users(split: TimeSplit, protocol: Protocol | None = None) -> list[EvaluationUser]:
    """Users with targets after the split, in the order of their ids.

    If every later item counts (`target="all"`), items that the user already had are not targets, and users without
    other later items are not evaluated.
    """
    protocol = protocol or Protocol()
    user_of = {user: code for code, user in enumerate(split.train.users)}
    item_of = {item: code for code, item in enumerate(catalogue(split))}
    codes = np.array([item_of[item] for item in split.test.items], np.int32)
    found: list[EvaluationUser] = []
    for number, user in enumerate(split.test.users):
        code = user_of.get(user, -1)
        seen, seen_times = split.train.history(code) if code >= 0 else (_NO_ITEMS, _NO_TIMES)
        later, times = split.test.history(number)
        found += _questions(protocol, split.at, user, code, seen, seen_times, codes[later], times)
    return found


_NO_ITEMS, _NO_TIMES = np.zeros(0, np.int32), np.zeros(0, np.int64)


def _questions(
    protocol: Protocol, at: int, user: str, code: int, seen: I32, seen_times: I64, later: I32, times: I64
) -> list[EvaluationUser]:
    if protocol.target == "all" and protocol.history == "before":
        targets, first = np.unique(later, return_index=True)
        new = ~np.isin(targets, seen)
        if not new.any():
            return []
        return [EvaluationUser(code, targets[new], user, seen, seen_times, at, times[first[new]])]
    places = {"first": [0], "last": [len(later) - 1], "all": _fresh(seen, later)}[protocol.target]
    queries = []
    for place in places:
        items, when, moment = seen, seen_times, at
        if protocol.history == "earlier":
            items, when = np.concatenate((seen, later[:place])), np.concatenate((seen_times, times[:place]))
            moment = int(times[place])
        target = slice(place, place + 1)
        queries.append(EvaluationUser(code, later[target], user, items, when, moment, times[target]))
    return queries


def _fresh(seen: I32, later: I32) -> list[int]:
    """Indices of later events without repeats, at most `QUESTIONS`, evenly spaced."""
    first = np.sort(np.unique(later, return_index=True)[1])
    places = first[~np.isin(later[first], seen)].tolist()
    return evenly(places, QUESTIONS)


def evenly(these: list[Thing], at_most: int) -> list[Thing]:
    """At most `at_most` elements, evenly spaced and deterministic."""
    if len(these) <= at_most:
        return these
    return [these[i] for i in np.linspace(0, len(these) - 1, at_most).astype(int)]


def sample(users: list[EvaluationUser], at_most: int) -> list[EvaluationUser]:
    """The queries of at most `at_most` users, evenly spaced and deterministic."""
    names = list(dict.fromkeys(user.user for user in users))
    if len(names) <= at_most:
        return users
    kept = set(evenly(names, at_most))
    return [user for user in users if user.user in kept]


def user_numbers(users: Sequence[EvaluationUser]) -> I64:
    """int64 (n_questions): the number of the user of each query, from 0."""
    change = [i == 0 or user.user != users[i - 1].user for i, user in enumerate(users)]
    return np.cumsum(change).astype(np.int64) - 1


def digest(users: Sequence[EvaluationUser], items: Sequence[str], split_at: int, protocol: Protocol) -> str:
    """sha256 over the evaluated users, targets and split: metrics with equal hashes can be paired."""
    found = hashlib.sha256(f"{split_at}\0{protocol.words()}".encode())
    for user in users:
        found.update("\0".join((f"\n{user.user}", *(items[code] for code in user.targets.tolist()))).encode())
    return found.hexdigest()
