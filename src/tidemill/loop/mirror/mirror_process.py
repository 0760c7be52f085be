"""Mirror process: the job that copies runs to another tracking system."""

from __future__ import annotations

import fcntl
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from tidemill.core.clock import SystemClock
from tidemill.core.errors import TidemillError
from tidemill.core.identity.account import Account
from tidemill.core.identity.keys import Keys
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.records.runs import MetricPoint, Run, Trial
from tidemill.loop.project.open_port import find_backend, open_port
from tidemill.training import Runs


class MirrorJob(msgspec.Struct, frozen=True, kw_only=True):
    """A copy job: the mirror, the project and its ledger."""

    #: The setting, for example `mlflow:sqlite:///mlflow.db`.
    mirror: str
    mill: str
    mill_id: str
    #: The project's folder, and the setting `ledger`, which may be relative to it.
    project: str
    ledger: str
    #: The folder of the mill's keys, and the lock file that allows one copy at a time.
    keys: str
    lock: str


class Mirror(Protocol):
    """A back-end of `tidemill.mirrors`, created from the rest of the setting, the mill's name and its id."""

    def known(self) -> set[str]:
        """Names of the completely copied runs."""
        ...

    def write(self, run: Run, points: Sequence[MetricPoint], trials: Sequence[Trial]) -> None:
        """Write a finished run, replacing the remains of an interrupted copy."""
        ...


def copy(job: MirrorJob) -> int:
    """Copy every finished run that the mirror lacks, oldest first; returns the number of copied runs."""
    try:
        return _copy(job)
    except TidemillError:
        raise
    except Exception as problem:  # the library may raise anything; it becomes one sentence
        raise TidemillError(f"{type(problem).__name__}: {problem}") from problem


def _copy(job: MirrorJob) -> int:
    scheme, _, rest = job.mirror.partition(":")
    make = find_backend("mirrors", scheme)
    clock = SystemClock()
    keys = Keys.open(Path(job.keys), create=False)
    lines = open_port("ledger", job.ledger, Path(job.project), create=False)
    runs = Runs(Ledger(lines, keys, clock, Account(name="mirror", kind="process")), clock)
    with Path(job.lock).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mirror: Mirror = make(rest, job.mill, job.mill_id)
        known = mirror.known()
        missing = [run for run in reversed(runs.all()) if run.state != "running" and run.name not in known]
        for run in missing:
            mirror.write(run, runs.points(run.name), runs.trials(run.name))
    return len(missing)
