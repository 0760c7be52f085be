"""Exposure: the share of attention that each group of items gets in the lists, and its share of the targets.

A position has the weight 1/log2(1 + position), as attention falls down a list (Singh & Joachims 2018, "Fairness of
Exposure"). A ratio of 1 is proportional to the targets, which were themselves influenced by earlier lists.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tidemill.core.records.quality import Exposure
from tidemill.training.recommender.evaluation_targets import EvaluationTargets
from tidemill.training.statistics.bootstrap import Bootstrap, interval

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

#: Maximum number of groups; the others are merged.
GROUPS = 20
OTHERS = "all others"


def exposures(
    by: str,
    groups: Sequence[str],
    targets: EvaluationTargets,
    lists: tuple[Sequence[I32], Sequence[I32]],
    k: int,
    resamples: Bootstrap,
) -> tuple[Exposure, ...]:
    """The exposure of each group, most targets first; `groups` is the group of each code of the catalogue.

    `lists` are those of the model and of the baseline.
    """
    names, of = np.unique(np.array(groups), return_inverse=True)
    names, of = _largest(names, of, targets)
    n_groups, n_users = len(names), targets.n_users
    taken = np.zeros((n_users, n_groups))
    np.add.at(taken, (targets.user[targets.question], of[targets.code]), 1.0)
    tables = [_attention(one, of, n_groups, targets.user, k) for one in lists]
    values = np.column_stack([*tables, taken])  # (n_users, 3 · n_groups)
    draws = resamples.sums(values)
    seen, drawn = _shares(values.sum(axis=0)[None], n_groups), _shares(draws, n_groups)
    found = []
    for group in np.argsort(-seen[2][0], kind="stable").tolist():
        shown, baseline, taken_share = (interval(seen[i][0, group], drawn[i][:, group]) for i in range(3))
        ratio = None
        if taken_share.value > 0:
            with np.errstate(invalid="ignore", divide="ignore"):
                ratio = interval(shown.value / taken_share.value, drawn[0][:, group] / drawn[2][:, group])
        n_items = int(np.count_nonzero(of == group))
        name = str(names[group])
        found.append(
            Exposure(by=by, group=name, n_items=n_items, shown=shown, baseline=baseline, taken=taken_share, ratio=ratio)
        )
    return tuple(found)


def _attention(lists: Sequence[I32], of: I64, n_groups: int, user: I64, k: int) -> F64:
    """Attention of each group in the lists of each user, float64 (n_users, n_groups)."""
    table = np.zeros((int(user[-1]) + 1, n_groups))
    lengths = [min(k, len(items)) for items in lists]
    codes = np.concatenate([np.zeros(0, np.int32), *(items[:k] for items in lists)])
    rows = np.repeat(user, lengths)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    place = np.arange(len(codes)) - starts
    known = (codes >= 0) & (codes < len(of))
    np.add.at(table, (rows[known], of[codes[known]]), 1 / np.log2(place[known] + 2))
    return table


def _shares(sums: F64, n_groups: int) -> list[F64]:
    """Shares of model, baseline and targets, each float64 (draws, n_groups)."""
    found = []
    for start in range(0, 3 * n_groups, n_groups):
        part = sums[:, start : start + n_groups]
        found.append(part / np.maximum(part.sum(axis=1, keepdims=True), 1e-12))
    return found


def _largest(names: npt.NDArray[np.str_], of: I64, targets: EvaluationTargets) -> tuple[npt.NDArray[np.str_], I64]:
    if len(names) <= GROUPS:
        return names, of
    n_taken = np.bincount(of[targets.code], minlength=len(names))
    kept = np.argsort(-n_taken, kind="stable")[: GROUPS - 1]
    number = np.full(len(names), GROUPS - 1)
    number[kept] = np.arange(GROUPS - 1)
    return np.append(names[kept], OTHERS), number[of]
