"""One trial, and a worker process that runs trials in turn: reported values and results.

A worker is a separate process, so that a trial can be stopped from outside and a crash affects nothing else.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from tidemill.core.errors import FigureRefused, SearchFailed, TidemillError
from tidemill.core.ledger.ledger import redact_surrogates

#: Returns the value of settings; `report` takes the value so far, after each step, and may raise `TrialPruned`.
Objective = Callable[[dict[str, Any], Callable[[float], None]], float]

#: One thread per worker: there are as many workers as cores to use.
_ALONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
#: Python warns about semaphores of a killed process, but frees them; the warning is silenced.
_QUIET = {"PYTHONWARNINGS": "ignore:resource_tracker:UserWarning"}
#: Seconds that an idle worker has to exit.
_PATIENCE_S = 1.0


class TrialPruned(Exception):
    """Raised by `report`: the trial is so far worse than the median of earlier trials and is stopped."""


@dataclass(frozen=True)
class TrialRequest:
    """A trial to run. It is pruned if the mean of its first i values is below `bars[i - 1]`."""

    number: int
    parameters: dict[str, Any]
    bars: tuple[float, ...] = ()


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial: state, value, message, cost."""

    state: Literal["finished", "pruned", "failed", "late"]
    value: float | None = None
    says: str = ""
    cpu_s: float = 0.0
    #: The error, if it is a `TidemillError`: the caller of a single trial may raise it again.
    error: TidemillError | None = None


@dataclass
class TrialReporter:
    """The reported values of a running trial."""

    bars: tuple[float, ...]
    told: Callable[[float], None]
    steps: list[float] = field(default_factory=list)

    def report(self, figure: float) -> None:
        """Record the value of the next step."""
        if not isfinite(figure):
            raise FigureRefused(f"step {len(self.steps) + 1} reported {figure}, which is not a finite number")
        self.steps.append(float(figure))
        self.told(self.steps[-1])
        done = len(self.steps)
        if done <= len(self.bars) and sum(self.steps) / done < self.bars[done - 1]:
            raise TrialPruned


def run_trial(objective: Objective, asked: TrialRequest, told: Callable[[float], None]) -> TrialResult:
    """Run one trial in this process; an exception from the objective becomes its message."""
    started = time.process_time()
    try:
        value = float(objective(dict(asked.parameters), TrialReporter(asked.bars, told).report))
        if not isfinite(value):
            raise FigureRefused(f"the objective returned {value}, which is not a finite number")
    except TrialPruned:
        return TrialResult(
            "pruned", says="worse so far than the median of earlier trials", cpu_s=time.process_time() - started
        )
    except Exception as problem:
        error = problem if isinstance(problem, TidemillError) else None
        return TrialResult("failed", says=_sentence(problem), cpu_s=time.process_time() - started, error=error)
    return TrialResult("finished", value, cpu_s=time.process_time() - started)


def _sentence(problem: Exception) -> str:
    """The message of an error; of a foreign error only its type and line, because its message may quote data."""
    if isinstance(problem, TidemillError):
        return redact_surrogates(problem.message)
    frames = traceback.extract_tb(problem.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(problem).__name__}{where}"


class TrialWorker:
    """A process that waits for trials. Raises `SearchFailed` if it cannot be started."""

    def __init__(self, objective: Objective) -> None:
        try:
            packed = pickle.dumps(objective)
        except Exception as problem:
            raise SearchFailed(
                f"the objective cannot be sent to another process: {_sentence(problem)}",
                tip="define it at module level, or search in one process without a deadline",
            ) from problem
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs,), daemon=True)
        with _inherited():
            self._process.start()
        theirs.close()
        #: Whether it has started and loaded the objective.
        self.begun = False
        self._send(packed)
        self.asked: TrialRequest | None = None
        self.started = 0.0
        self.steps: list[float] = []

    def ask(self, asked: TrialRequest) -> None:
        """Start a trial in the worker."""
        self.asked, self.started, self.steps = asked, time.monotonic(), []
        self._send(asked)

    def heard(self) -> TrialResult | None:
        """Receive one message: the trial's result, or `None` while it runs. Raises `SearchFailed` before the first."""
        try:
            what, content = self.pipe.recv()
        except (EOFError, OSError):
            return self._died()
        if what == "begun":
            self.begun = True
            self.started = time.monotonic()
        elif what == "step":
            self.steps.append(content)
        elif what == "refused":
            self.kill()
            raise SearchFailed(content, tip="define it at module level in a file that can be imported")
        else:
            self.asked = None
            found: TrialResult = content
            return found
        return None

    def leave(self) -> None:
        """Let an idle worker exit by itself, so that it can clean up; kill it if it does not exit."""
        self.pipe.close()
        self._process.join(_PATIENCE_S)
        self._process.kill()
        self._process.join()

    def kill(self) -> None:
        """Kill the process at once."""
        self._process.kill()
        self._process.join()
        self.pipe.close()

    def _send(self, content: Any) -> None:
        try:
            self.pipe.send(content)
        except OSError:
            return  # it is dead, which the next receive reports

    def _died(self) -> TrialResult:
        self._process.join()
        code = self._process.exitcode or 0
        self.kill()
        if not self.begun:
            raise SearchFailed(
                "a worker process of the search ended before it could start",
                tip='in a script, call the search under `if __name__ == "__main__":`',
            )
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        memory = "; the machine may have run out of memory" if code == -signal.SIGKILL else ""
        return TrialResult("failed", says=f"its process was ended {how}{memory}")


def first_heard(workers: Sequence[TrialWorker], timeout_s: float | None) -> list[TrialWorker]:
    """The workers that have sent a message or died before the timeout."""
    pipes = {worker.pipe: worker for worker in workers}
    return [pipes[pipe] for pipe in multiprocessing.connection.wait(list(pipes), timeout_s)]  # type: ignore[index]


@contextmanager
def _inherited() -> Iterator[None]:
    """Environment variables of a new process; they are set here because numeric libraries read them at load time."""
    changed = _ALONE | _QUIET
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(pipe: Connection) -> None:
    """Main function of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes: the parent ends the workers
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        objective: Objective = pickle.loads(pipe.recv())
    except Exception as problem:
        pipe.send(("refused", f"the objective cannot be loaded in another process: {_sentence(problem)}"))
        return
    pipe.send(("begun", None))
    while True:
        try:
            request = pipe.recv()
        except EOFError:
            return
        pipe.send(("ended", run_trial(objective, request, lambda figure: pipe.send(("step", figure)))))


def _leave_with_parent() -> None:
    """End with the parent, so that a killed search leaves no orphan process."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
