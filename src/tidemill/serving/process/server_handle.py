"""Server handle: start a server in a child process, wait until it is up or a release is live, stop it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType

import msgspec

from tidemill.core.errors import NotReady
from tidemill.core.processes.start_process import ProcessStart
from tidemill.release.live_deployment import promoted_models
from tidemill.serving.live.state_files import read_state
from tidemill.serving.process.hot_swap import STATE, SwapState
from tidemill.serving.process.server_state import SERVER, ServerState
from tidemill.serving.process.supervisor import ServerPlan, serve

LOG = "server.log"


def run_plan(plan: str) -> None:
    """Serve a plan in JSON: the target of `start`."""
    serve(msgspec.json.decode(plan, type=ServerPlan))


class ServerHandle:
    """A server in a child process; as a context manager it is stopped on exit."""

    def __init__(self, plan: ServerPlan, process: subprocess.Popen[bytes]) -> None:
        self.plan = plan
        self._root = Path(plan.root)
        self._process = process

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self._process.pid

    @property
    def port(self) -> int:
        """The API's port; known once the server is starting."""
        state = self._state()
        return state.port if state else self.plan.port

    @property
    def url(self) -> str:
        """The URL of the API."""
        host = f"[{self.plan.host}]" if ":" in self.plan.host else self.plan.host
        return f"http://{host}:{self.port}"

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Return when every worker responds and every promoted release is live; `NotReady` lists what is missing."""
        end = time.monotonic() + timeout_s
        while True:
            state = self._state()
            missing = [] if state and state.state == "up" else ["workers are starting"]
            missing += missing_releases(self._root)
            if not missing:
                return
            _raise_failed(self._root)
            if self._process.poll() is not None:
                raise NotReady(f"the server ended with status {self._process.returncode}", tip=f"see {self._log()}")
            if time.monotonic() > end:
                raise NotReady(
                    f"the server is not up after {timeout_s:g} s: {'; '.join(missing)}", tip=f"see {self._log()}"
                )
            time.sleep(0.02)

    def stop(self, timeout_s: float = 60.0) -> int:
        """Let it finish the requests in progress and move the log, without the wait of a drain; returns the exit
        status (0 unless it failed).
        """
        state = self._state()
        if self._process.poll() is None and (state is None or state.state != "stopped"):
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:  # its children end with it
            self._process.kill()
            return self._process.wait()

    def __enter__(self) -> ServerHandle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _state(self) -> ServerState | None:
        state = read_state(self._root / SERVER, ServerState)
        return state if state is not None and state.pid == self._process.pid else None

    def _log(self) -> Path:
        return self._root / LOG


def start(plan: ServerPlan) -> ServerHandle:
    """Serve in a child process, which ends with this process. Its log is `server.log` in the root."""
    root = Path(plan.root)
    root.mkdir(parents=True, exist_ok=True)
    arguments = {"plan": msgspec.json.encode(plan).decode()}
    command = ProcessStart("tidemill.serving.process.server_handle:run_plan", arguments).command(parent=os.getpid())
    with (root / LOG).open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    return ServerHandle(plan, process)


def missing_releases(root: Path) -> list[str]:
    """Messages on the promoted releases that are not live in every worker, as the running server reports them.

    Where a release was withdrawn, the last valid one is served and nothing is missing.
    """
    missing = []
    for model in promoted_models(root):
        state = swap_state(root, model)
        if state is None or (state.state != "live" and not (state.state == "failed" and _other(state))):
            missing.append(f"{model} is {state.state if state else 'not yet verified'}")
    return missing


def _other(state: SwapState) -> bool:
    """Whether another release than the promoted one is served."""
    return state.serving not in ("", state.wanted)


def _raise_failed(root: Path) -> None:
    for model in promoted_models(root):
        state = swap_state(root, model)
        if state is not None and state.state == "failed" and not _other(state):
            raise NotReady(f"{state.wanted or model} could not be loaded, and there is no other release: {state.why}")


def swap_state(root: Path, model: str) -> SwapState | None:
    """The state of the last swap of a model, as the server reported it."""
    return read_state(root / model / STATE, SwapState)


def is_serving(root: Path) -> ServerState | None:
    """The running server of a project; `None` where there is none."""
    state = read_state(root / SERVER, ServerState)
    if state is None or state.state == "stopped":
        return None
    try:
        os.kill(state.pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return state
    return state


def wait_live(root: Path, model: str, release: str, timeout_s: float = 60.0) -> SwapState:
    """Return when every worker serves `release` (`for_you@3`); `NotReady` where it is withdrawn or times out."""
    end = time.monotonic() + timeout_s
    while True:
        state = swap_state(root, model)
        if state is not None and state.wanted == release:
            if state.state == "live":
                return state
            if state.state == "failed":
                raise NotReady(
                    f"{release} did not go live: {state.why}", tip=f"{state.serving or 'no other release'} stays live"
                )
        if time.monotonic() > end:
            raise NotReady(f"{release} is not live in every worker after {timeout_s:g} s")
        time.sleep(0.02)
