"""Data of the evaluation's charts: binned scores for ROC and precision-recall curves, confusion matrix, residuals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tidemill.core.records.evaluation_charts import (
    ClassScores,
    Confusion,
    ConfusionRow,
    EvaluationCharts,
    ResidualBin,
    ResidualCount,
    ScoreBin,
)
from tidemill.core.records.quality import FEWEST_USERS
from tidemill.training.tabular.assess.losses import RowAnswers

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: Maximum number of bins of one binary model's scores, and of all classes together.
_SCORE_BINS, _ALL_SCORE_BINS = 80, 240
#: Maximum number of classes with curves of their own, and in the confusion matrix.
_CURVES, _CLASSES = 8, 15
#: Minimum rows and maximum number of bins of residuals: a tenth of a bin has three rows.
_RESIDUAL_ROWS, _RESIDUAL_BINS, _COUNTS = 3 * FEWEST_USERS, 30, 30


def evaluation_charts(told: RowAnswers, classes: Sequence[str]) -> EvaluationCharts:
    """The charts of the predictions `told` for the test rows; none below ten rows."""
    if len(told.target) < FEWEST_USERS:
        return EvaluationCharts()
    if told.task == "binary":
        label = classes[1] if len(classes) == 2 else "positive"
        found = _scores(told.answer, told.target == 1, label, _SCORE_BINS, told.threshold)
        return EvaluationCharts(scores=found, threshold=told.threshold)
    if told.task == "classes":
        return EvaluationCharts(scores=_one_against_rest(told, classes), confusion=_confusion(told, classes))
    return EvaluationCharts(residuals=_residuals(told), residual_counts=_residual_counts(told))


def _one_against_rest(told: RowAnswers, classes: Sequence[str]) -> tuple[ClassScores, ...]:
    frequent = _frequent(told.target, len(classes), _CURVES)
    most = _ALL_SCORE_BINS // max(len(frequent), 1)
    return tuple(
        scores for k in frequent for scores in _scores(told.answer[:, k], told.target == k, classes[k], most, None)
    )


def _scores(
    score: F64, positive: npt.NDArray[np.bool_], label: str, most: int, threshold: float | None
) -> tuple[ClassScores, ...]:
    """At most `most` bins; none if the class or the rest has fewer than ten rows."""
    if min(positive.sum(), (~positive).sum()) < FEWEST_USERS:
        return ()
    order = np.argsort(-score, kind="stable")
    score, positive = score[order], positive[order]
    # After row i a bin may end: equal scores stay together. Of a rare class the top scores matter, so that half of the
    # bins have equally many rows of the class, the other half equally many rows.
    ends = np.flatnonzero(np.diff(score) < 0) + 1
    wanted = np.linspace(0, len(score), most // 2 + 1)[1:-1]
    hits = np.searchsorted(np.cumsum(positive), np.linspace(0, positive.sum(), most // 2)[1:-1]) + 1
    cuts = (
        set(ends[np.minimum(np.searchsorted(ends, [*wanted, *hits]), len(ends) - 1)].tolist()) if len(ends) else set()
    )
    fixed = int((score >= threshold).sum()) if threshold is not None else 0
    bins, start = [], 0
    for cut in (*_spaced(cuts, fixed, len(score)), len(score)):
        edge = (score[cut - 1] + score[cut]) / 2 if cut < len(score) else 0.0
        if threshold is not None and cut == fixed and cut < len(score):
            edge = threshold
        rows = positive[start:cut]
        bins.append(ScoreBin(threshold=float(edge), n=len(rows), positives=int(rows.sum())))
        start = cut
    return (ClassScores(label=label, bins=tuple(bins)),)


def _spaced(cuts: set[int], fixed: int, n: int) -> list[int]:
    """The cuts that are at least ten rows apart from each other and from both ends; `fixed` has precedence."""
    kept = [0, n]
    for cut in ([fixed] if fixed else []) + sorted(cuts):
        if all(abs(cut - other) >= FEWEST_USERS for other in kept):
            kept.append(cut)
    return sorted(kept)[1:-1]


def _frequent(target: F64, n_classes: int, most: int) -> list[int]:
    """The classes with at least ten rows, the most frequent `most` of them, in the order of the classes."""
    counts = np.bincount(target.astype(np.int64), minlength=n_classes)
    largest = np.argsort(-counts, kind="stable")[:most]
    return sorted(int(k) for k in largest if counts[k] >= FEWEST_USERS)


def _confusion(told: RowAnswers, classes: Sequence[str]) -> Confusion:
    frequent = _frequent(told.target, len(classes), _CLASSES)
    if not frequent:
        return Confusion()
    column = np.full(len(classes), len(frequent))
    column[frequent] = np.arange(len(frequent))
    truth, label = column[told.target.astype(np.int64)], column[told.label.astype(np.int64)]
    size = len(frequent) + 1
    counts = np.bincount(truth * size + label, minlength=size * size).reshape(size, size)
    names = [*(classes[k] for k in frequent), "other classes"]
    shown = size if counts[-1].any() or counts[:, -1].any() else size - 1
    return Confusion(
        predicted=tuple(names[:shown]),
        rows=tuple(
            ConfusionRow(label=name, counts=tuple(row[:shown].tolist()))
            for name, row in zip(names, counts, strict=True)
            if row.sum() >= FEWEST_USERS
        ),
    )


def _residuals(told: RowAnswers) -> tuple[ResidualBin, ...]:
    """Bins of about equal size by rising prediction; equal predictions share a bin."""
    residual = told.target - told.answer
    most = int(np.clip(len(residual) // _RESIDUAL_ROWS, 1, _RESIDUAL_BINS))
    edges = np.unique(np.quantile(told.answer, np.arange(1, most) / most, method="lower"))
    place = np.searchsorted(edges, told.answer, side="left")
    found = []
    for bin_ in np.unique(place):
        rows = place == bin_
        if rows.sum() < FEWEST_USERS:
            continue
        q10, q25, median, q75, q90 = np.quantile(residual[rows], (0.1, 0.25, 0.5, 0.75, 0.9)).tolist()
        mean = float(told.answer[rows].mean())
        found.append(ResidualBin(n=int(rows.sum()), predicted=mean, q10=q10, q25=q25, median=median, q75=q75, q90=q90))
    return tuple(found)


def _residual_counts(told: RowAnswers) -> tuple[ResidualCount, ...]:
    """Histogram of the residuals; bins below ten rows are joined with their neighbour towards the middle."""
    residual = told.target - told.answer
    low, high = np.quantile(residual, (0.005, 0.995)).tolist()
    if not high > low:
        return ()
    edges = np.linspace(low, high, _COUNTS + 1)
    counts = np.histogram(np.clip(residual, low, high), edges)[0].tolist()
    left, right = 0, _COUNTS - 1
    while left < right and counts[left] < FEWEST_USERS:
        counts[left + 1] += counts[left]
        left += 1
    while right > left and counts[right] < FEWEST_USERS:
        counts[right - 1] += counts[right]
        right -= 1
    bins: list[ResidualCount] = []
    start, n = left, 0
    for i in range(left, right + 1):
        n += counts[i]
        if n >= FEWEST_USERS:
            bins.append(ResidualCount(low=float(edges[start]), high=float(edges[i + 1]), n=n))
            start, n = i + 1, 0
    if n and bins:
        last = bins.pop()
        bins.append(ResidualCount(low=last.low, high=float(edges[right + 1]), n=last.n + n))
    return tuple(bins)
