"""Kill driver: processes of a project under load are killed at random moments, from outside, and nothing may be lost.

    python tests/kills/kill_driver.py --kills 200 --seed 1

A server with two workers, a log writer and a console answers predictions and takes events and outcomes, while days
come in, models are refreshed, trained and promoted, and switched off and on. Each process of that tree is a target.
Afterwards every acknowledged prediction, outcome and event is looked up, and whatever is left over is reported.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from kill_clients import Acknowledged, KillClient
from kill_project import BACKFILLED, BUYS, FOR_YOU, KillProject, day_of
from project_processes import ProjectProcess, ProjectProcesses

from tidemill.core.clock import SystemClock
from tidemill.core.settings import load
from tidemill.loop.project.stores import Stores, open_stores

TIDEMILL = Path(sys.executable).parent / "tidemill"
CLIENTS = 3
#: Statuses of a command: success, and an error with a code.
_OK, _ERROR = 0, 1
#: Errors that say: another process does this. Both are expected where commands run side by side.
_BUSY = ("TM802", "TM806")
_PATIENCE_S = 90.0


@dataclass
class CommandRun:
    """A command that has ended."""

    words: tuple[str, ...]
    status: int
    out: str
    err: str
    killed: bool


@dataclass
class Kill:
    """A kill, and the seconds until what was killed worked again."""

    role: str
    at: float
    recovery_s: float | None = None


@dataclass
class KillReport:
    """What was killed, and what was found afterwards."""

    kills: list[Kill] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    #: How many commands ended in which way.
    commands: Counter[str] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)

    def table(self) -> str:
        """Process killed, times, what was lost or doubled, recovery time."""
        lines = [f"{'process killed':<28}{'times':>6}{'recovered':>11}{'median s':>10}{'longest s':>11}"]
        by_role: dict[str, list[Kill]] = defaultdict(list)
        for kill in self.kills:
            by_role[kill.role].append(kill)
        for role, kills in sorted(by_role.items()):
            took = [kill.recovery_s for kill in kills if kill.recovery_s is not None]
            times = f"{median(took):>10.1f}{max(took):>11.1f}" if took else ""
            lines.append(f"{role:<28}{len(kills):>6}{len(took):>11}{times}")
        lines.append(f"acknowledged: {dict(self.acknowledged)}")
        lines.append(f"commands: {dict(sorted(self.commands.items()))}")
        return "\n".join([*lines, *(f"FOUND: {finding}" for finding in self.findings or ["nothing lost or doubled"])])


class KillDriver:
    """Everything that runs at once; `base` is an empty folder."""

    def __init__(self, base: Path, seed: int) -> None:
        self.base, self.project = base, KillProject(base / "project")
        self.report, self.told = KillReport(), Acknowledged()
        self.processes = ProjectProcesses(base)
        self._draw = random.Random(seed)
        self._stopping, self._serving = threading.Event(), threading.Event()
        #: Process -> that it was killed.
        self._killed: set[int] = set()
        self._running: dict[int, subprocess.Popen[str]] = {}
        self._lock = threading.Lock()
        self._open: dict[str, list[Kill]] = defaultdict(list)
        self._day = BACKFILLED - 1
        self._port = _free_port()
        self._n = self._children_killed = 0
        (base / "tmp").mkdir(parents=True)
        (base / "said").mkdir()

    # ---- the commands

    def command(self, *words: str) -> CommandRun:
        """Run a command to its end, whatever that is."""
        with self._lock:
            self._n += 1
            children = self._children_killed
            said = self.base / "said" / f"{self._n:05}-{'-'.join(words[:2])}"
            out, err = (said.with_suffix(f".{kind}") for kind in ("out", "err"))
            with out.open("w") as to_out, err.open("w") as to_err:
                process = subprocess.Popen(
                    [str(TIDEMILL), *words], cwd=self.project.path, stdin=subprocess.DEVNULL, stdout=to_out,
                    stderr=to_err, env=self._environment, text=True,
                )  # fmt: skip
            self._running[process.pid] = process
        status = process.wait()
        with self._lock:
            del self._running[process.pid]
            killed = process.pid in self._killed
            # a training ends with an error if the process dies from which its others are forked
            failed = self._children_killed > children and status == _ERROR and "TM006" in err.read_text()
        ended = CommandRun(words, status, out.read_text(), err.read_text(), killed)
        if failed:
            self.report.commands[f"{words[0]} TM006, as its child was killed"] += 1
        else:
            self._note(ended)
        return ended

    @property
    def _environment(self) -> dict[str, str]:
        return self.processes.environment | {"TMPDIR": str(self.base / "tmp"), "OMP_NUM_THREADS": "1"}

    def _note(self, ended: CommandRun) -> None:
        name = ended.words[0]
        code = re.search(r"more: tidemill help (TM\d+)", ended.err)
        if ended.status == -signal.SIGKILL and ended.killed:
            self.report.commands[f"{name} killed"] += 1
            return
        if ended.status == _OK:
            self.report.commands[f"{name} ok"] += 1
            for kill in self._open.pop(name, ()):
                kill.recovery_s = time.monotonic() - kill.at
            return
        self.report.commands[f"{name} {code[1] if code else ended.status}"] += 1
        if name == "verify" and code is None and not self._stopping.is_set():
            damage = [one["text"] for one in _problems(ended.out) if not one["derived"]]
            if damage:
                self._find(f"verify while others work: {damage}")
            return
        if code is None or code[1] not in _BUSY:
            self._find(f"{' '.join(ended.words)} ended with {ended.status}: {(ended.err + ended.out).strip()[-1500:]}")

    def _find(self, finding: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} FOUND {finding}", flush=True)
        self.report.findings.append(finding)

    def _ingest(self) -> None:
        self.project.write_day(self._day + 1)
        ended = self.command("run", "--until", str(day_of(self._day + 1)))
        if ended.status == _OK:
            self._day += 1

    def _train(self) -> Iterator[None]:
        while True:
            for model in (FOR_YOU, BUYS):
                ended = self.command("train", model, "--json", *(("--processes", "2") if model == BUYS else ()))
                yield
                if ended.status == _OK:
                    self.command("promote", json.loads(ended.out)["release"])
                    yield

    def _turn(self) -> Iterator[None]:
        while True:
            for model in (BUYS, FOR_YOU):
                for switch in ("off", "on"):
                    while self.command(switch, model).status != _OK and not self._stopping.is_set():
                        yield
                    yield
            if len(self._stores().releases.history(FOR_YOU)) > 1:
                self.command("rollback", FOR_YOU)
            yield

    def _look(self) -> Iterator[None]:
        while True:
            self.command("status")
            yield
            self.command("verify", "--json")
            yield

    def _loop(self, work: Callable[[], object], pause_s: float) -> threading.Thread:
        def run() -> None:
            while not self._stopping.wait(pause_s):
                work()

        return self._thread(run)

    def _thread(self, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except Exception as error:
                self._find(f"the driver itself failed: {error!r}")
                raise

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        return thread

    # ---- the server

    def _serve(self) -> None:
        """Keep a server running, as a service manager does."""
        while not self._stopping.is_set():
            self._serving.set()
            self.command(
                "serve", "--port", str(self._port), "--console-port", str(self._console_port), "--workers", "2"
            )

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    # ---- the kills

    def _kill_one(self) -> None:
        by_role: dict[str, list[ProjectProcess]] = defaultdict(list)
        for process in self.processes.running():
            by_role[process.role].append(process)
        if not by_role:
            return
        roles = sorted(by_role)
        (role,) = self._draw.choices(roles, [_weight(role) for role in roles])
        victim = self._draw.choice(by_role[role])
        with self._lock:  # a command that has ended is not killed any more, nor another process of its number
            process = self._running.get(victim.pid)
            if process is not None and process.poll() is not None:
                return
            self._killed.add(victim.pid)
            self._children_killed += role.startswith("child")
        try:
            os.kill(victim.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        kill = Kill(role, time.monotonic())
        self.report.kills.append(kill)
        self._watch(kill, victim)

    def _watch(self, kill: Kill, victim: ProjectProcess) -> None:
        """Note when what was killed works again."""
        if kill.role in ("worker", "log writer", "console", "supervisor"):
            before = {one.pid for one in self.processes.running() if one.role == kill.role}
            self._thread(lambda: self._await(kill, before | {victim.pid}))
        elif not kill.role.startswith("child"):
            self._open[kill.role].append(kill)

    def _await(self, kill: Kill, before: set[int]) -> None:
        while not self._stopping.is_set():
            new = {one.pid for one in self.processes.running() if one.role == kill.role} - before
            if new and self._recovered(kill, new):
                kill.recovery_s = time.monotonic() - kill.at
                return
            if time.monotonic() - kill.at > _PATIENCE_S:
                return
            time.sleep(0.1)

    def _recovered(self, kill: Kill, new: set[int]) -> bool:
        if kill.role == "worker":
            reports = self.project.path / ".tidemill" / "serving" / "workers"
            return any((reports / f"{pid}.json").exists() for pid in new)
        if kill.role == "supervisor":
            return self._ready() and self.told.last_at > kill.at
        if kill.role == "log writer":
            lock = self.project.path / ".tidemill" / "log.lock"
            try:
                return json.loads(lock.read_bytes())["pid"] in new
            except (OSError, ValueError, KeyError):
                return False
        try:
            with socket.create_connection(("127.0.0.1", self._console_port), timeout=1):
                return True
        except OSError:
            return False

    # ---- all of it

    def run(self, kills: int, *, mean_s: float = 2.5) -> KillReport:
        """The report of so many kills, after a drain and a last run."""
        shared = _shared_memory()
        self._console_port = _free_port()
        self.project.write()
        self._must("run", "--backfill", "--until", str(day_of(self._day)))
        for model in (FOR_YOU, BUYS):
            release = json.loads(self._must("train", model, "--json").out)["release"]
            self._must("promote", release)
        server = self._thread(self._serve)
        self._until(self._ready, "the server is not ready")
        clients = [
            KillClient(self._port, place, lambda: self._day, self.told, self._stopping) for place in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        loops = [
            self._loop(self._ingest, 0.5),
            self._loop(self._train().__next__, 1.0),
            self._loop(self._turn().__next__, 1.0),
            self._loop(self._look().__next__, 3.0),
        ]
        while len(self.report.kills) < kills:
            time.sleep(min(self._draw.expovariate(1 / mean_s), 4 * mean_s))
            self._kill_one()
        self._until(lambda: self.told.last_at > time.monotonic() - 1, "no prediction after the last kill")
        self._settle([server, *clients, *loops])
        self._check(shared)
        return self.report

    def _settle(self, threads: Sequence[threading.Thread]) -> None:
        """Stop clients and commands, and let the server drain."""
        self._stopping.set()
        for thread in threads[1:]:
            thread.join(_PATIENCE_S)
        with self._lock:
            serving = list(self._running.values())
        for process in serving:
            process.send_signal(signal.SIGTERM)
        threads[0].join(_PATIENCE_S)
        if any(thread.is_alive() for thread in threads):
            self._find("a command or the server did not end")

    def _must(self, *words: str) -> CommandRun:
        ended = self.command(*words)
        assert ended.status == _OK, f"{words}: {ended.out}{ended.err}"
        return ended

    def _until(self, what: Callable[[], bool], otherwise: str) -> None:
        end = time.monotonic() + _PATIENCE_S
        while not what():
            if time.monotonic() > end:
                self._find(otherwise)
                return
            time.sleep(0.1)

    def _check(self, shared: set[str]) -> None:
        end = time.monotonic() + 5
        while (left := self.processes.running()) and time.monotonic() < end:
            time.sleep(0.1)
        for one in left:
            self._find(f"a process is left over: {one.role} {one.pid}")
        # A killed run may have published the next day; what was posted later is due with the day after it.
        self.command("run", "--until", str(day_of(self._day + 2)))
        for model in (FOR_YOU, BUYS):
            self.command("train", model)
            self.command("on", model)
        self.command("verify")
        self._check_status()
        self.check_logs()
        for run in self._stores().runs.all():
            if run.state == "running":
                self._find(f"{run} is said to be running")
        for name in sorted(_shared_memory() - shared):
            self._find(f"shared memory is left over: {name}")
        for path in (self.base / "tmp").rglob("*"):
            self._find(f"a temporary file is left over: {path.relative_to(self.base)}")
        for path in self.project.path.rglob("*"):
            if re.search(r"\.partial$|^\.new-|^new-|^learn-|^learning-|^fresh-|^choose-|\.tmp$|^\..*\.seg$", path.name):
                self._find(f"a file of unfinished work is left over: {path.relative_to(self.base)}")
        for path in sorted((self.base / "said").iterdir()):
            text = path.read_text()
            if "Traceback" in text:
                self._find(f"{path.name} shows a trace: …{text[text.index('Traceback') :][:1500]}")

    def _stores(self) -> Stores:
        return open_stores(self.project.path, load(self.project.path, environ={}), SystemClock(), name="kills")

    def _check_status(self) -> None:
        ended = self.command("status", "--json")
        for item in json.loads(ended.out)["action_items"] if ended.status == _OK else ():
            if item["weight"] == "broken" or "switched off" in item["what"] or "held" in item["what"]:
                self._find(f"status: {item['what']}: {item['why']}")

    def check_logs(self) -> None:
        """Look up everything that was acknowledged."""
        stores = self._stores()
        predictions = stores.lake.log("predictions")
        outcomes = stores.lake.log("outcomes")
        events = stores.lake.view().arrow("reviews", ["reviewed_at"])
        found = {
            "prediction": Counter(predictions["prediction_id"].to_pylist() if predictions else ()),
            "outcome": Counter(outcomes["prediction_id"].to_pylist() if outcomes else ()),
            "event": Counter(events["reviewed_at"].cast("int64").to_pylist()),
        }
        acknowledged: dict[str, Sequence[Any]] = {
            "prediction": self.told.predictions, "outcome": self.told.outcomes, "event": self.told.events,
        }  # fmt: skip
        sent = set(self.told.sent_events)
        for kind, names in acknowledged.items():
            self.report.acknowledged[kind] = len(names)
            lost = [name for name in names if not found[kind][name]]
            doubled = [name for name, n in found[kind].items() if n > 1 and (kind != "event" or name in sent)]
            if lost:
                self._find(f"{len(lost)} of {len(names)} acknowledged {kind}s are lost: {lost[:5]}")
            if doubled:
                self._find(f"{len(doubled)} {kind}s are there more than once: {doubled[:5]}")
            if not names:
                self._find(f"no {kind} was acknowledged")
        for odd, n in self.told.odd.items():
            self._find(f"{n} times a response that no kill explains: {odd}")


def _weight(role: str) -> int:
    """How often a role is chosen: children live for moments, and without its supervisor a server does nothing."""
    return 1 if role == "supervisor" else 8 if role.startswith("child") else 2


def _problems(text: str) -> list[dict[str, Any]]:
    """The problems of `tidemill verify --json`."""
    return [problem for store in json.loads(text)["stores"] for problem in store["problems"]]


def _shared_memory() -> set[str]:
    """The names of shared memory and semaphores of this machine; folders there are temporary folders of others."""
    found = set()
    for path in Path("/dev/shm").iterdir():
        if path.is_file() or path.name.startswith(("joblib", "loky", "psm", "pymp")):
            found.add(path.name)
    return found


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def main() -> int:
    """Run from the command line; the status is 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mean-s", type=float, default=2.5, help="mean of the seconds between two kills")
    parser.add_argument("--keep", action="store_true", help="keep the project and all output")
    given = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="kills-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    began = time.monotonic()
    report = KillDriver(base, given.seed).run(given.kills, mean_s=given.mean_s)
    print(report.table())
    print(f"{len(report.kills)} kills in {time.monotonic() - began:.0f} s", f"({base})" if given.keep else "")
    if not given.keep:
        shutil.rmtree(base)
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
