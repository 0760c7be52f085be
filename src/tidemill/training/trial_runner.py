"""Doing trials: here, or in processes beside, at most so many at once and none beyond the deadline."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from tidemill.core.errors import SettingRefused, TidemillError
from tidemill.core.records import Trial
from tidemill.training.trial_process import Asked, Ended, Objective, Worker, attempt, first_heard

Keep = Callable[[Trial], None]


def forget(trial: Trial) -> None:
    """Keeps nothing."""


class TrialRunner:
    """Does trials and hands each to `keep` as soon as it has ended; leaving it ends every process that it began.

    With a deadline trials run in processes beside this one, because what never looks at the clock can only be ended
    from outside. One process without a deadline is this one.
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
            raise SettingRefused(f"a search in {processes} processes does nothing", tip="give 1 or more")
        if minutes is not None and not minutes > 0:
            raise SettingRefused(f"a search of {minutes} minutes does nothing", tip="give more than 0, or no deadline")
        self._objective, self._keep = objective, keep
        #: At most so many trials run at once.
        self.processes = processes
        self._deadline = None if minutes is None else time.monotonic() + 60 * minutes - spent_s
        self._workers: list[Worker] = []
        #: Errors of the one tree that trials ended by, by number.
        self.errors: dict[int, TidemillError] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            if kind is None and not worker.asked:
                worker.leave()
            else:
                worker.kill()
        self._workers = []

    @property
    def over(self) -> bool:
        """Whether the deadline has passed."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    @property
    def left_s(self) -> float | None:
        """Seconds until the deadline, `None` without one."""
        return None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)

    def warm(self) -> None:
        """Have a process ready, so that its beginning is taken from no trial's share of the time."""
        if not self.apart or self.over:
            return
        worker = next((worker for worker in self._workers if not worker.asked), None) or self._begin()
        while not worker.begun and first_heard([worker], self.left_s):
            self._heard(worker)

    @property
    def apart(self) -> bool:
        """Whether trials run in processes of their own."""
        return self.processes > 1 or self._deadline is not None

    def run(self, asked: Sequence[Asked], *, until_s: float | None = None, keep: Keep | None = None) -> list[Trial]:
        """The trials in the order in which they ended. What runs at the deadline is late; the rest is not begun.

        `until_s` (seconds from now) is an earlier deadline for these trials alone, `keep` takes them instead.
        """
        before, self._keep = self._keep, keep or self._keep
        try:
            return self._run(asked, until_s)
        finally:
            self._keep = before

    def _run(self, asked: Sequence[Asked], until_s: float | None) -> list[Trial]:
        if not self.apart:
            return [self._here(one) for one in asked]
        ends = [
            end for end in (self._deadline, None if until_s is None else time.monotonic() + until_s) if end is not None
        ]
        return self._beside(deque(asked), min(ends, default=None))

    def _here(self, asked: Asked) -> Trial:
        steps: list[float] = []
        started = time.monotonic()
        ended = attempt(self._objective, asked, steps.append)
        return self._kept(asked, ended, steps, time.monotonic() - started)

    def _beside(self, waiting: deque[Asked], end: float | None) -> list[Trial]:
        done: list[Trial] = []
        while True:
            over = end is not None and time.monotonic() >= end
            busy = [worker for worker in self._workers if worker.asked]
            if over:
                return done + [self._late(worker) for worker in busy]
            while waiting and len(busy) < self.processes:
                worker = next((worker for worker in self._workers if not worker.asked), None) or self._begin()
                worker.ask(waiting.popleft())
                busy.append(worker)
            if not busy:
                return done
            for worker in first_heard(busy, None if end is None else max(end - time.monotonic(), 0.0)):
                asked, started = worker.asked, worker.started
                ended = self._heard(worker)
                if ended is not None and asked is not None:
                    if worker.asked:  # it died
                        self._workers.remove(worker)
                    done.append(self._kept(asked, ended, worker.steps, time.monotonic() - started))

    def _heard(self, worker: Worker) -> Ended | None:
        try:
            return worker.heard()
        except TidemillError:  # it could not even begin
            self._workers.remove(worker)
            raise

    def _begin(self) -> Worker:
        worker = Worker(self._objective)
        self._workers.append(worker)
        return worker

    def _late(self, worker: Worker) -> Trial:
        worker.kill()
        self._workers.remove(worker)
        assert worker.asked is not None
        wall_s = time.monotonic() - worker.started
        return self._kept(worker.asked, Ended("late", says="the deadline came first"), worker.steps, wall_s)

    def _kept(self, asked: Asked, ended: Ended, steps: Sequence[float], wall_s: float) -> Trial:
        if ended.error is not None:
            self.errors[asked.number] = ended.error
        trial = Trial(
            number=asked.number,
            parameters=asked.parameters,
            state=ended.state,
            value=ended.value,
            steps=tuple(steps),
            cpu_s=ended.cpu_s,
            wall_s=wall_s,
            says=ended.says,
        )
        self._keep(trial)
        return trial
