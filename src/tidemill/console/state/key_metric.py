"""Key metric of a model's runs: the metric that ranks them, and the best run by it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from tidemill.core.records.assessment import VERSUS_CHAMPION
from tidemill.core.records.runs import Run

#: Prefix of metrics that are differences from popularity.
_DIFFERENCE = "difference "
#: Metrics for which lower is better, by a word of their name.
_LESS = {"loss", "error", "rmse", "mae", "mse", "brier", "logloss", "latency", "deviance"}


def key_figure(runs: Sequence[Run], among: Sequence[str] = ()) -> str:
    """The key metric of runs: the one that most of them have; among these, a hit rate of users with history.
    With `among`, one of those. Empty if there is none.
    """
    counts = Counter(name for run in runs for name in run.metrics if not among or name in among)

    def order(name: str) -> tuple[int, bool, bool, int]:
        return -counts[name], name.startswith((_DIFFERENCE, *VERSUS_CHAMPION)), "hit_rate" not in name, rank(name)

    return min(counts, key=order, default="")


def users_of(name: str) -> str:
    """The group of users of a metric, empty if it names none.

    >>> users_of("hit_rate@10[warm]"), users_of("log_loss")
    ('warm', '')
    """
    return name[:-1].partition("[")[2] if name.endswith("]") else ""


def rank(name: str) -> int:
    """The rank of a metric by its users: with history, all, no group, single groups."""
    users = users_of(name)
    return ("warm", "all", "").index(users) if users in ("warm", "all", "") else 3


def less_is_better(name: str) -> bool:
    """Whether lower values of a metric are better.

    >>> less_is_better("log_loss"), less_is_better("hit_rate@10")
    (True, False)
    """
    return bool(_LESS & set(re.split("[^a-z0-9]", name.partition("@")[0].lower())))


def best_of(runs: Iterable[Run], figure: str) -> Run | None:
    """The finished run with the best metric; on a tie the older one."""
    sign = 1 if less_is_better(figure) else -1
    found = [run for run in runs if run.state == "finished" and figure in run.metrics]
    return min(found, key=lambda run: (sign * run.metrics[figure].value, run.number), default=None)


def is_beyond_noise(run: Run, other: Run, figure: str) -> bool:
    """Whether a run is better than another one on the same data, and their 95% intervals do not overlap. A paired test
    (`tidemill compare`) finds smaller differences.
    """
    if run.data != other.data or figure not in run.metrics or figure not in other.metrics:
        return False
    one, two = run.metrics[figure], other.metrics[figure]
    return one.high < two.low if less_is_better(figure) else one.low > two.high


def rivals_of(run: Run, runs: Iterable[Run], figure: str) -> list[Run]:
    """The other finished runs with this metric on the same data."""
    return [
        one
        for one in runs
        if one is not run and one.state == "finished" and figure in one.metrics and one.data == run.data
    ]


def clear_best(runs: Sequence[Run], figure: str) -> Run | None:
    """The best run, if others were evaluated on the same data and it is significantly better than each of them."""
    best = best_of(runs, figure)
    rivals = rivals_of(best, runs, figure) if best is not None else []
    if best is None or not rivals or not all(is_beyond_noise(best, rival, figure) for rival in rivals):
        return None
    return best
