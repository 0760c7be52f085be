"""Process pool: tasks in worker processes, so that one can be stopped at a deadline and a crash affects nothing else.

Workers are forked from a template process, have one thread each and end with the parent.
"""

from __future__ import annotations

import multiprocessing.connection
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tidemill.core.errors import ProcessFailed
from tidemill.core.processes.failure_message import death_message, failure_message
from tidemill.core.processes.pool_task import TaskOutcome
from tidemill.core.processes.template_process import TemplateProcess, WorkerProcess

#: Does one task and returns its value; it may report values on the way.
Work = Callable[[Any, Callable[[Any], None]], Any]


@dataclass
class _BusyWorker:
    """A worker and its task."""

    process: WorkerProcess
    number: int
    started: float
    reported: list[Any]


class ProcessPool:
    """Up to `processes` workers that call `work(task, report)`; a context manager that leaves no process.

    `work`, the tasks, the values and what is reported must be picklable. The template imports the modules `preload`,
    if installed, so that no worker has to. The output of the processes goes to the file `log`, else where the
    parent's goes. Raises `ProcessFailed` if `work` cannot be sent to another process or loaded there.
    """

    def __init__(self, work: Work, *, processes: int = 1, preload: Sequence[str] = (), log: Path | None = None) -> None:
        try:
            self._packed = pickle.dumps(work)
        except Exception as problem:
            raise ProcessFailed(
                f"the function cannot be sent to another process: {failure_message(problem)}",
                tip="define it at module level, or use one process without a deadline",
            ) from problem
        self._processes, self._preload, self._log = processes, tuple(preload), log
        self._templates: list[TemplateProcess] = []
        self._busy: list[_BusyWorker] = []
        self._idle: list[WorkerProcess] = []

    def warm(self, *, until: float | None = None) -> None:
        """Load the function in advance, at most until the time `until` of the monotonic clock."""
        if not self._idle:
            self._template(until)

    def run(self, tasks: Sequence[Any], *, until: float | None = None) -> Iterator[tuple[int, TaskOutcome]]:
        """Each task's index and outcome, as soon as it has ended.

        At `until` (of the monotonic clock) running tasks are killed and `late`; the tasks after them do not start.
        """
        waiting = deque(enumerate(tasks))
        while waiting or self._busy:
            while waiting and len(self._busy) < self._processes and (worker := self._worker(until)):
                self._begin(worker, *waiting.popleft())
            if until is not None and time.monotonic() >= until:
                break
            for busy in self._heard(until):
                outcome = self._message(busy)
                if outcome is not None:
                    yield busy.number, outcome
        for busy in list(self._busy):
            yield busy.number, self._ended(busy, "late", "stopped at the deadline")

    def _begin(self, process: WorkerProcess, number: int, task: Any) -> None:
        self._busy.append(_BusyWorker(process, number, time.monotonic(), []))
        process.send(task)

    def _heard(self, until: float | None) -> list[_BusyWorker]:
        """The workers that have sent a message or died."""
        pipes = {busy.process.pipe: busy for busy in self._busy}
        left_s = None if until is None else max(until - time.monotonic(), 0.0)
        return [pipes[pipe] for pipe in multiprocessing.connection.wait(list(pipes), left_s)]  # type: ignore[index]

    def _message(self, busy: _BusyWorker) -> TaskOutcome | None:
        """The outcome of the worker's task; `None` while it runs."""
        try:
            what, content = busy.process.pipe.recv()
        except (EOFError, OSError):
            return self._ended(busy, "failed")
        if what == "report":
            busy.reported.append(content)
            return None
        outcome: TaskOutcome = content
        self._busy.remove(busy)
        self._idle.append(busy.process)
        busy.process.cpu_s += outcome.cpu_s
        return outcome.of(busy.reported, wall_s=time.monotonic() - busy.started)

    def _ended(self, busy: _BusyWorker, state: str, says: str = "") -> TaskOutcome:
        """The outcome of a task whose worker died, or is killed now."""
        self._busy.remove(busy)
        usage = busy.process.end(kill=state == "late")
        return TaskOutcome(
            state="late" if state == "late" else "failed",
            says=says or death_message(usage.status, usage.peak_bytes),
            cpu_s=max(usage.cpu_s - busy.process.cpu_s, 0.0),
            peak_bytes=usage.peak_bytes,
        ).of(busy.reported, wall_s=time.monotonic() - busy.started)

    def _worker(self, until: float | None) -> WorkerProcess | None:
        """An idle worker or a new one; `None` if the deadline came first."""
        if self._idle:
            return self._idle.pop()
        template = self._template(until)
        return template.worker() if template else None

    def _template(self, until: float | None) -> TemplateProcess | None:
        """A template that can start a worker; `None` if the deadline came before it was loaded."""
        if not self._templates or self._templates[-1].spent:
            self._templates.append(TemplateProcess(self._packed, self._preload, self._log))
        template = self._templates[-1]
        try:
            return template if template.loaded(until) else None
        except ProcessFailed:
            self._templates.remove(template)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        for busy in self._busy:
            busy.process.end(kill=True)
        for process in self._idle:
            process.pipe.close()  # it exits by itself, so that it can clean up
        for template in self._templates:
            template.close()
        self._busy, self._idle, self._templates = [], [], []
