"""Work that other processes can import: it ends, raises, dies, hangs, grows, and says who it is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tidemill.core.errors import BundleRefused, NotReady
from tidemill.core.processes.process_pool import ProcessPool


def do(task: str, report: Callable[[Any], None]) -> Any:
    match task.split():
        case ["add", one, two]:
            report("adding")
            return int(one) + int(two)
        case ["refuse"]:
            raise NotReady("not yet", tip="wait")
        case ["raise"]:
            raise ValueError("a value of the data")
        case ["exit", status]:
            os._exit(int(status))
        case ["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["spin"]:
            report("begun")
            while True:
                pass
        case ["burn", seconds]:
            end = time.process_time() + float(seconds)
            while time.process_time() < end:
                pass
        case ["grow", megabytes]:
            return len(b"\1" * (int(megabytes) << 20))
        case ["burn-and-spin", seconds]:
            do(f"burn {seconds}", report)
            time.sleep(60)
        case ["process"]:
            return os.getpid(), os.getppid()
        case ["modules"]:
            return sorted(sys.modules)
        case ["environment", name]:
            return os.environ.get(name)
        case ["print"]:
            print("printed")
            print("complained", file=sys.stderr)
        case ["random"]:
            import numpy as np

            time.sleep(0.05)
            return float(np.random.random())
    return None


class ThreadedWork:
    """Work whose loading starts a thread, which a fork would lose."""

    def __setstate__(self, state: Any) -> None:
        self.answer: list[str] = []
        self.asked = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def __getstate__(self) -> dict[str, Any]:
        return {"any": "thing"}

    def _serve(self) -> None:
        self.asked.wait()
        self.answer.append("served")

    def __call__(self, task: str, report: Callable[[Any], None]) -> Any:
        self.asked.set()
        while not self.answer:
            time.sleep(0.01)
        return do(task, report)


class UnreadableWork:
    """Work that cannot be loaded in another process."""

    def __setstate__(self, state: Any) -> None:
        raise ImportError("not there")

    def __getstate__(self) -> dict[str, Any]:
        return {"any": "thing"}

    def __call__(self, task: str, report: Callable[[Any], None]) -> None:
        return None


class SumRequest(msgspec.Struct, frozen=True):
    a: int
    b: int
    how: str = ""


class SumAnswer(msgspec.Struct, frozen=True):
    total: int
    folder: str = ""
    pid: int = 0


def total(job: SumRequest) -> SumAnswer:
    match job.how:
        case "loud":
            print("a library prints")
        case "refuse":
            raise NotReady("not yet", tip="wait")
        case "raise":
            raise ValueError("a value of the data")
        case "die":
            print("out of luck", file=sys.stderr, flush=True)
            os._exit(3)
        case "hang":
            time.sleep(60)
        case "tell":
            Path("pid").write_text(str(os.getpid()))
            time.sleep(60)
    return SumAnswer(job.a + job.b, str(Path.cwd()), os.getpid())


if __name__ == "__main__":  # a parent that the tests kill: it writes the numbers of its workers
    file, kind = Path(sys.argv[1]), sys.argv[2]
    with ProcessPool(ThreadedWork() if kind == "threaded" else do, processes=2) as pool:
        pids = {outcome.value[0] for _, outcome in pool.run(["process"] * 2)}
        file.with_suffix(".part").write_text(" ".join(map(str, pids)))
        file.with_suffix(".part").rename(file)
        for _ in pool.run(["spin", "spin"]):
            pass


class Attempt(msgspec.Struct, frozen=True):
    """A folder that may be written, and one that may not."""

    own: str
    other: str


def attempts(job: Attempt) -> dict[str, str]:
    """What each attempt ends with."""

    def connect() -> None:
        with socket.create_connection(("127.0.0.1", int(Path(job.own, "port").read_text())), 2):
            pass

    tries: dict[str, Callable[[], object]] = {
        "own": lambda: Path(job.own, "new").write_text("x"),
        "other": lambda: Path(job.other, "new").write_text("x"),
        "truncate": lambda: Path(job.other, "secret").write_text(""),
        "remove": lambda: Path(job.other, "secret").unlink(),
        "read": lambda: Path(job.other, "secret").read_text(),
        "list": lambda: list(Path(job.other).iterdir()),
        "start": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
        "connect": connect,
        "environment": lambda: os.environ["TIDEMILL_SECRET"],
    }
    found = {}
    for name, one in tries.items():
        try:
            one()
            found[name] = ""
        except (OSError, KeyError) as problem:
            found[name] = type(problem).__name__
    return found


def shouts(job: Attempt) -> None:
    """Raises an error that would move a terminal's cursor."""
    raise BundleRefused("\x1b[2Jevil\r\n\x07", tip="\x1b]0;title\x07")
