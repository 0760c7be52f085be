"""Rankers whose worth is known before they are measured, and small worlds written down event by event."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from synthetic_days import DAY

from tidemill.models import Interactions
from tidemill.training.recommender.users_to_evaluate import EvaluationUser


class Given:
    """A ranker made of a function from a question to codes."""

    def __init__(self, give: Callable[[EvaluationUser, int], Sequence[int] | None], name: str = "given") -> None:
        self.name = name
        self._give = give

    def rank(self, user: EvaluationUser, n: int) -> np.ndarray | None:
        found = self._give(user, n)
        return None if found is None else np.array(found, np.int32)


ORACLE = Given(lambda user, n: user.targets.tolist(), "oracle")


def shuffled(n_items: int, seed: int = 0) -> Given:
    """Knows nothing: a new order of all items that the user has not had, for each question."""
    rng = np.random.default_rng(seed)
    return Given(lambda user, n: rng.permutation(np.setdiff1d(np.arange(n_items), user.items)).tolist(), "shuffled")


def events(*rows: tuple[str, str, float]) -> Interactions:
    """Interactions from (user, item, day), in the order of their rows."""
    users, items, days = zip(*rows, strict=True)
    table = pa.table({"user": users, "item": items, "at": pa.array([int(day * DAY) for day in days], pa.int64())})
    return Interactions.from_arrow(table, user="user", item="item", time="at")


def drifting(n_users: int = 400, n_days: int = 200, *, seed: int = 0) -> Interactions:
    """Ten items are in fashion for ten days each, then the next ten; users come for a while and take what is there."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        start = rng.uniform(0, n_days * 0.85)
        days = np.sort(rng.uniform(start, min(start + 30, n_days), 6)).tolist()
        rows += [(f"u{user:04}", f"i{int(day) // 10 * 10 + rng.integers(10):04}", day) for day in days]
    return events(*rows)
