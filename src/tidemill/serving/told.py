"""What a running server tells of itself in `server.json`, for whoever looks it up."""

from __future__ import annotations

from typing import ClassVar, Literal

from tidemill.core.record_format import VersionedRecord

SERVER = "server.json"
State = Literal["starting", "up", "draining", "stopped"]


class Serving(VersionedRecord, frozen=True, kw_only=True):
    """What is told of a running server in `server.json`."""

    KIND: ClassVar[str] = "server state"
    REQUIRED: ClassVar[tuple[str, ...]] = ("pid", "port", "state")

    pid: int = 0
    host: str = ""
    port: int = 0
    console_port: int = 0
    state: State = "starting"
    workers: int = 0
    since: int = 0
    #: Workers that were replaced since it started.
    replaced: int = 0
