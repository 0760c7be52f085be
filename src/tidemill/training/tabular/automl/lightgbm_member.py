"""LightGBM as a member: one thread, deterministic, early stopping on held-out rows.

G. Ke et al. 2017, "LightGBM: A Highly Efficient Gradient Boosting Decision Tree".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.core.records.signature import Task
from tidemill.models.formats.lightgbm_library import lightgbm_library
from tidemill.models.formats.lightgbm_text_check import checked_text
from tidemill.models.tabular.recipe import Encoder, Member, Ordinal, TreesMember
from tidemill.training.tabular.automl.member_settings import Leafwise, Parts
from tidemill.training.tabular.rows.row_losses import Measure

F64 = NDArray[np.float64]
#: Rounds without improvement before early stopping, and maximum number of rounds.
PATIENCE, MOST_ROUNDS = 40, 3_000
_LOSSES: dict[Task, tuple[str, str]] = {
    "binary": ("binary", "binary_logloss"),
    "classes": ("multiclass", "multi_logloss"),
    "number": ("regression", "l2"),
    "count": ("poisson", "poisson"),
}


@dataclass(frozen=True)
class FittedLightgbm:
    """A booster of `rounds` rounds."""

    booster: Any
    rounds: int
    n_classes: int
    root: bool

    def margins(self, design: F64) -> F64:
        """float64 (n, k)."""
        raw = self.booster.predict(design, raw_score=True, num_iteration=self.rounds, num_threads=1)
        found: F64 = np.asarray(raw, np.float64).reshape(len(design), self.n_classes)
        return found

    def written(self, name: str, columns: tuple[int, ...]) -> tuple[Member, Parts]:
        """LightGBM's text, without the ranges of the training columns."""
        file = f"{name}.txt"
        text = checked_text(self.booster.model_to_string(num_iteration=self.rounds).encode())
        then: Any = "square" if self.root else ""
        return TreesMember(name=name, then=then, file=file, columns=columns), {file: text.encode()}


def fit_lightgbm(
    design: F64,
    target: F64,
    encoders: Sequence[Encoder],
    settings: Leafwise,
    *,
    task: Task,
    measure: Measure,
    n_classes: int,
    seed: int,
    held: tuple[F64, F64] | None = None,
    rounds: int | None = None,
) -> FittedLightgbm:
    """Trees of `rounds` rounds, or of the best number of rounds on the `held` rows (design, target)."""
    lightgbm = lightgbm_library("LightGBM is not installed")
    coded = [place for place, encoder in enumerate(encoders) if isinstance(encoder, Ordinal)]
    parameters = _parameters(settings, task, measure, n_classes, seed)
    rows = lightgbm.Dataset(design, target, categorical_feature=coded, params=parameters, free_raw_data=False)
    if held is None:
        booster = lightgbm.train(parameters, rows, num_boost_round=rounds or 1)
        return FittedLightgbm(booster, rounds or 1, _width(task, n_classes), settings.root)
    against = lightgbm.Dataset(held[0], held[1], reference=rows, categorical_feature=coded, free_raw_data=False)
    stop = lightgbm.early_stopping(PATIENCE, verbose=False)
    booster = lightgbm.train(parameters, rows, MOST_ROUNDS, valid_sets=[against], callbacks=[stop])
    best = int(booster.best_iteration or booster.current_iteration())
    return FittedLightgbm(booster, best, _width(task, n_classes), settings.root)


def _width(task: Task, n_classes: int) -> int:
    return n_classes if task == "classes" else 1


def _parameters(settings: Leafwise, task: Task, measure: Measure, n_classes: int, seed: int) -> dict[str, Any]:
    objective, metric = _LOSSES[task]
    if task == "number" and settings.absolute:
        objective = "regression_l1"
    if task == "number" and measure == "mae":
        metric = "l1"
    return {
        "objective": objective,
        "metric": metric,
        "learning_rate": settings.rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": settings.min_rows,
        "feature_fraction": settings.column_share,
        "bagging_fraction": settings.row_share,
        "bagging_freq": 1 if settings.row_share < 1 else 0,
        "lambda_l2": settings.l2,
        "max_bin": settings.bins,
        "seed": seed,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    } | ({"num_class": n_classes} if task == "classes" else {})
