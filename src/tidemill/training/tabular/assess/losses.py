"""Losses per row: metrics that are means over rows, so that models can be compared in pairs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tidemill.core.records.signature import Task

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: Probabilities are clipped to this distance from 0 and 1, so that one certain mistake has a finite loss.
SURE = 1e-15
#: The main metric by task; for all of them less is better.
MAIN: dict[Task, str] = {"binary": "log_loss", "classes": "log_loss", "number": "mae", "count": "poisson_deviance"}


@dataclass(frozen=True, eq=False)
class RowAnswers:
    """Predictions for `n` rows and their targets: `answer` is float64 (n), or (n, k) for classes; `target` (n)."""

    task: Task
    answer: F64
    target: F64
    threshold: float = 0.5

    @property
    def label(self) -> F64:
        """The predicted class, float64 (n); for a binary task 1 from `threshold` on."""
        if self.task == "classes":
            likeliest: F64 = self.answer.argmax(axis=1).astype(np.float64)
            return likeliest
        said: F64 = (self.answer >= self.threshold).astype(np.float64)
        return said

    def take(self, rows: I64) -> RowAnswers:
        """The predictions and targets of these rows, indices int64 (k)."""
        return replace(self, answer=self.answer[rows], target=self.target[rows])

    @property
    def n_classes(self) -> int:
        """The number of classes, 0 unless the task is `classes`."""
        return self.answer.shape[1] if self.task == "classes" else 0

    @property
    def sides(self) -> tuple[F64, F64]:
        """Predictions and outcomes; for classes, the predicted class's probability and whether it was right."""
        if self.task == "classes":
            return self.answer.max(axis=1), (self.label == self.target).astype(np.float64)
        return self.answer, self.target


def row_losses(told: RowAnswers) -> dict[str, F64]:
    """Metric -> float64 (n), the main one first; their means are the metrics.

    >>> told = RowAnswers("binary", np.array([0.5, 0.9]), np.array([0.0, 1.0]))
    >>> {name: round(float(rows.mean()), 3) for name, rows in row_losses(told).items()}
    {'log_loss': 0.399, 'brier': 0.13, 'accuracy': 0.5}
    """
    if told.task == "binary":
        right = (told.label == told.target).astype(np.float64)
        return {"log_loss": _surprise(told), "brier": (told.answer - told.target) ** 2, "accuracy": right}
    if told.task == "classes":
        right = (told.label == told.target).astype(np.float64)
        return {"log_loss": _surprise(told), "brier": _squared_distance(told), "accuracy": right}
    if told.task == "count":
        return {"poisson_deviance": _deviance(told.answer, told.target), "mae": np.abs(told.answer - told.target)}
    return {"mae": np.abs(told.answer - told.target), "squared_error": (told.answer - told.target) ** 2}


def main_losses(told: RowAnswers) -> F64:
    """The rows' losses for the main metric, float64 (n)."""
    return row_losses(told)[MAIN[told.task]]


def prior_losses(task: Task, target: F64, n_classes: int = 0) -> F64:
    """The rows' main losses by the prior of the other rows, float64 (n): their class shares, median or mean.

    >>> prior_losses("binary", np.array([1.0, 0.0, 1.0, 0.0])).round(3).tolist()
    [0.981, 0.981, 0.981, 0.981]
    """
    n = len(target)
    if task in ("binary", "classes"):
        k = n_classes or 2
        others = np.maximum(np.bincount(target.astype(np.int64), minlength=k), 1) - 0.5  # itself less, half a row more
        return np.asarray(-np.log(others / (n - 1 + 0.5 * k)))[target.astype(np.int64)]
    if task == "number":
        return np.abs(target - np.median(target))
    return _deviance(np.maximum((target.sum() - target) / max(n - 1, 1), 0.5 / n), target)


def _surprise(predictions: RowAnswers) -> F64:
    """-log of the predicted probability of the outcome."""
    if predictions.task == "binary":
        given = np.where(predictions.target == 1, predictions.answer, 1 - predictions.answer)
    else:
        given = predictions.answer[np.arange(len(predictions.target)), predictions.target.astype(np.int64)]
    surprise: F64 = -np.log(np.clip(given, SURE, 1 - SURE))
    return surprise


def _squared_distance(predictions: RowAnswers) -> F64:
    """The Brier score of several classes (Brier 1950): squared differences summed over the classes, from 0 to 2."""
    outcomes = np.eye(predictions.n_classes)[predictions.target.astype(np.int64)]
    return np.asarray(((predictions.answer - outcomes) ** 2).sum(axis=1), np.float64)


def _deviance(answer: F64, target: F64) -> F64:
    mean = np.maximum(answer, 1e-12)
    logs = np.where(target > 0, target * np.log(np.where(target > 0, target, 1.0) / mean), 0.0)
    deviance: F64 = 2 * (logs - target + mean)
    return deviance
