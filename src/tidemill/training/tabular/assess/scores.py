"""Metric scores of two models on the same rows: values, intervals, paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tidemill.core.records.quality import Metric, MetricScore
from tidemill.training.statistics.bootstrap import Bootstrap, Weighted, interval
from tidemill.training.statistics.training_noise import with_training_noise
from tidemill.training.tabular.assess.losses import RowAnswers, row_losses
from tidemill.training.tabular.assess.ranking_measures import (
    weighted_auc,
    weighted_average_precision,
    weighted_macro_auc,
    weighted_median,
)

F64 = npt.NDArray[np.float64]

#: Metrics for which more is better.
HIGHER = frozenset({"auc", "accuracy", "average_precision", "macro_auc", "r2"})


@dataclass(frozen=True)
class _MeasuredScore:
    value: float
    draws: F64


def measures(told: RowAnswers) -> dict[str, Weighted]:
    """The task's metrics as functions of row weights, the main one first."""
    means = {name: _mean(rows) for name, rows in row_losses(told).items()}
    if told.task == "binary":
        auc, precision = weighted_auc(told.answer, told.target), weighted_average_precision(told.answer, told.target)
        found = means | {"auc": auc, "average_precision": precision}
        return {name: found[name] for name in ("log_loss", "auc", "brier", "accuracy", "average_precision")}
    if told.task == "classes":
        return means | {"macro_auc": weighted_macro_auc(told.answer, told.target)}
    if told.task == "count":
        return means
    squared = row_losses(told)["squared_error"]
    return {
        "mae": means["mae"],
        "rmse": _root(means["squared_error"]),
        "r2": _explained(squared, told.target),
        "median_absolute_error": weighted_median(np.abs(told.answer - told.target)),
    }


def scores_of(
    model: RowAnswers,
    other: RowAnswers,
    draws: Bootstrap,
    refits: Sequence[RowAnswers] = (),
    other_refits: Sequence[RowAnswers] = (),
) -> tuple[MetricScore, ...]:
    """Every metric of the task for `model` and `other`, with 95% intervals; the main one first.

    With predictions of `refits` of the model, and of the other, the intervals cover training noise too. Metrics that
    are undefined on these rows, such as AUC with a single class, are left out.
    """
    own, others = _all(model, draws), _all(other, draws)
    own_fits, other_fits = _fits(own, refits), _fits(others, other_refits)
    return tuple(
        MetricScore(
            name=name,
            higher_is_better=name in HIGHER,
            model=_interval(name, own[name], own_fits[name]),
            baseline=_interval(name, others[name], other_fits[name]),
            difference=with_training_noise(
                interval(own[name].value - others[name].value, own[name].draws - others[name].draws),
                own_fits[name],
                other_fits[name],
            ),
        )
        for name in own
        if np.isfinite(own[name].value) and np.isfinite(others[name].value)
    )


def _interval(name: str, measured: _MeasuredScore, fits: F64) -> Metric:
    """A metric with its interval, which ends where the metric does: losses at 0, shares and R² at 1."""
    found = with_training_noise(interval(measured.value, measured.draws), fits)
    least, most = -np.inf if name == "r2" else 0.0, 1.0 if name in HIGHER else np.inf
    return Metric(value=found.value, low=max(found.low, least), high=min(found.high, most))


def _all(predictions: RowAnswers, draws: Bootstrap) -> dict[str, _MeasuredScore]:
    ones = np.ones((1, len(predictions.target)))
    figures = measures(predictions)
    values = {name: float(of(ones)[0]) for name, of in figures.items()}
    part = draws.part()
    if part is None:
        drawn = draws.resample(figures)
    else:
        few = measures(predictions.take(part.rows))
        centres = {name: float(of(np.ones((1, len(part.rows))))[0]) for name, of in few.items()}
        drawn = {
            name: values[name] + (found - centres[name]) * part.scale
            for name, found in part.draws.resample(few).items()
        }
    return {name: _MeasuredScore(value, drawn[name]) for name, value in values.items()}


def _fits(first: Mapping[str, _MeasuredScore], refits: Sequence[RowAnswers]) -> dict[str, F64]:
    """Each metric of the first fit and of the refits, float64 (k)."""
    more = [{name: float(of(np.ones((1, len(one.target))))[0]) for name, of in measures(one).items()} for one in refits]
    return {name: np.array([score.value, *(one[name] for one in more)]) for name, score in first.items()}


def _mean(rows: F64) -> Weighted:
    def mean(weights: F64) -> F64:
        found: F64 = (weights @ rows) / np.maximum(weights.sum(axis=1), 1.0)
        return found

    return mean


def _root(of: Weighted) -> Weighted:
    return lambda weights: np.sqrt(of(weights))


def _explained(squared: F64, target: F64) -> Weighted:
    """1 minus the ratio of the squared error to that of the rows' own mean."""
    middle = target - target.mean()  # a shift only changes the rounding

    def r2(weights: F64) -> F64:
        total = np.maximum(weights.sum(axis=1), 1.0)
        spread = weights @ middle**2 / total - (weights @ middle / total) ** 2
        with np.errstate(invalid="ignore", divide="ignore"):
            found: F64 = 1 - (weights @ squared / total) / np.where(spread > 0, spread, np.nan)
        return found

    return r2
