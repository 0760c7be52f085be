"""Comparison with the champion: its settings, fitted on the same training rows as those of the new model.

The champion itself was trained on all rows of its time, the test rows among them, so its own predictions for these are
too good to compare with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tidemill.core.errors import TidemillError
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.learn_plan import LearnPlan
from tidemill.models.tabular.row_model import RowModel
from tidemill.training.tabular.assess.assess import Rival
from tidemill.training.tabular.assess.model_answers import answers_of, refit_answers
from tidemill.training.tabular.assess.refits import refits_of
from tidemill.training.tabular.automl.auto_plan import plan_from
from tidemill.training.tabular.estimator_plan import LightgbmPlan, estimator_from
from tidemill.training.tabular.rows.dataset_fingerprint import row_names
from tidemill.training.tabular.rows.splits import FEWEST_ROWS

U64 = npt.NDArray[np.uint64]


def _unknown() -> U64 | None:
    return None


@dataclass(frozen=True, eq=False)
class LiveChampion:
    """The live model: its name, and the learner and settings on its card; empty if it was trained elsewhere."""

    name: str
    model: RowModel
    learner: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: Whether it was trained on the same rows as the new model.
    same_rows: bool = False
    #: The names of the rows that it was trained on, uint64; `None` if they are not known.
    trained_on: Callable[[], U64 | None] = _unknown


def rival_of(champion: LiveChampion, plan: LearnPlan, train: Examples, test: Examples, *, seed: int) -> Rival:
    """What the model of `plan` is compared with: no comparison if the champion has the same settings and inputs."""
    name, model = champion.name, champion.model
    missing = [one.name for one in model.inputs if one.name not in test.inputs.column_names]
    if missing:
        why = f"the champion {name} reads {', '.join(missing)}, which these rows do not have: it was not compared"
        return Rival(name, warnings=(why,))
    if (model.task, model.classes) != (test.task, test.classes):
        return Rival(name, warnings=(f"the champion {name} has another task or other classes: it was not compared",))
    settled = recorded_plan(champion.learner, champion.settings)
    settings = settled.settings() if settled is not None else champion.settings
    if {one.name for one in model.inputs} == set(test.inputs.column_names) and _alike(plan.settings(), settings):
        return Rival(name, says=_same(champion))
    if settled is not None:
        try:
            return _refitted(champion, settled, train, test, seed)
        except TidemillError as problem:
            return _as_it_is(champion, test, f"its settings cannot be fitted on these rows: {problem.message}")
    return _as_it_is(champion, test, "its settings cannot be fitted again")


def recorded_plan(learner: str, settings: Mapping[str, Any]) -> LearnPlan | None:
    """The plan with the learner and settings of a card; `None` if they do not say all of it."""
    try:
        if "plan" in settings:
            return plan_from(settings)
        found: LearnPlan
        if "class" in settings:
            found = estimator_from(settings["parameters"])
        elif learner == "lightgbm":
            found = LightgbmPlan(dict(settings["parameters"]))
        else:
            return None
    except (TidemillError, TypeError, ValueError, KeyError, ImportError, AttributeError):  # not all parameters are data
        return None
    return found if _alike(found.settings(), settings) else None


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two settings are equal, apart from the versions of libraries."""
    plain = [
        msgspec.json.encode({name: value for name, value in each.items() if name != "versions"}, order="sorted")
        for each in (one, other)
    ]
    return plain[0] == plain[1]


def _same(champion: LiveChampion) -> str:
    if champion.same_rows:
        return (
            f"The champion {champion.name} was trained with the same settings on the same rows: it is the same model, "
            "so there is nothing to compare."
        )
    return (
        f"The champion {champion.name} has the same settings, and differs only by the rows that it was trained on, so "
        "there is nothing to compare on these."
    )


def _refitted(champion: LiveChampion, plan: LearnPlan, train: Examples, test: Examples, seed: int) -> Rival:
    names = [one.name for one in champion.model.inputs]
    mine, asked = (_with_inputs(rows, names) for rows in (train, test))
    began = time.process_time()
    told = refit_answers(plan, mine, asked, seed=seed)
    cpu_s = time.process_time() - began
    return Rival(
        champion.name,
        says=f"The champion {champion.name} is compared by its settings, fitted on the same training rows.",
        told=told,
        refits=refits_of(plan, mine, asked, told, seed=seed, cpu_s=cpu_s),
    )


def _with_inputs(rows: Examples, names: list[str]) -> Examples:
    """The rows with these inputs alone."""
    known = {one.name: one for one in rows.fields}
    return replace(rows, fields=tuple(known[name] for name in names), inputs=rows.inputs.select(names))


def _as_it_is(champion: LiveChampion, test: Examples, why: str) -> Rival:
    """The champion's own predictions, on the test rows that it was not trained on."""
    name, told = champion.name, answers_of(champion.model, test)
    learned = champion.trained_on()
    if learned is None:
        return Rival(
            name,
            says=f"The champion {name} is compared by its own predictions: {why}.",
            told=told,
            warnings=(
                f"the training rows of the champion {name} are not known and it may have seen some of the test rows: "
                "its metrics may be too good, so a tie may be an improvement",
            ),
        )
    unseen = np.flatnonzero(~np.isin(row_names(test), learned))
    if len(unseen) < FEWEST_ROWS:
        return Rival(
            name,
            says=f"The champion {name} was not compared: {why}, and it was trained on {len(test) - len(unseen):,} of "
            f"the {len(test):,} test rows.",
        )
    return Rival(
        name,
        says=f"The champion {name} is compared by its own predictions on the {len(unseen):,} test rows that it was not "
        f"trained on: {why}.",
        told=told.take(unseen),
        rows=unseen,
    )
