"""The result of a choice: the resolved learner, the trials, and notes worth reporting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tidemill.core.records.runs import Trial
from tidemill.models import LearnerSpec


@dataclass(frozen=True)
class ChoiceResult:
    """The resolved learner, and all tried settings with their values, best first."""

    spec: LearnerSpec
    tried: tuple[dict[str, Any], ...]
    #: The number of the selected trial; `None` if nothing was tried.
    best: int | None = None
    #: Notes on what was left out, and why.
    notes: tuple[str, ...] = ()


def rows(trials: Iterable[Trial], n_users: int) -> tuple[dict[str, Any], ...]:
    """Settings with their value (`score`) and the number of users that it is averaged over, best first."""
    found = [
        trial.parameters | {"score": trial.value, "n_users": n_users} for trial in trials if trial.value is not None
    ]
    return tuple(sorted(found, key=lambda row: -row["score"]))


def is_verdict(trial: Trial) -> bool:
    """Whether a trial is the verdict on one of several learners; it repeats the value and cost of other trials."""
    return trial.state == "finished" and bool(trial.says)
