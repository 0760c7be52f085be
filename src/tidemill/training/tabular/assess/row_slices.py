"""Slices of rows: the main metric on the rows with one value of a column, compared with all other rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tidemill.core.records.quality import FEWEST_USERS, SliceResult
from tidemill.training.statistics.bootstrap import Bootstrap, interval
from tidemill.training.statistics.permutation_test import random_assignment, resampled_t
from tidemill.training.statistics.slices import corrected
from tidemill.training.tabular.assess.slice_columns import SliceColumn

F64 = npt.NDArray[np.float64]


def row_slices(cuts: Sequence[SliceColumn], measure: str, losses: F64, draws: Bootstrap) -> tuple[SliceResult, ...]:
    """Every slice of at least ten rows that leaves ten others; `losses` are float64 (n), whose mean is `measure`."""
    return corrected(one for cut in cuts for one in _of_cut(cut, measure, losses, draws))


def _of_cut(cut: SliceColumn, measure: str, losses: F64, draws: Bootstrap) -> Iterator[SliceResult]:
    n = np.bincount(cut.code, minlength=len(cut.values))
    shown = np.flatnonzero((n >= FEWEST_USERS) & (len(losses) - n >= FEWEST_USERS))
    if not len(shown):
        return
    inside = (cut.code[:, None] == shown[None]).astype(np.float64)  # (n, slices)
    columns = np.concatenate((inside, inside * losses[:, None], np.ones((len(losses), 1)), losses[:, None]), axis=1)
    own, rest = _means(draws.sums(columns), len(shown))
    own_value, rest_value = _means(columns.sum(axis=0)[None], len(shown))
    apart, apart_value = own - rest, own_value[0] - rest_value[0]
    for i, place in enumerate(shown.tolist()):
        rows = cut.code == place
        units = min(draws.units_in(rows), draws.units_in(~rows))
        yield SliceResult(
            family=cut.column, users=cut.values[place], n_users=int(n[place]),
            model={measure: interval(own_value[0, i], own[:, i])},
            baseline={measure: interval(rest_value[0, i], rest[:, i])},
            difference={measure: interval(apart_value[i], apart[:, i])},
            p={measure: max(random_assignment(losses, rows), resampled_t(apart_value[i], apart[:, i], units))},
        )  # fmt: skip


def _means(sums: F64, k: int) -> tuple[F64, F64]:
    """Means of the slices and of the other rows, each float64 (d, k)."""
    n, total, all_n, all_total = sums[:, :k], sums[:, k : 2 * k], sums[:, 2 * k, None], sums[:, 2 * k + 1, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / n, (all_total - total) / (all_n - n)
