"""Model predictions for examples, in the form that the metrics read."""

from __future__ import annotations

import numpy as np

from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training.tabular.assess.losses import RowAnswers


def answers_of(model: TabularModel, examples: Examples) -> RowAnswers:
    """The model's predictions for the rows, with inputs in the model's order."""
    inputs = examples.inputs.select([field.name for field in model.recipe.inputs])
    answer = np.asarray(model.answer(inputs), np.float64)
    return RowAnswers(examples.task, answer, examples.target, model.recipe.threshold)
