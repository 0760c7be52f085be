"""Fairness: gaps between the groups of a declared attribute, which need not be an input of the model.

For a binary task: the selection rate, true positive rate, false positive rate and error rate of each group, and how
much its probabilities are too high. For classes: the error rate. For numbers: the error, the mean prediction and how
much it is too high (Hardt, Price & Srebro 2016; Barocas, Hardt & Narayanan, "Fairness and Machine Learning").
Which of them should be equal is a choice: with different base rates they cannot all be (Kleinberg et al. 2016).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from tidemill.core.errors import UnknownName, nearest
from tidemill.core.records.assessment import GroupGap, GroupPair
from tidemill.core.records.quality import FEWEST_USERS, Metric
from tidemill.core.records.signature import Task
from tidemill.core.wilson_interval import wilson_interval
from tidemill.training.statistics.permutation_test import ALPHA, holm, random_assignment
from tidemill.training.statistics.ratio_estimate import RatioEstimate, ratio_over
from tidemill.training.tabular.assess.losses import RowAnswers
from tidemill.training.tabular.assess.slice_columns import SliceColumn

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: A group is compared if this many rows, and this share of them, count for the metric.
LARGE_ROWS, LARGE_SHARE = 30, 0.01
#: Maximum number of further groups that differ significantly from the same one, in a sentence; the largest are named.
_ALSO = 2
_SIGNIFICANT = {True: "significant", False: "not significant"}
#: The metrics that the sentence on an attribute names, significant or not.
_NAMED: dict[Task, tuple[str, ...]] = {
    "binary": ("false positive rate", "true positive rate"),
    "classes": ("error",),
    "number": ("error", "calibration"),
    "count": ("error", "calibration"),
}


@dataclass(frozen=True, eq=False)
class _Rate:
    """A mean of `values`, float64 (n), over the rows where `counted`, bool (n)."""

    name: str
    values: F64
    counted: npt.NDArray[np.bool_]
    share: bool = True


@dataclass(frozen=True, eq=False)
class _Comparison:
    """The groups of one attribute by one metric, and the tested pairs with their p."""

    groups: dict[str, RatioEstimate]
    shares: bool
    pairs: dict[tuple[str, str], tuple[RatioEstimate, float]]


@dataclass(frozen=True)
class Gaps:
    """Gaps by attribute and metric, and sentences about them."""

    gaps: tuple[GroupGap, ...]
    says: str


def gaps_of(
    cuts: Sequence[SliceColumn], told: RowAnswers, group: I64 | None = None, references: Mapping[str, str] = {}
) -> Gaps:
    """The gaps of every attribute between its large groups; rows of one `group`, int64 (n), count as one observation.

    An attribute in `references` (attribute -> group) has its groups compared with this one, any other all pairs. Groups
    with fewer than ten rows that count for a metric are not shown. A gap is significant if its p is below 5% after
    Holm's correction over all pairs, metrics and attributes. Raises `UnknownName` for an unknown reference group.
    """
    compared = {
        (cut.column, rate.name): found
        for cut in cuts
        for rate in _rates(told)
        if (found := _compared(cut, rate, group, _reference(cut, references))).pairs
    }
    stepped = holm({(name, pair): p for name, one in compared.items() for pair, (_, p) in one.pairs.items()})
    gaps = tuple(_gap(*name, one, {pair: stepped[name, pair] for pair in one.pairs}) for name, one in compared.items())
    return Gaps(gaps, _says(gaps, told.task, len(told.target)) if cuts else "")


def _rates(predictions: RowAnswers) -> list[_Rate]:
    every = np.ones(len(predictions.target), np.bool_)
    if predictions.task == "binary":
        positive = predictions.target == 1
        return [
            _Rate("selection rate", predictions.label, every),
            _Rate("true positive rate", predictions.label, positive),
            _Rate("false positive rate", predictions.label, ~positive),
            _Rate("error", (predictions.label != predictions.target).astype(np.float64), every),
            _Rate("calibration", predictions.answer - predictions.target, every, share=False),
        ]
    if predictions.task == "classes":
        return [_Rate("error", (predictions.label != predictions.target).astype(np.float64), every)]
    return [
        _Rate("error", np.abs(predictions.answer - predictions.target), every, share=False),
        _Rate("mean prediction", predictions.answer, every, share=False),
        _Rate("calibration", predictions.answer - predictions.target, every, share=False),
    ]


def _reference(cut: SliceColumn, references: Mapping[str, str]) -> str:
    wanted = references.get(cut.column, "")
    if wanted and wanted not in cut.values:
        raise UnknownName(f"{cut.column!r} has no group {wanted!r}", tip=nearest(wanted, list(cut.values)))
    return wanted


def _compared(cut: SliceColumn, rate: _Rate, group: I64 | None, reference: str) -> _Comparison:
    rows = {
        name: np.flatnonzero((cut.code == place) & rate.counted)
        for place, name in enumerate(cut.values)
        if int((cut.code == place).sum()) >= FEWEST_USERS
    }
    rows = {name: of for name, of in rows.items() if len(of) >= FEWEST_USERS}
    groups = {name: ratio_over(of, rate.values, unit=group) for name, of in rows.items()}
    least = max(LARGE_ROWS, LARGE_SHARE * int(rate.counted.sum()))
    large = [name for name, of in rows.items() if len(of) >= least]
    names = (
        [(name, reference) for name in large if name != reference]
        if reference in groups
        else ([] if reference else list(combinations(large, 2)))
    )
    pairs = {}
    for one, other in names:
        high, low = (one, other) if groups[one].value >= groups[other].value else (other, one)
        gap = groups[high].minus(groups[low])
        both = np.concatenate((rows[high], rows[low]))
        dealt = random_assignment(rate.values[both], np.arange(len(both)) < len(rows[high]))
        pairs[high, low] = gap, max(gap.p(), dealt)
    return _Comparison(groups, rate.share, pairs)


def _gap(attribute: str, measure: str, found: _Comparison, p: Mapping[tuple[str, str], float]) -> GroupGap:
    pairs = []
    for (high, low), (estimate, _) in found.pairs.items():
        gap = estimate.interval()
        pairs.append(
            GroupPair(
                high=high, low=low, gap=gap, p_holm=p[high, low], significant=p[high, low] < ALPHA and gap.low > 0
            )
        )
    pairs.sort(key=lambda one: (not one.significant, -one.gap.value))
    first = pairs[0]
    return GroupGap(
        attribute=attribute,
        measure=measure,
        groups={name: _metric(one, found.shares) for name, one in found.groups.items()},
        n={name: len(one.rows) for name, one in found.groups.items()},
        gap=first.gap,
        highest=first.high,
        lowest=first.low,
        significant=first.significant,
        pairs=tuple(pairs),
    )


def _metric(found: RatioEstimate, share: bool) -> Metric:
    if not share or found.unit is not None:
        return found.interval()
    low, high = wilson_interval(found.value * len(found.rows), len(found.rows))
    return Metric(value=found.value, low=low, high=high)


def _says(gaps: Sequence[GroupGap], task: Task, n: int) -> str:
    if not gaps:
        return "No attribute has two groups with enough rows to be compared."
    n_beyond = sum(bool(gap.significant) for gap in gaps)
    counted = f"{n_beyond} of {len(gaps)}" if n_beyond else f"None of {len(gaps)}"
    verb = "are" if n_beyond > 1 else "is"
    said = [f"{counted} gaps between groups {verb} statistically significant, on {n:,} held-out rows."]
    for attribute in dict.fromkeys(gap.attribute for gap in gaps):
        said += [f"By {attribute}: {'; '.join(found)}." for found in [list(_of(attribute, gaps, task))] if found]
    return " ".join(said)


def _of(attribute: str, gaps: Sequence[GroupGap], task: Task) -> Iterator[str]:
    """The named metrics of an attribute, then the largest significant gap of another metric."""
    own = {gap.measure: gap for gap in gaps if gap.attribute == attribute}
    shown = [own[name] for name in _NAMED[task] if name in own]
    others = [gap for gap in own.values() if gap.significant and gap not in shown]
    for gap in [*shown, *sorted(others, key=_weight)[-1:]]:
        first, *more = gap.pairs
        beside = [one for one in more if first.significant and one.significant and one.high == first.high]
        also = sorted(beside, key=lambda one: -gap.n[one.low])[:_ALSO]
        against = ", and ".join(f"{_called(gap, one.low)}, {_difference(one.gap)}" for one in (first, *also))
        yield f"{gap.measure} {_called(gap, first.high)} against {against}, {_SIGNIFICANT[first.significant]}"


def _called(gap: GroupGap, group: str) -> str:
    return f"{gap.groups[group].value:.3g} for {group} (n={gap.n[group]:,})"


def _difference(gap: Metric) -> str:
    return f"a difference of {gap.value:.3g} ({gap.low:.3g} to {gap.high:.3g})"


def _weight(gap: GroupGap) -> float:
    """The size of a gap, relative to the metric if that is not a share."""
    shares = gap.measure.endswith("rate") or all(0 <= figure.value <= 1 for figure in gap.groups.values())
    largest = max(abs(figure.value) for figure in gap.groups.values())
    return gap.gap.value if shares or not largest else gap.gap.value / largest
