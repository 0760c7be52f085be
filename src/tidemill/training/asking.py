"""Asking what settings are worth: known trials are taken, the others are done, and all of it is remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tidemill.core.errors import SearchFailed
from tidemill.core.records import Trial
from tidemill.training.chosen import is_verdict
from tidemill.training.search_space import key
from tidemill.training.trial_process import Asked
from tidemill.training.trial_runner import TrialRunner


class Asking:
    """Trials by their settings, over a runner. They are numbered from `first` on, and after every known one."""

    def __init__(self, runner: TrialRunner, known: Sequence[Trial], *, first: int = 0) -> None:
        self._runner = runner
        self._known = {
            key(trial.parameters): trial for trial in known if not is_verdict(trial) and trial.state != "late"
        }
        self._next = max([first, *(trial.number + 1 for trial in known)])
        #: Every trial that was asked for and ended, by the text of its settings, in the order of asking.
        self.tried: dict[str, Trial] = {}

    def __call__(self, settings: Sequence[Mapping[str, Any]], *, until_s: float | None = None) -> list[Trial | None]:
        """The trial of each of `settings`, in their order; `None` where a deadline came first."""
        asked = [Asked(self.number(), dict(one)) for one in settings if key(one) not in self._known]
        if asked:
            done = self._runner.run(asked, until_s=until_s)
            self._known |= {key(trial.parameters): trial for trial in done if trial.state != "late"}
        found = [self._known.get(key(one)) for one in settings]
        self.tried |= {key(trial.parameters): trial for trial in found if trial is not None}
        return found

    def number(self) -> int:
        """The next trial's number."""
        self._next += 1
        return self._next - 1

    def first(self, settings: Mapping[str, Any]) -> Trial:
        """The trial that the others are compared with; raises why it came to no figure, as it was raised there."""
        (trial,) = self([settings])
        if trial is None:
            raise SearchFailed("the deadline came before the first figure", tip="give more minutes")
        if trial.state != "finished":
            raise self._runner.errors.get(trial.number) or SearchFailed(f"the first settings failed: {trial.says}")
        return trial
