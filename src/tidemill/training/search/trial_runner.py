"""The trial runner: trials run in this process or in parallel worker processes, until the deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from tidemill.core.errors import SearchFailed, SettingRefused, TidemillError
from tidemill.core.processes.pool_task import TaskOutcome, run_task
from tidemill.core.processes.process_pool import ProcessPool
from tidemill.core.records.runs import Trial
from tidemill.training.search.choice_result import is_verdict
from tidemill.training.search.sampled_space import key
from tidemill.training.search.trial_process import Objective, TrialRequest, TrialWork

Keep = Callable[[Trial], None]


def forget(trial: Trial) -> None:
    """Do not store the trial."""


class TrialRunner:
    """Runs trials and passes each to `keep` as soon as it has ended; on exit it ends all its worker processes.

    With a deadline, trials run in worker processes, because a trial can only be stopped from outside. A single process
    without a deadline is the calling one.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        processes: int = 1,
        minutes: float | None = None,
        spent_s: float = 0.0,
        keep: Keep,
    ) -> None:
        if not processes >= 1:
            raise SettingRefused(f"a search needs at least 1 process, not {processes}", tip="use 1 or more")
        if minutes is not None and not minutes > 0:
            raise SettingRefused(
                f"a search needs more than 0 minutes, not {minutes}", tip="use more than 0, or no deadline"
            )
        self._work, self._keep = TrialWork(objective), keep
        #: Maximum number of parallel trials.
        self.processes = processes
        self._deadline = None if minutes is None else time.monotonic() + 60 * minutes - spent_s
        self._pool = ProcessPool(self._work, processes=processes) if self.apart else None
        #: The `TidemillError` of each failed trial, by number.
        self.errors: dict[int, TidemillError] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.__exit__(kind, problem, trace)

    @property
    def over(self) -> bool:
        """Whether the deadline has passed."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    @property
    def left_s(self) -> float | None:
        """Seconds until the deadline, `None` without one."""
        return None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)

    def warm(self) -> None:
        """Load the objective in advance, so that this does not count against a trial's share of the time."""
        if self._pool is not None and not self.over:
            self._pool.warm(until=self._deadline)

    @property
    def apart(self) -> bool:
        """Whether trials run in worker processes."""
        return self.processes > 1 or self._deadline is not None

    def run(
        self, asked: Sequence[TrialRequest], *, until_s: float | None = None, keep: Keep | None = None
    ) -> list[Trial]:
        """The trials in the order in which they ended. Trials running at the deadline are late; the rest do not start.

        `until_s` (seconds from now) is an earlier deadline for these trials alone; `keep` replaces the runner's own.
        """
        before, self._keep = self._keep, keep or self._keep
        try:
            return self._run(asked, until_s)
        finally:
            self._keep = before

    def _run(self, requests: Sequence[TrialRequest], until_s: float | None) -> list[Trial]:
        if self._pool is None:
            return [self._here(one) for one in requests]
        ends = [self._deadline, None if until_s is None else time.monotonic() + until_s]
        until = min((end for end in ends if end is not None), default=None)
        return [self._kept(requests[number], ended) for number, ended in self._pool.run(requests, until=until)]

    def _here(self, request: TrialRequest) -> Trial:
        steps: list[float] = []
        ended = run_task(self._work, request, steps.append)
        return self._kept(request, ended.of(steps, wall_s=ended.wall_s))

    def _kept(self, request: TrialRequest, ended: TaskOutcome) -> Trial:
        if ended.error is not None:
            self.errors[request.number] = ended.error
        pruned = ended.state == "finished" and ended.value is None
        trial = Trial(
            number=request.number,
            parameters=request.parameters,
            state="pruned" if pruned else ended.state,
            value=ended.value,
            steps=ended.reported,
            cpu_s=ended.cpu_s,
            wall_s=ended.wall_s,
            says="worse so far than the median of earlier trials" if pruned else ended.says,
        )
        self._keep(trial)
        return trial


class TrialCache:
    """A cache of trials by their settings. New trials are numbered from `first` on, after all known ones."""

    def __init__(self, runner: TrialRunner, known: Sequence[Trial], *, first: int = 0) -> None:
        self._runner = runner
        self._known = {
            key(trial.parameters): trial for trial in known if not is_verdict(trial) and trial.state != "late"
        }
        self._next = max([first, *(trial.number + 1 for trial in known)])
        #: Every requested trial that has ended, by the key of its settings, in request order.
        self.tried: dict[str, Trial] = {}
        #: The trials that a deadline has stopped, by the key of their settings.
        self.late: dict[str, Trial] = {}

    def __call__(self, settings: Sequence[Mapping[str, Any]], *, until_s: float | None = None) -> list[Trial | None]:
        """The trial for each of `settings`, in order; `None` if a deadline came first."""
        requests = [TrialRequest(self.number(), dict(one)) for one in settings if key(one) not in self._known]
        if requests:
            done = self._runner.run(requests, until_s=until_s)
            for trial in done:
                (self.late if trial.state == "late" else self._known)[key(trial.parameters)] = trial
        trials = [self._known.get(key(one)) for one in settings]
        self.tried |= {key(trial.parameters): trial for trial in trials if trial is not None}
        return trials

    def number(self) -> int:
        """The number of the next trial."""
        self._next += 1
        return self._next - 1

    def first(self, settings: Mapping[str, Any]) -> Trial:
        """The trial that the others are compared with; raises its own error if it failed."""
        (trial,) = self([settings])
        if trial is None:
            raise SearchFailed("the deadline came before the first trial finished", tip="allow more minutes")
        if trial.state != "finished":
            raise self._runner.errors.get(trial.number) or SearchFailed(f"the first settings failed: {trial.says}")
        return trial
