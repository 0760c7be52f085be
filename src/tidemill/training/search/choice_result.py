"""The result of a choice: the resolved learner, the trials, and notes worth reporting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tidemill.core.records.runs import Trial
from tidemill.models import LearnerSpec


@dataclass(frozen=True)
class ChoiceResult:
    """The settled learner, and every setting that was tried with its figure, best first."""

    spec: LearnerSpec
    tried: tuple[dict[str, Any], ...]
    #: The number of the trial that was taken, `None` where nothing was tried.
    best: int | None = None
    #: What was left out, and why.
    notes: tuple[str, ...] = ()


def rows(trials: Iterable[Trial], n_users: int) -> tuple[dict[str, Any], ...]:
    """Settings with their figure (`score`) and how many users it is the mean of, best first."""
    found = [
        trial.parameters | {"score": trial.value, "n_users": n_users} for trial in trials if trial.value is not None
    ]
    return tuple(sorted(found, key=lambda row: -row["score"]))


def is_verdict(trial: Trial) -> bool:
    """Whether it tells what became of a learner among others; it repeats the figure and the costs of other trials."""
    return trial.state == "finished" and bool(trial.says)
