"""Fairness: gaps between the groups of a declared attribute, which need not be an input of the model.

For a binary task: the selection rate, true positive rate, false positive rate and error rate of each group, and how
much its probabilities are too high. For classes: the error rate. For numbers: the error, the mean prediction and how
much it is too high (Hardt, Price & Srebro 2016; Barocas, Hardt & Narayanan, "Fairness and Machine Learning").
Which of them should be equal is a choice: with different base rates they cannot all be (Kleinberg et al. 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt

from tidemill.core.records.assessment import GroupGap
from tidemill.core.records.quality import FEWEST_USERS
from tidemill.training.statistics.bootstrap import Bootstrap, interval
from tidemill.training.statistics.permutation_test import ALPHA, holm, random_assignment, resampled_t
from tidemill.training.tabular.assess.losses import RowAnswers
from tidemill.training.tabular.assess.slice_columns import SliceColumn

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Rate:
    """A mean of `values` over the rows of `counted`, both float64 (n)."""

    name: str
    values: F64
    counted: F64


@dataclass(frozen=True)
class Gaps:
    """Gaps by attribute and metric, and a sentence on the largest significant one."""

    gaps: tuple[GroupGap, ...]
    says: str


def gaps_of(cuts: Sequence[SliceColumn], told: RowAnswers, draws: Bootstrap) -> Gaps:
    """The gaps of every attribute; groups with fewer than ten rows that count for a metric are not shown.

    The same rows select and measure the groups, which alone would make gaps of many groups significant; therefore p is
    multiplied by the number of pairs before Holm's correction over all gaps.
    """
    found: dict[tuple[str, str], GroupGap] = {}
    p: dict[tuple[str, str], float] = {}
    for cut in cuts:
        for rate in _rates(told):
            gap_and_p = _gap(cut, rate, draws)
            if gap_and_p is not None:
                found[cut.column, rate.name], p[cut.column, rate.name] = gap_and_p
    return Gaps(tuple(found.values()), _says(found, holm(p), declared=bool(cuts)))


def _rates(predictions: RowAnswers) -> list[_Rate]:
    every = np.ones(len(predictions.target))
    if predictions.task == "binary":
        return [
            _Rate("selection rate", predictions.label, every),
            _Rate("true positive rate", predictions.label, predictions.target),
            _Rate("false positive rate", predictions.label, 1 - predictions.target),
            _Rate("error", (predictions.label != predictions.target).astype(np.float64), every),
            _Rate("calibration", predictions.answer - predictions.target, every),
        ]
    if predictions.task == "classes":
        return [_Rate("error", (predictions.label != predictions.target).astype(np.float64), every)]
    return [
        _Rate("error", np.abs(predictions.answer - predictions.target), every),
        _Rate("mean prediction", predictions.answer, every),
        _Rate("calibration", predictions.answer - predictions.target, every),
    ]


def _gap(cut: SliceColumn, rate: _Rate, draws: Bootstrap) -> tuple[GroupGap, float] | None:
    n = np.bincount(cut.code, weights=rate.counted, minlength=len(cut.values))
    shown = np.flatnonzero(n >= FEWEST_USERS)
    if len(shown) < 2:
        return None
    inside = (cut.code[:, None] == shown[None]) * rate.counted[:, None]  # (n, groups)
    columns = np.concatenate((inside, inside * rate.values[:, None]), axis=1)
    k = len(shown)
    sums, total = draws.sums(columns), columns.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = sums[:, k:] / sums[:, :k]
    value = total[k:] / total[:k]
    high, low, chance = _apart(cut, rate, draws, shown, value, drawn)
    names = [cut.values[place] for place in shown.tolist()]
    gap = GroupGap(
        attribute=cut.column,
        measure=rate.name,
        groups={name: interval(float(value[i]), drawn[:, i]) for i, name in enumerate(names)},
        n={name: int(n[place]) for name, place in zip(names, shown.tolist(), strict=True)},
        gap=interval(float(value[high] - value[low]), drawn[:, high] - drawn[:, low]),
        highest=names[high],
        lowest=names[low],
    )
    return gap, chance


def _apart(
    cut: SliceColumn, rate: _Rate, draws: Bootstrap, shown: I64, value: F64, drawn: F64
) -> tuple[int, int, float]:
    """The two groups with the largest significant gap, or else with the largest gap, and their p.

    Without this preference, a tiny group with a noisy metric would hide the gaps of large ones.
    """
    rows = [(cut.code == place) & (rate.counted > 0) for place in shown.tolist()]
    units = [draws.units_in(of_group) for of_group in rows]
    noise = np.nanstd(drawn, axis=0)
    n_pairs = len(shown) * (len(shown) - 1) // 2
    order = sorted(permutations(range(len(shown)), 2), key=lambda pair: float(value[pair[1]] - value[pair[0]]))
    for high, low in order[:n_pairs]:
        if abs(value[high] - value[low]) < 1.5 * np.hypot(noise[high], noise[low]):
            continue  # far from significant, as are most pairs of many groups
        spread = resampled_t(value[high] - value[low], drawn[:, high] - drawn[:, low], min(units[high], units[low]))
        if spread * n_pairs < ALPHA:
            both = rows[high] | rows[low]
            chance = max(spread, random_assignment(rate.values[both], rows[high][both])) * n_pairs
            if chance < ALPHA:
                return high, low, chance
    return (*order[0], 1.0)


def _says(gaps: dict[tuple[str, str], GroupGap], p: dict[tuple[str, str], float], *, declared: bool) -> str:
    if not declared:
        return ""
    if not gaps:
        return "No attribute has two groups with enough rows to be compared."
    beyond = [gap for name, gap in gaps.items() if p[name] < ALPHA and gap.gap.low > 0]
    if not beyond:
        return f"None of {len(gaps)} gaps between groups is statistically significant."
    gap = max(beyond, key=_weight)
    high, low = gap.groups[gap.highest], gap.groups[gap.lowest]
    return (
        f"The largest significant gap: {gap.measure} by {gap.attribute} is {high.value:.3g} for {gap.highest} "
        f"(n={gap.n[gap.highest]:,}) and {low.value:.3g} for {gap.lowest} (n={gap.n[gap.lowest]:,}), a difference "
        f"of {gap.gap.value:.3g} ({gap.gap.low:.3g} to {gap.gap.high:.3g}); {len(beyond)} of {len(gaps)} gaps are "
        "statistically significant."
    )


def _weight(gap: GroupGap) -> float:
    """The size of a gap, relative to the metric if that is not a share."""
    shares = gap.measure.endswith("rate") or all(0 <= figure.value <= 1 for figure in gap.groups.values())
    largest = max(abs(figure.value) for figure in gap.groups.values())
    return gap.gap.value if shares or not largest else gap.gap.value / largest
