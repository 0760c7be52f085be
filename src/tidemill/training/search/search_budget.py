"""The budget of a search over settings, the trials known from before, and where each trial is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tidemill.core.records.runs import Trial
from tidemill.training.search.choice_result import is_verdict
from tidemill.training.search.trial_runner import Keep, forget


@dataclass(frozen=True)
class SearchBudget:
    """The limits of a choice. Defaults: forty trials of a range, no deadline, in this process."""

    seed: int = 0
    #: Trials for settings given as ranges; listed values are all tried.
    trials: int = 40
    #: A deadline enforced from outside; running trials are stopped.
    minutes: float | None = None
    #: Number of parallel trials, each in its own process.
    processes: int = 1
    #: Trials stored before a kill: they are not repeated.
    known: Sequence[Trial] = ()
    #: Called with each trial as soon as it has ended.
    keep: Keep = forget

    @property
    def spent_s(self) -> float:
        """Seconds of the time limit that the known trials took."""
        return sum(trial.wall_s for trial in self.known if not is_verdict(trial)) / max(self.processes, 1)


#: The default budget.
DEFAULT_BUDGET = SearchBudget()
