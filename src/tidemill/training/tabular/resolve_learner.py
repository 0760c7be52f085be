"""Resolution of the `learn=` setting of a tabular model to a plan: selected by trials, or as given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tidemill.core.errors import SettingRefused
from tidemill.core.records.assessment import EnsembleMember
from tidemill.models.learners.auto import Auto
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.learn_plan import LearnPlan
from tidemill.training.search.search_budget import SearchBudget
from tidemill.training.tabular.automl.automl import choose_tabular
from tidemill.training.tabular.automl.baselines import naive_plan
from tidemill.training.tabular.estimator_plan import estimator_plan
from tidemill.training.tabular.foreign.pretrained_plan import PretrainedPlan
from tidemill.training.tabular.rows.folds import OutOfFold

Progress = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class ResolvedLearner:
    """A plan to fit, the baseline to compare it with, and the tried candidates."""

    plan: LearnPlan
    baseline: LearnPlan
    members: tuple[EnsembleMember, ...] = ()
    notes: tuple[str, ...] = field(default=())
    #: Predictions of the plan for training rows that it was not fitted on, if its choice made them.
    out_of_fold: OutOfFold | None = None


def resolve_learner(
    learn: Any, train: Examples, effort: SearchBudget, place: Path, progress: Progress
) -> ResolvedLearner:
    """The plan for `learn` on these rows: for `tm.auto()` the selected one, else the given one."""
    if isinstance(learn, Auto):
        if learn.only:
            raise SettingRefused(
                f"auto(only={list(learn.only)}) names learners of a recommender, but this model is tabular",
                tip="leave `only` out, or pass an estimator instead of tm.auto()",
            )
        minutes = learn.time_limit() if effort.minutes is None else min(learn.time_limit(), effort.minutes)
        choice = choose_tabular(
            train, minutes=minutes, seed=effort.seed, place=place, progress=progress, processes=effort.processes,
            prefer=learn.prefer, seeds=learn.seeds,
        )  # fmt: skip
        return ResolvedLearner(
            choice.plan, choice.baseline, tuple(choice.members), tuple(choice.notes), choice.out_of_fold
        )
    return ResolvedLearner(plan_of(learn), naive_plan(train.task))


def plan_of(learn: Any) -> LearnPlan:
    """A plan unchanged, or an estimator as a plan; raises `NotPublishable` if no bundle can store the estimator."""
    if _is_plan(learn):
        return cast("LearnPlan", learn)
    return estimator_plan(learn)


def learn_settings(learn: Any) -> dict[str, Any]:
    """The settings of a learner by name, as plain values, with its name under `learner`.

    >>> from tidemill.models.learners.auto import auto
    >>> learn_settings(auto(minutes=1.0))["learner"]
    'auto'
    """
    if isinstance(learn, Auto):
        given = {"prefer": learn.prefer, "seeds": learn.seeds}
        usual = {"prefer": "simple", "seeds": 1}  # left out, so that trainings from before these settings are known
        changed = {name: value for name, value in given.items() if value != usual[name]}
        return {"learner": learn.name, "minutes": learn.time_limit(), **changed}
    plan = plan_of(learn)
    return {"learner": plan.name, **plan.settings()}


def origin_of(learn: Any) -> dict[str, str]:
    """The origin of a pre-trained model: source, licence, revision and sha256; else empty."""
    plan = None if isinstance(learn, Auto) else plan_of(learn)
    return plan.origin if isinstance(plan, PretrainedPlan) else {}


def _is_plan(learn: Any) -> bool:
    """Whether it fits examples, not arrays: a plan has a name and settings."""
    return isinstance(getattr(learn, "name", None), str) and callable(getattr(learn, "settings", None))
