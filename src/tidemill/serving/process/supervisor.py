"""Supervisor of `tidemill serve`: keeps API workers and side processes running, and drains and stops them in order.

    from tidemill.serving import ServerPlan, serve, start
    serve(ServerPlan(...))            # here, until SIGTERM or Ctrl-C
    server = start(ServerPlan(...))   # in a child process: server.wait_ready(), server.url, server.stop()

A worker that dies is replaced at once; a worker that hangs is killed and replaced. On SIGTERM: report unready, wait
`drain_s`, stop the workers once their requests are finished, then the side processes (the log writer moves the rest of
the log), then itself. Ctrl-C, or a second signal, ends the wait.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path

import msgspec

from tidemill.core.clock import Clock, SystemClock, to_micros
from tidemill.core.processes.start_process import ProcessStart
from tidemill.serving.http.access import refuse_foreign_bind
from tidemill.serving.http.metrics import last_heartbeat
from tidemill.serving.infer.model_statistics import PATTERN
from tidemill.serving.live.folder_watch import FolderWatch
from tidemill.serving.live.state_files import read_state, write_state
from tidemill.serving.process.child_process import Child
from tidemill.serving.process.hot_swap import HotSwaps
from tidemill.serving.process.server_state import SERVER, ServerState, State, reserved_port, single_server
from tidemill.serving.process.worker_site import WORKERS, WorkerReport

_log = logging.getLogger(__name__)

_TICK_S = 0.05
#: A worker without a heartbeat for this long is considered hanging.
_HANGING_S = 30.0
_STOP_S = 15.0


class ServerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The processes and addresses of a server."""

    #: The project's `.tidemill/serving/`, absolute.
    root: str
    host: str
    port: int
    workers: int
    drain_s: float
    #: One API worker; its further arguments are `place`, `host`, `port` and `parent`.
    worker: ProcessStart
    #: Opens the blob store in the supervisor, which verifies bundles.
    blobs: ProcessStart
    #: Other processes by name, each kept running: the log writer, the console.
    side_processes: dict[str, ProcessStart] = {}
    #: The ledger's public key in hex, which verifies deployments.
    public: str
    #: The port of the console, as reported in `server.json`; 0 where there is none.
    console_port: int = 0


