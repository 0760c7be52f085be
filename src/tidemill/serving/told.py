"""What a running server tells of itself in `server.json`, for whoever looks it up."""

from __future__ import annotations

from typing import Literal

import msgspec

SERVER = "server.json"
State = Literal["starting", "up", "draining", "stopped"]


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a running server in `server.json`."""

    pid: int
    host: str
    port: int
    console_port: int
    state: State
    workers: int
    since: int
    #: Workers that were replaced since it started.
    replaced: int = 0
