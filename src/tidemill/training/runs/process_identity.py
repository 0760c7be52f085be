"""The identity of the process of a run (machine, boot, process, start), to tell whether it is still alive."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path
from typing import Any

_PROC = Path("/proc")


def process_identity() -> dict[str, Any]:
    """The identity of the calling process, as integers and texts for a ledger entry; the machine only as a hash."""
    return {
        "machine": _machine(),
        "boot": _read(_PROC / "sys/kernel/random/boot_id"),
        "space": _space(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
    }


def is_gone(place: dict[str, Any], here: dict[str, Any]) -> bool:
    """Whether the process at `place`, seen from `here`, is known to be dead; `False` if its state is unknown."""
    if not place.get("boot") or place.get("machine") != here["machine"]:
        return False
    if place["boot"] != here["boot"]:  # the machine was restarted since
        return True
    if place.get("space") != here["space"]:  # another container on the same machine
        return False
    started = _started(int(place["pid"]))
    return not started or started != place["started"]


def _machine() -> str:
    name = f"{socket.gethostname()}\n{_read(Path('/etc/machine-id'))}"
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _space() -> str:
    try:
        return os.readlink(_PROC / "self/ns/pid")  # noqa: PTH115 - the link's text, which is not a path
    except OSError:
        return ""


def _started(pid: int) -> int:
    """Start of a process, in kernel ticks since boot; 0 if there is none or only a zombie."""
    # The name is in brackets and may contain anything; the next field is the state.
    fields = _read(_PROC / str(pid) / "stat").rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 and fields[0] not in "ZX" else 0


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
