"""Performance by slice: the main metric on the rows of one slice, compared with all other rows.

Holm's correction over all slices keeps the probability of any false alarm below 5%.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tidemill.core.records.assessment import SliceScore
from tidemill.core.records.quality import FEWEST_USERS
from tidemill.training.statistics.bootstrap import Bootstrap, interval
from tidemill.training.statistics.permutation_test import ALPHA, holm, random_assignment, resampled_t
from tidemill.training.tabular.assess.slice_columns import SliceColumn

F64 = npt.NDArray[np.float64]


def slice_scores(cuts: Sequence[SliceColumn], losses: F64, draws: Bootstrap) -> tuple[SliceScore, ...]:
    """Every slice of at least ten rows that leaves ten others, by column and value; `losses` are float64 (n)."""
    found: dict[tuple[str, str], SliceScore] = {}
    p: dict[tuple[str, str], float] = {}
    for cut in cuts:
        for part, chance in _of_cut(cut, losses, draws):
            found[part.column, part.value] = part
            p[part.column, part.value] = chance
    stepped = holm(p)
    return tuple(
        SliceScore(
            column=part.column, value=part.value, n=part.n, score=part.score, difference=part.difference,
            p_holm=stepped[name],
        )
        for name, part in found.items()
    )  # fmt: skip


def worst_slice(parts: Sequence[SliceScore], measure: str, beside: Mapping[tuple[str, str], str] = {}) -> str:
    """A sentence that names the slice where the metric is significantly worst, or says that there is none.

    `beside` are words about a slice, by column and value, that help to interpret its metric.
    """
    if not parts:
        return "No slice has enough rows to be tested."
    beyond = [part for part in parts if part.p_holm < ALPHA and part.difference.low > 0]
    if not beyond:
        return f"None of {len(parts)} slices is significantly worse than the rest."
    part = max(beyond, key=lambda part: part.difference.low)
    rest = part.score.value - part.difference.value
    note = beside.get((part.column, part.value), "")
    return (
        f"Worst slice: {part.column} is {part.value} ({part.n:,} rows): {measure} {part.score.value:.4g} against "
        f"{rest:.4g} elsewhere, a difference of {part.difference.value:.2g} ({part.difference.low:.2g} to "
        f"{part.difference.high:.2g}){note}; {len(beyond)} of {len(parts)} slices are significantly worse."
    )


def _of_cut(cut: SliceColumn, losses: F64, draws: Bootstrap) -> list[tuple[SliceScore, float]]:
    n = np.bincount(cut.code, minlength=len(cut.values))
    shown = np.flatnonzero((n >= FEWEST_USERS) & (len(losses) - n >= FEWEST_USERS))
    if not len(shown):
        return []
    inside = (cut.code[:, None] == shown[None]).astype(np.float64)  # (n, parts)
    columns = np.concatenate((inside, inside * losses[:, None], np.ones((len(losses), 1)), losses[:, None]), axis=1)
    own, rest = _means(draws.sums(columns), len(shown))
    own_value, rest_value = _means(columns.sum(axis=0)[None], len(shown))
    scores = []
    for i, place in enumerate(shown.tolist()):
        difference = interval(float(own_value[0, i] - rest_value[0, i]), own[:, i] - rest[:, i])
        part = SliceScore(
            column=cut.column, value=cut.values[place], n=int(n[place]), p_holm=1.0,
            score=interval(float(own_value[0, i]), own[:, i]), difference=difference,
        )  # fmt: skip
        rows = cut.code == place
        units = min(draws.units_in(rows), draws.units_in(~rows))
        chance = max(random_assignment(losses, rows), resampled_t(difference.value, own[:, i] - rest[:, i], units))
        scores.append((part, chance))
    return scores


def _means(sums: F64, k: int) -> tuple[F64, F64]:
    """Means of the slices and of the other rows, each float64 (d, k)."""
    n, total, all_n, all_total = sums[:, :k], sums[:, k : 2 * k], sums[:, 2 * k, None], sums[:, 2 * k + 1, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / n, (all_total - total) / (all_n - n)
