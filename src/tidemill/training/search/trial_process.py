"""One trial, and a worker process that runs trials in turn: what it reports and how it ends.

A worker is a process of its own, so that a trial can be ended from outside and a death takes nothing else with it.
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

#: Gives the figure of some settings; `report` takes the figure so far, after each step, and may raise `TrialPruned`.
Objective = Callable[[dict[str, Any], Callable[[float], None]], float]

#: One thread to each worker: they are as many as there are cores to use.
_ALONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
#: Semaphores of a process that was killed are taken back by Python, which need not be told to anybody.
_QUIET = {"PYTHONWARNINGS": "ignore:resource_tracker:UserWarning"}
#: How long a worker that has nothing to do may take to leave.
_PATIENCE_S = 1.0


class TrialPruned(Exception):
    """Raised by `report`: the trial is worse so far than most before it and is given up."""


@dataclass(frozen=True)
class TrialRequest:
    """A trial to do. `bars`: it is given up where the mean of its first i figures lies below the i-th of them."""

    number: int
    parameters: dict[str, Any]
    bars: tuple[float, ...] = ()


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended."""

    state: Literal["finished", "pruned", "failed", "late"]
    value: float | None = None
    says: str = ""
    cpu_s: float = 0.0
    #: What was raised, where it is an error of the one tree: whoever asked for one trial alone may raise it again.
    error: TidemillError | None = None


@dataclass
class TrialReporter:
    """The figures of a running trial."""

    bars: tuple[float, ...]
    told: Callable[[float], None]
    steps: list[float] = field(default_factory=list)

    def report(self, figure: float) -> None:
        """Take the figure of the next step."""
        if not isfinite(figure):
            raise FigureRefused(f"step {len(self.steps) + 1} gave {figure}, which is no figure")
        self.steps.append(float(figure))
        self.told(self.steps[-1])
        done = len(self.steps)
        if done <= len(self.bars) and sum(self.steps) / done < self.bars[done - 1]:
            raise TrialPruned


def run_trial(objective: Objective, asked: TrialRequest, told: Callable[[float], None]) -> TrialResult:
    """Do one trial here and now; whatever the objective raises is its end, told in a sentence."""
    started = time.process_time()
    try:
        value = float(objective(dict(asked.parameters), TrialReporter(asked.bars, told).report))
        if not isfinite(value):
            raise FigureRefused(f"it gave {value}, which is no figure")
    except TrialPruned:
        return TrialResult("pruned", says="worse so far than most before it", cpu_s=time.process_time() - started)
    except Exception as problem:
        error = problem if isinstance(problem, TidemillError) else None
        return TrialResult("failed", says=_sentence(problem), cpu_s=time.process_time() - started, error=error)
    return TrialResult("finished", value, cpu_s=time.process_time() - started)


def _sentence(problem: Exception) -> str:
    """What went wrong, and of an error that the house does not know only its kind and place: it may quote data."""
    if isinstance(problem, TidemillError):
        return redact_surrogates(problem.message)
    frames = traceback.extract_tb(problem.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(problem).__name__}{where}"


class TrialWorker:
    """A process that waits for trials. `raises` SearchFailed where it cannot even be begun."""

    def __init__(self, objective: Objective) -> None:
        try:
            packed = pickle.dumps(objective)
        except Exception as problem:
            raise SearchFailed(
                f"what is searched cannot be sent to another process: {_sentence(problem)}",
                tip="make it a function at the top of a file, or search in one process without a deadline",
            ) from problem
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs,), daemon=True)
        with _inherited():
            self._process.start()
        theirs.close()
        #: Whether it has come up and opened what is searched.
        self.begun = False
        self._send(packed)
        self.asked: TrialRequest | None = None
        self.started = 0.0
        self.steps: list[float] = []

    def ask(self, asked: TrialRequest) -> None:
        """Let it do a trial."""
        self.asked, self.started, self.steps = asked, time.monotonic(), []
        self._send(asked)

    def heard(self) -> TrialResult | None:
        """Take one message: how the trial ended, or `None` where it goes on. Raises `SearchFailed` before the first."""
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
            raise SearchFailed(content, tip="make it a function at the top of a file that other files can import")
        else:
            self.asked = None
            found: TrialResult = content
            return found
        return None

    def leave(self) -> None:
        """Let it go when it has nothing to do, so that it tidies up behind itself; what stays is ended."""
        self.pipe.close()
        self._process.join(_PATIENCE_S)
        self._process.kill()
        self._process.join()

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self._process.kill()
        self._process.join()
        self.pipe.close()

    def _send(self, content: Any) -> None:
        try:
            self.pipe.send(content)
        except OSError:
            return  # it is dead, and listening to it says so

    def _died(self) -> TrialResult:
        self._process.join()
        code = self._process.exitcode or 0
        self.kill()
        if not self.begun:
            raise SearchFailed(
                "a process of the search ended before it could begin",
                tip='a script that searches does it under `if __name__ == "__main__":`',
            )
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        memory = "; the machine may have run out of memory" if code == -signal.SIGKILL else ""
        return TrialResult("failed", says=f"its process was ended {how}{memory}")


def first_heard(workers: Sequence[TrialWorker], timeout_s: float | None) -> list[TrialWorker]:
    """The workers that have said something, or have died, by the end of the wait."""
    pipes = {worker.pipe: worker for worker in workers}
    return [pipes[pipe] for pipe in multiprocessing.connection.wait(list(pipes), timeout_s)]  # type: ignore[index]


@contextmanager
def _inherited() -> Iterator[None]:
    """What a new process inherits. It is set here because numeric libraries read it once, when they are loaded."""
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
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all: the one who asked ends the others
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        objective: Objective = pickle.loads(pipe.recv())
    except Exception as problem:
        pipe.send(("refused", f"what is searched cannot be opened in another process: {_sentence(problem)}"))
        return
    pipe.send(("begun", None))
    while True:
        try:
            asked = pipe.recv()
        except EOFError:
            return
        pipe.send(("ended", run_trial(objective, asked, lambda figure: pipe.send(("step", figure)))))


def _leave_with_parent() -> None:
    """A search that is killed leaves no trial behind that nobody waits for."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
