"""Task of a process pool: its outcome, and how it is run."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tidemill.core.errors import TidemillError
from tidemill.core.library_errors import require_error
from tidemill.core.processes.failure_message import failure_message


@dataclass(frozen=True)
class TaskOutcome:
    """The outcome of a task: its value, or why there is none."""

    state: Literal["finished", "failed", "late"]
    value: Any = None
    says: str = ""
    #: The exception, if it is a `TidemillError`, so that the caller may raise it again.
    error: TidemillError | None = None
    #: CPU time of the task; peak memory of its process up to its end, 0 if unknown.
    cpu_s: float = 0.0
    peak_bytes: int = 0
    wall_s: float = 0.0
    reported: tuple[Any, ...] = ()

    def of(self, reported: Sequence[Any], *, wall_s: float) -> TaskOutcome:
        """The outcome with what the task has reported, and its wall time."""
        return replace(self, reported=tuple(reported), wall_s=wall_s)


def run_task(
    work: Callable[[Any, Callable[[Any], None]], Any], task: Any, report: Callable[[Any], None]
) -> TaskOutcome:
    """Run a task in this process; an exception becomes its message."""
    cpu, wall = time.process_time(), time.monotonic()
    value = error = None
    says = ""
    try:
        value = work(task, report)
    except BaseException as problem:
        require_error(problem)
        says = failure_message(problem)
        error = problem if isinstance(problem, TidemillError) else None
    return TaskOutcome(
        state="failed" if says else "finished",
        value=value,
        says=says,
        error=error,
        cpu_s=time.process_time() - cpu,
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        wall_s=time.monotonic() - wall,
    )
