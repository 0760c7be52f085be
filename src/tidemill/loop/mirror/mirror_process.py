"""Mirror process: copies runs to another tracking system; the job is JSON on stdin, the result JSON on stdout."""

from __future__ import annotations

import fcntl
import sys
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


class MirrorResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a copy job."""

    written: int = 0
    #: The error message; empty on success.
    problem: str = ""


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


def main() -> None:
    """Read the job from stdin and write the result to stdout."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=MirrorJob)
    try:
        result = MirrorResult(written=copy(job))
    except TidemillError as error:
        result = MirrorResult(problem=f"{error.message}; {error.tip}" if error.tip else error.message)
    except Exception as error:  # the library may raise anything; it becomes one sentence
        result = MirrorResult(problem=f"{type(error).__name__}: {error}")
    sys.stdout.buffer.write(b"\n" + msgspec.json.encode(result) + b"\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
