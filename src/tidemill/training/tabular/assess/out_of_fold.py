"""Out-of-fold predictions: training rows, each predicted by a model that was fitted on other rows."""

from __future__ import annotations

import numpy as np

from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.learn_plan import LearnPlan
from tidemill.training.tabular.assess.model_answers import refit_answers
from tidemill.training.tabular.rows.folds import OutOfFold, folds_of

#: CPU seconds that the fits on folds may take, if a learner has no predictions for held-out rows from its choice.
AFFORDABLE_S = 60.0


def cross_fit(plan: LearnPlan, train: Examples, *, seed: int, cpu_s: float) -> OutOfFold | None:
    """The plan fitted on each fold; `None` if that takes too long, where one fit takes `cpu_s` seconds."""
    folds = folds_of(train, seed=seed)
    if cpu_s * sum(len(fit) for fit, _ in folds) / len(train) > AFFORDABLE_S:
        return None
    found = [refit_answers(plan, train.take(fit), train.take(held), seed=seed).answer for fit, held in folds]
    return OutOfFold(np.concatenate([held for _, held in folds]), np.concatenate(found))
