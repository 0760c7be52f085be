"""Refits: a plan fitted with other seeds on the same rows, which shows how much of a difference is training noise."""

from __future__ import annotations

import numpy as np

from tidemill.core.errors import TidemillError
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.learn_plan import LearnPlan
from tidemill.training.tabular.assess.losses import RowAnswers
from tidemill.training.tabular.assess.model_answers import refit_answers
from tidemill.training.tabular.assess.out_of_fold import AFFORDABLE_S

#: Number of refits, and the distance of their seeds.
REFITS, _STEP = 2, 7_919
#: Relative difference of equal predictions: a published form and its estimator are not equal bit for bit.
_EQUAL = 1e-5


def refits_of(
    plan: LearnPlan, train: Examples, test: Examples, first: RowAnswers, *, seed: int, cpu_s: float
) -> tuple[RowAnswers, ...]:
    """The predictions of the refits for `test`; none if a seed changes nothing, or if they take over a minute.

    `first` are those of the fit with `seed`, which took `cpu_s` seconds. A seed that is set in an estimator is not
    kept, because the plan would do as well with another.
    """
    if cpu_s * REFITS > AFFORDABLE_S:
        return ()
    free = getattr(plan, "unseeded", lambda: plan)()
    found: list[RowAnswers] = []
    for number in range(1, REFITS + 1):
        try:
            found.append(refit_answers(free, train, test, seed=seed + number * _STEP))
        except TidemillError:  # such as a library that fails with another seed: the first fit stands
            return tuple(found)
        if np.allclose(found[-1].answer, first.answer, rtol=_EQUAL, atol=0.0):
            return ()
    return tuple(found)
