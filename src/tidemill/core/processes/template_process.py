"""Template process: loads a function and its libraries once, and forks the workers of a pool, each in milliseconds.

It forks only while it has a single thread, because a lock that another thread holds stays locked in the fork. If a
library starts threads on import, the template becomes a worker itself, and the next worker needs a new template.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from typing import Any

from tidemill.core.errors import ProcessFailed
from tidemill.core.processes.failure_message import death_message, failure_message
from tidemill.core.processes.pool_task import run_task
from tidemill.core.processes.start_process import end_with_parent

#: Environment of a worker. There are as many workers as cores to use, so each has one thread.
_ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1") | {
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # pyarrow's allocator starts a thread on import
    # Python warns about semaphores of a killed process, but frees them
    "PYTHONWARNINGS": "ignore:resource_tracker:UserWarning",
}
#: The request for a new worker.
_WORKER = -1
#: Seconds that an idle or dying process has to exit by itself.
_PATIENCE_S = 1.0


@dataclass(frozen=True)
class ProcessUsage:
    """What an ended process used, and its exit status; a negative one is the number of a signal."""

    status: int
    cpu_s: float = 0.0
    peak_bytes: int = 0


class WorkerProcess:
    """A process that does one task after another."""

    def __init__(self, template: TemplateProcess, pipe: Connection, pid: int) -> None:
        self._template = template
        #: Tasks go in; values that a task reports, and its outcome, come out.
        self.pipe = pipe
        self.pid = pid
        #: CPU time of its earlier tasks.
        self.cpu_s = 0.0

    def send(self, task: Any) -> None:
        """Start a task."""
        with suppress(OSError):  # it is dead, which the next receive reports
            self.pipe.send(task)

    def end(self, *, kill: bool) -> ProcessUsage:
        """Wait for the process, which has died or is killed now."""
        if kill:
            self._template.kill(self.pid)
        usage = self._template.wait(self.pid)
        self.pipe.close()
        return usage


class TemplateProcess:
    """The template, as the pool sees it."""

    def __init__(self, packed: bytes, preload: Sequence[str], log: Path | None) -> None:
        context = multiprocessing.get_context("spawn")
        self._control, theirs = context.Pipe()
        self._process = context.Process(target=_template, args=(theirs, packed, preload, log), daemon=True)
        with _inherited():
            self._process.start()
        theirs.close()
        self._forks: bool | None = None
        #: Whether it can start no further worker.
        self.spent = False

    def loaded(self, until: float | None) -> bool:
        """Whether the function was loaded before `until`. Raises `ProcessFailed` if it cannot be loaded."""
        if self._forks is not None:
            return True
        if not self._control.poll(None if until is None else max(until - time.monotonic(), 0.0)):
            return False
        try:
            found = self._control.recv()
        except (EOFError, OSError):
            found = None
        if isinstance(found, bool):
            self._forks = found
            return True
        self._process.join(_PATIENCE_S if found is None else 0)
        status = self._process.exitcode or 0
        self.close()
        if status < 0:
            raise ProcessFailed(f"a worker process could not start: {death_message(status)}")
        if found is None:
            raise ProcessFailed(
                "a worker process ended before it could start",
                tip='in a script, start processes under `if __name__ == "__main__":`',
            )
        raise ProcessFailed(found, tip="define it at module level in a file that can be imported")

    def worker(self) -> WorkerProcess:
        """A new worker. If the template has died, so has the worker, as its pipe says."""
        mine, theirs = multiprocessing.Pipe()
        self.spent = not self._forks
        pid = self._process.pid or 0
        try:
            self._control.send(_WORKER)
            send_handle(self._control, theirs.fileno(), pid)
            pid = self._control.recv()
        except (EOFError, OSError):
            self.spent = True
        theirs.close()
        return WorkerProcess(self, mine, pid)

    def kill(self, pid: int) -> None:
        """Kill a worker."""
        if pid == self._process.pid:
            self._process.kill()
        else:  # nobody has waited for it, so the number is still its own
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def wait(self, pid: int) -> ProcessUsage:
        """Wait for a worker, and return what it used."""
        if pid != self._process.pid:
            try:
                self._control.send(pid)
                usage: ProcessUsage = self._control.recv()
                return usage
            except (EOFError, OSError):  # its workers end with it
                self.spent = True
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._process.join(_PATIENCE_S)
        self.close()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return ProcessUsage(self._process.exitcode or 0, cpu_s)

    def close(self) -> None:
        """End it and its workers, which first may exit by themselves. One that still loads is killed at once."""
        if self._forks is None:
            self._process.kill()
        self._control.close()
        self._process.join(2 * _PATIENCE_S)
        self._process.kill()
        self._process.join()


@contextmanager
def _inherited() -> Iterator[None]:
    """The environment of a new process, because numeric libraries read it at load time."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _template(control: Connection, packed: bytes, preload: Sequence[str], log: Path | None) -> None:
    """Main function of the template, and of its forks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes: the parent ends its own
    if log is not None:
        with log.open("ab") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
    try:
        for module in preload:
            with suppress(ImportError):
                importlib.import_module(module)
        work = pickle.loads(packed)
    except Exception as problem:
        control.send(f"the function cannot be loaded in another process: {failure_message(problem)}")
        return
    forks = _n_threads() == 1
    control.send(forks)
    pipe = _forked(control) if forks else _turned(control)
    if pipe is not None:
        _work(pipe, work)


def _forked(control: Connection) -> Connection | None:
    """Fork workers until the parent closes the pipe. In a worker, the pipe of its tasks."""
    gc.freeze()  # the collector would write to every page, and copy it
    me, workers = os.getpid(), set[int]()
    while request := _request(control):
        if request != _WORKER:
            workers.discard(request)
            control.send(_reaped(request, time.monotonic() + _PATIENCE_S))
            continue
        pipe = Connection(recv_handle(control))
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            control.close()
            end_with_parent(me, signal.SIGKILL)
            _reseed()
            return pipe
        pipe.close()
        workers.add(pid)
        control.send(pid)
    end = time.monotonic() + _PATIENCE_S
    for pid in workers:
        _reaped(pid, end)
    return None


def _turned(control: Connection) -> Connection | None:
    """Become a worker when one is requested, and return the pipe of its tasks."""
    if not _request(control):
        return None
    pipe = Connection(recv_handle(control))
    control.send(os.getpid())
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    return pipe


def _request(control: Connection) -> int:
    """The number of a worker to wait for, or `_WORKER` for a new one; 0 at the end."""
    try:
        return int(control.recv())
    except (EOFError, OSError):
        return 0


def _n_threads() -> int:
    try:
        return len(list(Path("/proc/self/task").iterdir()))
    except OSError:
        return 0  # unknown


def _reaped(pid: int, end: float) -> ProcessUsage:
    """Wait for a child, which is killed if it does not exit by itself until `end`."""
    options = os.WNOHANG
    while True:
        found, status, used = os.wait4(pid, options)
        if found:
            code = os.waitstatus_to_exitcode(status)
            return ProcessUsage(code, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
        if time.monotonic() >= end:
            os.kill(pid, signal.SIGKILL)
            options = 0
        time.sleep(0.002)


def _reseed() -> None:
    """New global random numbers: else all workers would draw the same. `random` does it itself."""
    numbers = sys.modules.get("numpy.random")
    if numbers is not None:
        numbers.seed()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _work(pipe: Connection, work: Any) -> None:
    """Main function of a worker."""
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        outcome = run_task(work, task, lambda value: pipe.send(("report", value)))
        pipe.send(("ended", outcome))
