"""Server state: `server.json`, and the locks on project and port that one running server holds."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from tidemill.core.errors import AlreadyServing
from tidemill.core.record_format import VersionedRecord
from tidemill.serving.live.state_files import read_state


@contextlib.contextmanager
def single_server(root: Path) -> Iterator[None]:
    """One server of a project at a time; the kernel releases the lock if the process dies."""
    root.mkdir(parents=True, exist_ok=True)
    fd = os.open(root / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        state = read_state(root / SERVER, ServerState)
        by = f" by process {state.pid} on port {state.port}" if state else ""
        raise AlreadyServing(f"this project is already served{by}", tip="stop it with Ctrl-C or SIGTERM") from None
    finally:
        os.close(fd)


@contextlib.contextmanager
def reserved_port(host: str, port: int) -> Iterator[int]:
    """Reserve the port (0: a free one) while workers start and stop.

    Workers share it with SO_REUSEPORT, which would also let a second server bind it unnoticed. So the port must first
    be free without SO_REUSEPORT, and a bound socket that does not listen keeps it reserved.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            raise AlreadyServing(
                f"cannot bind to {host}:{port}: {error.strerror}", tip="stop the other program, or set another port"
            ) from error
        free_port = probe.getsockname()[1]
    with socket.socket(family) as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind((host, free_port))
        yield free_port


SERVER = "server.json"
State = Literal["starting", "up", "draining", "stopped"]


class ServerState(VersionedRecord, frozen=True, kw_only=True):
    """The state of a running server in `server.json`."""

    KIND: ClassVar[str] = "server state"
    REQUIRED: ClassVar[tuple[str, ...]] = ("pid", "port", "state")

    pid: int = 0
    host: str = ""
    port: int = 0
    console_port: int = 0
    state: State = "starting"
    workers: int = 0
    since: int = 0
    #: Workers that were replaced since the server started.
    replaced: int = 0
