"""The budget of a search for settings, the trials that were tried before, and where each trial is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tidemill.core.records.runs import Trial
from tidemill.training.search.choice_result import is_verdict
from tidemill.training.search.trial_runner import Keep, forget


@dataclass(frozen=True)
class SearchBudget:
    """The bounds of a choice. The defaults: forty trials of a range, no deadline, in this process."""

    seed: int = 0
    #: Trials of settings that are ranges; listed values are all tried.
    trials: int = 40
    #: A deadline that is enforced from outside; running trials are stopped.
    minutes: float | None = None
    #: How many trials run at once, each in a process of its own.
    processes: int = 1
    #: Trials that were stored before a kill: they are not repeated.
    known: Sequence[Trial] = ()
    #: Called with each trial as soon as it has ended.
    keep: Keep = forget

    @property
    def spent_s(self) -> float:
        """Seconds of the deadline that the known trials took."""
        return sum(trial.wall_s for trial in self.known if not is_verdict(trial)) / max(self.processes, 1)


#: The budget by default.
DEFAULT_BUDGET = SearchBudget()
