"""Supervisor of `tidemill serve`: it keeps API workers and side processes running, and drains and stops them in order.

    from tidemill.serving import ServerPlan, ProcessStart, serve
    serve(ServerPlan(...))            # here, until SIGTERM or Ctrl-C
    server = start(ServerPlan(...))   # in a child process: server.wait_ready(), server.url, server.stop()

A worker that dies is replaced at once, one that hangs is killed and replaced. SIGTERM: report unready, wait `drain_s`,
stop the workers once their requests are finished, then the side processes (the log writer moves the rest of the log),
then itself.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path

import msgspec

from tidemill.core.clock import Clock, SystemClock, to_micros
from tidemill.serving.http.access import refuse_foreign_bind
from tidemill.serving.http.metrics import write_heartbeat
from tidemill.serving.live.state_files import read_state, write_state
from tidemill.serving.process.child_process import Child
from tidemill.serving.process.hot_swap import HotSwaps
from tidemill.serving.process.server_state import SERVER, ServerState, State, reserved_port, single_server
from tidemill.serving.process.start_process import ProcessStart
from tidemill.serving.process.worker_site import WORKERS, WorkerReport

_log = logging.getLogger(__name__)

_TICK_S = 0.05
#: A worker that has not looked round for so long hangs.
_HANGING_S = 30.0
_STOP_S = 15.0


class ServerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a server is made of."""

    #: The project's `.tidemill/serving/`, absolute.
    root: str
    host: str
    port: int
    workers: int
    drain_s: float
    #: One API worker; it is also given `place`, `host`, `port` and `parent`.
    worker: ProcessStart
    #: Opens the blob store, in the supervisor, which verifies bundles.
    blobs: ProcessStart
    #: Processes beside the workers by name, each kept running: the log writer, the console.
    beside: dict[str, ProcessStart] = {}
    #: What the console listens on, for those who look the server up; 0 where it has none.
    console_port: int = 0


class Supervisor:
    """Keeps the processes of a plan running until `stop` is called from a signal handler."""

    def __init__(self, plan: ServerPlan, clock: Clock) -> None:
        self._plan = plan
        self._root = Path(plan.root)
        self._clock = clock
        self._folder = self._root / WORKERS
        self._stopping = False
        self._state: State = "starting"
        self._told: ServerState | None = None
        self._swaps = HotSwaps(self._root, plan.blobs.call())
        self._workers: list[Child] = []
        self._beside: list[Child] = []
        self._port = plan.port

    def stop(self, *_: object) -> None:
        """Begin the drain."""
        self._stopping = True

    def run(self) -> None:
        """Serve until `stop`."""
        with single_server(self._root), reserved_port(self._plan.host, self._plan.port) as self._port:
            self._prepare()
            try:
                while not self._stopping:
                    try:
                        self._tick(time.monotonic())
                    except OSError as error:  # a full disk stops what is told, not what is served
                        _log.error("looking after the workers failed: %s", error)
                        time.sleep(1.0)
                    time.sleep(_TICK_S)
                self._drain()
            finally:
                self._end()

    def _prepare(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for old in self._folder.glob("*.json"):
            old.unlink()
        plan, about = self._plan, {"host": self._plan.host, "port": self._port, "parent": os.getpid()}
        self._workers = [
            Child(f"worker {place}", plan.worker.command(place=place, **about), place) for place in range(plan.workers)
        ]
        self._beside = [Child(name, start.command(parent=os.getpid())) for name, start in plan.beside.items()]
        self._swaps.poll({}, plan.workers, time.monotonic())
        self._tell()
        while self._swaps.verifying and not self._stopping:  # no worker opens what has not been read byte by byte
            time.sleep(_TICK_S)
            self._swaps.poll({}, plan.workers, time.monotonic())

    def _tick(self, now: float) -> None:
        for child in [*self._workers, *self._beside]:
            child.keep(now)
        self._kill_hanging(now)
        said = self._said()
        self._swaps.poll(said, self._plan.workers, now)
        if self._state == "starting" and len(said) == self._plan.workers:
            self._state = "up"
            _log.info("up on http://%s:%d with %d workers", self._plan.host, self._port, self._plan.workers)
        self._tell()

    def _said(self) -> dict[int, WorkerReport]:
        """What the running workers say; what dead ones left is removed."""
        running = {child.pid for child in self._workers if child.running}
        said = {}
        for path in self._folder.glob("*.json"):
            pid = int(path.stem) if path.stem.isdigit() else 0
            if pid not in running:
                path.unlink(missing_ok=True)
                continue
            found = read_state(path, WorkerReport)
            if found is not None:
                said[pid] = found
        return said

    def _kill_hanging(self, now: float) -> None:
        for child in self._workers:
            if not child.running or child.place is None or now - child.started < 2 * _HANGING_S:
                continue
            silent_s = (to_micros(self._clock.now()) - write_heartbeat(self._folder, child.place)) / 1e6
            if silent_s > _HANGING_S:
                _log.error("%s has been silent for %.0f s and is killed", child.name, silent_s)
                child.signal(signal.SIGKILL)

    def _drain(self) -> None:
        """Unready, so that a balancer looks elsewhere; meanwhile everything is answered and crashes are mended."""
        self._state = "draining"
        self._tell()
        _log.info("draining for %g s", self._plan.drain_s)
        for child in self._workers:
            child.signal(signal.SIGUSR1)
        time.sleep(self._plan.drain_s)

    def _end(self) -> None:
        for group in (self._workers, self._beside):
            for child in group:
                child.signal(signal.SIGTERM)
            until = time.monotonic() + _STOP_S
            for child in group:
                child.wait(until)
        self._swaps.close()
        self._state = "stopped"
        self._tell()
        _log.info("stopped")

    def _tell(self) -> None:
        replaced = sum(max(0, child.starts - 1) for child in self._workers)
        said = ServerState(
            pid=os.getpid(), host=self._plan.host, port=self._port, console_port=self._plan.console_port,
            state=self._state, workers=self._plan.workers, replaced=replaced, since=0,
        )  # fmt: skip
        if said != self._told:
            self._told = said
            write_state(self._root / SERVER, msgspec.structs.replace(said, since=to_micros(self._clock.now())))


def serve(plan: ServerPlan, clock: Clock | None = None) -> None:
    """Serve here until SIGTERM or Ctrl-C; call it from the main thread.

    Raises `AddressRefused` for an address beyond this machine, and `AlreadyServing` where this project is served
    already or the port is taken.
    """
    refuse_foreign_bind(plan.host)
    supervisor = Supervisor(plan, clock or SystemClock())
    before = {number: signal.signal(number, supervisor.stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        supervisor.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
