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
from tidemill.core.identity.keys import Keys
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.records.runs import MetricPoint, Run, Trial
from tidemill.loop.project.open_port import find_backend, open_port
from tidemill.training import Runs


class MirrorJob(msgspec.Struct, frozen=True, kw_only=True):
    """What to copy from where to where."""

    #: The setting, for example `mlflow:sqlite:///mlflow.db`.
    mirror: str
    mill: str
    mill_id: str
    #: The project's folder, and the setting `ledger`, which may be relative to it.
    project: str
    ledger: str
    #: The folder of the mill's keys, and the file that one copying at a time holds.
    keys: str
    lock: str


class MirrorResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    written: int = 0
    #: Why it did not work; empty where it did.
    problem: str = ""


class Mirror(Protocol):
    """What a back-end of `tidemill.mirrors` is, made of the rest of the setting, the mill's name and its id."""

    def known(self) -> set[str]:
        """Names of the runs that are there, whole."""
        ...

    def write(self, run: Run, points: Sequence[MetricPoint], trials: Sequence[Trial]) -> None:
        """Write a run that has ended; what there was of it, from a writing that was cut short, is replaced."""
        ...


def copy(asked: MirrorJob) -> int:
    """Write every run that has ended and that the mirror does not know, oldest first; how many there were."""
    scheme, _, rest = asked.mirror.partition(":")
    make = find_backend("mirrors", scheme)
    clock = SystemClock()
    keys = Keys.open(Path(asked.keys), create=False)
    lines = open_port("ledger", asked.ledger, Path(asked.project), create=False)
    runs = Runs(Ledger(lines, keys, clock, "mirror"), clock)
    with Path(asked.lock).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mirror: Mirror = make(rest, asked.mill, asked.mill_id)
        known = mirror.known()
        missing = [run for run in reversed(runs.all()) if run.state != "running" and run.name not in known]
        for run in missing:
            mirror.write(run, runs.points(run.name), runs.trials(run.name))
    return len(missing)


def main() -> None:
    """Do what stdin asks, and tell on stdout."""
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=MirrorJob)
    try:
        told = MirrorResult(written=copy(asked))
    except TidemillError as error:
        told = MirrorResult(problem=f"{error.message}; {error.tip}" if error.tip else error.message)
    except Exception as error:  # the library may raise anything, and all of it is one sentence
        told = MirrorResult(problem=f"{type(error).__name__}: {error}")
    sys.stdout.buffer.write(b"\n" + msgspec.json.encode(told) + b"\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
