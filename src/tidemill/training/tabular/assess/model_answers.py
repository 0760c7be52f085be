"""Model predictions for examples in the form that the metrics read, and the losses of each row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.learn_plan import LearnPlan
from tidemill.models.tabular.row_model import RowModel
from tidemill.training.runs.per_unit_metrics import PerUnitMetrics
from tidemill.training.tabular.assess.losses import RowAnswers, row_losses
from tidemill.training.tabular.rows.dataset_fingerprint import row_names


def answers_of(model: RowModel, examples: Examples) -> RowAnswers:
    """The model's predictions for the rows, with inputs in the model's order."""
    inputs = examples.inputs.select([field.name for field in model.inputs])
    answer = np.asarray(model.answer(inputs), np.float64)
    if answer.ndim > 1 and examples.task != "classes":
        answer = answer[:, 0]
    return RowAnswers(examples.task, answer, examples.target, model.threshold)


def refit_answers(plan: LearnPlan, train: Examples, test: Examples, *, seed: int) -> RowAnswers:
    """The predictions for `test` of the plan fitted on `train`. An estimator predicts by itself: converting it to its
    published form and comparing both would take several times as long as many a fit.
    """
    return answers_of(getattr(plan, "fit_to_measure", plan.fit)(train, seed=seed), test)


def tabular_figures(model: RowModel, test: Examples, refits: Sequence[RowAnswers] = ()) -> PerUnitMetrics:
    """The losses of each test row, ordered by row key; the keys cannot be recovered from them.

    Two runs tested on the same rows and targets have the same hash in `users` and can be paired; rows of one group
    count as separate rows. With predictions of `refits`, the mean of each loss over the fits is kept too.
    """
    names = row_names(test)
    order = np.argsort(names, kind="stable")
    mark = hashlib.sha256(b"tabular rows\n" + names[order].astype("<u8").tobytes())
    mark.update(test.target[order].astype("<f8").tobytes())
    losses = row_losses(answers_of(model, test))
    fits = {
        name: (float(rows.mean()), *(float(row_losses(one)[name].mean()) for one in refits))
        for name, rows in losses.items()
    }
    values = {name: rows[order] for name, rows in losses.items()}
    return PerUnitMetrics(mark.hexdigest(), values, fits=fits if refits else {})
