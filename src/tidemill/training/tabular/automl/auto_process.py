"""Fitting of AutoML members in worker processes, with a deadline that the parent enforces.

A library cannot be interrupted during a step, so the process is killed and the files of its finished members are used.
A worker process runs `python -m tidemill.training.tabular.automl.auto_process PLACE NUMBER …`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemill.core.errors import TidemillError
from tidemill.core.ledger.ledger import redact_surrogates
from tidemill.models.tabular.examples import Examples
from tidemill.training.tabular.automl.cross_fit import MemberFit
from tidemill.training.tabular.automl.member_settings import Settings
from tidemill.training.tabular.rows.examples_file import read_examples, write_examples
from tidemill.training.tabular.rows.folds import folds_of
from tidemill.training.tabular.rows.row_losses import Measure
from tidemill.training.tabular.rows.table_columns import columns_of

F64 = NDArray[np.float64]
_EXAMPLES, _ASKED = "examples.arrow", "asked.json"
#: How often the parent polls.
_EVERY_S = 0.05
_ALONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class FitJob(msgspec.Struct, frozen=True, kw_only=True):
    """The members that a worker process fits."""

    members: tuple[Settings, ...]
    measure: Measure
    seed: int


class FitResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one member. If it was fitted, its margins are stored in a file next to it."""

    settings: Settings
    state: str = "fitted"
    says: str = ""
    cpu_s: float = 0.0


def fit_members(
    examples: Examples,
    asked: FitJob,
    *,
    place: Path,
    seconds: float | None,
    processes: int = 1,
    told: Callable[[FitResult], None],
) -> list[tuple[FitResult, F64 | None]]:
    """Each member in order with its margins float64 (n_held, k) on the held-out rows, `None` if it has none.

    `late` members did not finish within `seconds`; `failed` ones raised or died. No process is left running.
    """
    until = None if seconds is None else time.monotonic() + seconds
    place.mkdir(parents=True, exist_ok=True)
    for old in place.glob("member-*"):
        old.unlink()
    write_examples(examples, place / _EXAMPLES)
    (place / _ASKED).write_bytes(msgspec.json.encode(asked))
    lanes = [list(range(lane, len(asked.members), max(processes, 1))) for lane in range(max(processes, 1))]
    running = [_FitWorker(place, lane) for lane in lanes if lane]
    seen: set[int] = set()
    try:
        while any(lane.goes_on() for lane in running) and (until is None or time.monotonic() < until):
            _tell(place, len(asked.members), seen, told)
            time.sleep(_EVERY_S)
    finally:
        for lane in running:
            lane.end()
    _tell(place, len(asked.members), seen, told)
    return [_found(place, number, settings) for number, settings in enumerate(asked.members)]


def _tell(place: Path, count: int, seen: set[int], report: Callable[[FitResult], None]) -> None:
    for number in range(count):
        if number not in seen and _file(place, number).exists():
            seen.add(number)
            report(msgspec.json.decode(_file(place, number).read_bytes(), type=FitResult))


def _found(place: Path, number: int, settings: Settings) -> tuple[FitResult, F64 | None]:
    file = _file(place, number)
    if not file.exists():
        return FitResult(settings=settings, state="late", says="stopped at the deadline"), None
    fitted = msgspec.json.decode(file.read_bytes(), type=FitResult)
    return fitted, np.load(file.with_suffix(".npy")) if fitted.state == "fitted" else None


def _file(place: Path, number: int) -> Path:
    return place / f"member-{number}.json"


class _FitWorker:
    """A process that fits its members one after another; if it dies, a new one continues with the rest."""

    def __init__(self, place: Path, numbers: Sequence[int]) -> None:
        self._place, self._left = place, list(numbers)
        self._process = self._started()

    def goes_on(self) -> bool:
        """Whether it is still running; a member during which the process died has failed."""
        code = self._process.poll()
        if code is None:
            return True
        self._left = [number for number in self._left if not _file(self._place, number).exists()]
        if not self._left:
            return False
        job = msgspec.json.decode((self._place / _ASKED).read_bytes(), type=FitJob)
        died = FitResult(settings=job.members[self._left[0]], state="failed", says=_death(code))
        _write(_file(self._place, self._left.pop(0)), died)
        if self._left:
            self._reaped()
            self._process = self._started()
        return bool(self._left)

    def end(self) -> None:
        """Kill the process."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._reaped()

    def _reaped(self) -> None:
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", __name__, str(self._place), *map(str, self._left)]
        with (self._place / f"process-{self._left[0]}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                env=os.environ | _ALONE | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
                stdin=subprocess.PIPE,  # closed when the parent ends, so that the process ends too
                stdout=log,
                stderr=log,
            )


def _death(code: int) -> str:
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
    return f"its process was ended {how}" + ("; the machine may have run out of memory" if code == -9 else "")


def _write(file: Path, fitted: FitResult) -> None:
    """Write the file atomically."""
    partial = file.with_suffix(".part")
    partial.write_bytes(msgspec.json.encode(fitted))
    partial.replace(file)


def _work(place: Path, numbers: Sequence[int]) -> None:
    """Main function of a worker process."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    job = msgspec.json.decode((place / _ASKED).read_bytes(), type=FitJob)
    examples = read_examples(place / _EXAMPLES)
    columns = columns_of(examples)
    folds = folds_of(examples, seed=job.seed)
    for number in numbers:
        settings, started, file = job.members[number], time.process_time(), _file(place, number)
        try:
            one = MemberFit(examples, columns, settings, measure=job.measure, seed=job.seed)
            settled, margins = one.open(folds)
            if not np.isfinite(margins).all():
                raise ArithmeticError("its margins contain NaN or infinity")
            np.save(file.with_suffix(".npy"), margins)
            _write(file, FitResult(settings=settled, cpu_s=time.process_time() - started))
        except Exception as problem:
            spent = time.process_time() - started
            _write(file, FitResult(settings=settings, state="failed", says=_sentence(problem), cpu_s=spent))


def _sentence(problem: Exception) -> str:
    """The message of an error; of a foreign error only its type and line, because its message may quote data."""
    if isinstance(problem, TidemillError):
        return redact_surrogates(problem.message)
    last = traceback.extract_tb(problem.__traceback__)[-1]
    return f"{type(problem).__name__} in {Path(last.filename).name}, line {last.lineno}"


def _leave_with_parent() -> None:
    """End with the parent, so that a killed search leaves no orphan process."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    _work(Path(sys.argv[1]), [int(number) for number in sys.argv[2:]])