class Supervisor:
    """Keeps the processes of a plan running until `stop` is called from a signal handler."""

    def __init__(self, plan: ServerPlan, clock: Clock) -> None:
        self._plan = plan
        self._root = Path(plan.root)
        self._clock = clock
        self._folder = self._root / WORKERS
        self._stopping = False
        #: Ends the drain.
        self._drained = threading.Event()
        #: Wakes the supervisor when `stop` is called: the end that is read, and the end that is written.
        self._stop_pipe: tuple[int, int] | None = None
        self._state: State = "starting"
        self._reported: ServerState | None = None
        self._swaps = HotSwaps(self._root, plan.blobs.call(), plan.public)
        self._workers: list[Child] = []
        self._side_processes: list[Child] = []
        self._port = plan.port

    def stop(self, number: int = signal.SIGTERM, *_: object) -> None:
        """Start the drain; end it at once on SIGINT, which comes from a terminal, or if it has started."""
        if self._stopping or number == signal.SIGINT:
            self._drained.set()
        self._stopping = True
        if self._stop_pipe is not None:
            os.write(self._stop_pipe[1], b"x")

    def run(self) -> None:
        """Serve until `stop`."""
        with single_server(self._root), reserved_port(self._plan.host, self._plan.port) as self._port:
            self._watch, self._stop_pipe = FolderWatch(), os.pipe()
            self._prepare()
            try:
                while not self._stopping:
                    try:
                        self._tick(time.monotonic())
                        self._watch.add([self._folder, *self._swaps.folders()])
                    except OSError as error:  # a full disk stops reports, not serving
                        _log.error("supervision failed: %s", error)
                        time.sleep(1.0)
                    self._wait()
                self._drain()
            finally:
                self._end()

    def _prepare(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for old in [*self._folder.glob("*.json"), *self._folder.glob(PATTERN)]:
            old.unlink()
        plan, about = self._plan, {"host": self._plan.host, "port": self._port, "parent": os.getpid()}
        self._workers = [
            Child(f"worker {place}", plan.worker.command(place=place, **about), place) for place in range(plan.workers)
        ]
        self._side_processes = [
            Child(name, start.command(parent=os.getpid())) for name, start in plan.side_processes.items()
        ]
        self._swaps.poll({}, plan.workers, time.monotonic())
        self._report()
        while self._swaps.verifying and not self._stopping:  # workers must not open an unverified bundle
            time.sleep(_TICK_S)
            self._swaps.poll({}, plan.workers, time.monotonic())

    def _wait(self) -> None:
        """Wait until a state file changes, a process ends, or `stop` is called."""
        children = [*self._workers, *self._side_processes]
        settled = self._state == "up" and not self._swaps.busy and all(child.ended_fd >= 0 for child in children)
        ends = [child.ended_fd for child in children if child.ended_fd >= 0]
        ends += [self._stop_pipe[0]] if self._stop_pipe is not None else []
        self._watch.wait(self._watch.timeout_s if settled else _TICK_S, ends)

    def _tick(self, now: float) -> None:
        for child in [*self._workers, *self._side_processes]:
            child.keep(now)
        self._kill_hanging(now)
        reports = self._worker_reports()
        self._swaps.poll(reports, self._plan.workers, now)
        if self._state == "starting" and len(reports) == self._plan.workers:
            self._state = "up"
            host = f"[{self._plan.host}]" if ":" in self._plan.host else self._plan.host
            console = f", console on http://{host}:{self._plan.console_port}" if self._plan.console_port else ""
            _log.info("up on http://%s:%d with %d workers%s", host, self._port, self._plan.workers, console)
        self._report()

    def _worker_reports(self) -> dict[int, WorkerReport]:
        """The reports of the running workers; those of dead ones are removed."""
        running = {child.pid for child in self._workers if child.running}
        reports = {}
        for path in self._folder.glob("*.json"):
            pid = int(path.stem) if path.stem.isdecimal() else 0
            if pid not in running:
                path.unlink(missing_ok=True)
                continue
            report = read_state(path, WorkerReport)
            if report is not None:
                reports[pid] = report
        return reports

    def _kill_hanging(self, now: float) -> None:
        for child in self._workers:
            if not child.running or child.place is None or now - child.started < 2 * _HANGING_S:
                continue
            silent_s = (to_micros(self._clock.now()) - last_heartbeat(self._folder, child.place)) / 1e6
            if silent_s > _HANGING_S:
                _log.error("%s has had no heartbeat for %.0f s: killing it", child.name, silent_s)
                child.signal(signal.SIGKILL)

    def _drain(self) -> None:
        """Report unready, so that a load balancer sends requests elsewhere; those that arrive are still served."""
        self._state = "draining"
        self._report()
        _log.info("draining for up to %g s", self._plan.drain_s)
        for child in self._workers:
            child.signal(signal.SIGUSR1)
        self._drained.wait(self._plan.drain_s)

    def _end(self) -> None:
        for group in (self._workers, self._side_processes):
            for child in group:
                child.signal(signal.SIGTERM)
            until = time.monotonic() + _STOP_S
            for child in group:
                child.wait(until)
        self._swaps.close()
        self._watch.close()
        pipe, self._stop_pipe = self._stop_pipe, None
        for end in pipe or ():
            os.close(end)
        self._state = "stopped"
        self._report()
        _log.info("stopped")

    def _report(self) -> None:
        replaced = sum(max(0, child.starts - 1) for child in self._workers)
        report = ServerState(
            pid=os.getpid(), host=self._plan.host, port=self._port, console_port=self._plan.console_port,
            state=self._state, workers=self._plan.workers, replaced=replaced, since=0,
        )  # fmt: skip
        if report != self._reported:
            self._reported = report
            write_state(self._root / SERVER, msgspec.structs.replace(report, since=to_micros(self._clock.now())))


def serve(plan: ServerPlan, clock: Clock | None = None) -> None:
    """Serve in this process until SIGTERM or Ctrl-C; call it from the main thread.

    Raises `AddressRefused` for an address that is not loopback, and `AlreadyServing` where this project is already
    served or the port is in use.
    """
    refuse_foreign_bind(plan.host)
    supervisor = Supervisor(plan, clock or SystemClock())
    previous = {number: signal.signal(number, supervisor.stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        supervisor.run()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
