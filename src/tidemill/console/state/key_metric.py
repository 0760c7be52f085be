"""Key metric of a model's runs: the metric that ranks them, and the best run by it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from tidemill.core.records.runs import Run

#: How the figures begin that are differences to popularity.
_BESIDE = "difference "
#: And those that are differences to the champion.
_CHAMPION = "beside champion "
#: Figures of which less is better, by a word of their name.
_LESS = {"loss", "error", "rmse", "mae", "mse", "brier", "logloss", "latency", "deviance"}


def key_figure(runs: Sequence[Run], among: Sequence[str] = ()) -> str:
    """The key metric of runs: the one that most of them have, of these a hit rate of users with
    history; with `among` one of those. Empty where there is none.
    """
    counts = Counter(name for run in runs for name in run.metrics if not among or name in among)

    def order(name: str) -> tuple[int, bool, bool, int]:
        return -counts[name], name.startswith((_BESIDE, _CHAMPION)), "hit_rate" not in name, rank(name)

    return min(counts, key=order, default="")


def users_of(name: str) -> str:
    """The group of users that a figure is over, empty where it names none.

    >>> users_of("hit_rate@10[warm]"), users_of("log_loss")
    ('warm', '')
    """
    return name[:-1].partition("[")[2] if name.endswith("]") else ""


def rank(name: str) -> int:
    """Where a figure stands by its users: with history, all, none named, single groups."""
    users = users_of(name)
    return ("warm", "all", "").index(users) if users in ("warm", "all", "") else 3


def less_is_better(name: str) -> bool:
    """Whether a figure is one of those that are made small.

    >>> less_is_better("log_loss"), less_is_better("hit_rate@10")
    (True, False)
    """
    return bool(_LESS & set(re.split("[^a-z0-9]", name.partition("@")[0].lower())))


def best_of(runs: Iterable[Run], figure: str) -> Run | None:
    """The finished run with the best figure; of equal ones the older."""
    sign = 1 if less_is_better(figure) else -1
    found = [run for run in runs if run.state == "finished" and figure in run.metrics]
    return min(found, key=lambda run: (sign * run.metrics[figure].value, run.number), default=None)
