"""The processes of a project, wherever they stand in the process tree, and what each of them is."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

#: The variable of the environment that marks a project's processes.
MARK = "PROJECT_OF_KILLS"
_SERVER = {
    "tidemill.loop.serve.server_processes:worker": "worker",
    "tidemill.loop.serve.server_processes:log_writer": "log writer",
    "tidemill.console.web.console_process:run": "console",
}


@dataclass(frozen=True)
class ProjectProcess:
    """A running process, what it is, and when it started, in ticks of the kernel."""

    pid: int
    role: str
    started: int


class ProjectProcesses:
    """All processes that were started with this mark, or by one of these, and still run."""

    def __init__(self, project: Path) -> None:
        self._project = str(project).encode()
        self._mark = secrets.token_hex(8)
        #: Process -> what its command is, for those whose parent has ended since.
        self._roles: dict[tuple[int, int], str] = {}

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process of the project."""
        return os.environ | {MARK: self._mark}

    def running(self) -> list[ProjectProcess]:
        """Those that run now."""
        parents: dict[int, tuple[int, int]] = {}
        words: dict[int, list[bytes]] = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                line = (path / "cmdline").read_bytes()
                if f"{MARK}={self._mark}".encode() in (path / "environ").read_bytes() or self._project in line:
                    fields = (path / "stat").read_text().rpartition(")")[2].split()
                    if fields[0] != "Z":
                        parents[int(path.name)] = (int(fields[1]), int(fields[19]))
                        words[int(path.name)] = line.split(b"\0")
            except OSError:
                continue
        own = {pid: name for pid in words if (name := _role(words[pid], parents[pid][0] in words)) is not None}
        found = []
        for pid, (parent, started) in parents.items():
            role = own.get(pid) or self._roles.get((pid, started))
            while role is None:
                role = f"child of {own[parent]}" if parent in own else None if parent in parents else "child"
                parent = parents.get(parent, (0, 0))[0]
            found.append(ProjectProcess(pid, self._roles.setdefault((pid, started), role), started))
        return [one for one in found if one.pid != os.getpid()]


def _role(words: list[bytes], has_parent: bool) -> str | None:
    """What a process is by its command; `None` if that says nothing."""
    named = [word.decode(errors="replace") for word in words]
    if "tidemill.core.processes.start_process" in named:
        return next((role for target, role in _SERVER.items() if target in named), None)
    place = next((i for i, word in enumerate(named) if word.endswith("/tidemill")), None)
    if place is None or has_parent or place + 1 >= len(named):
        return None
    return {"serve": "supervisor"}.get(named[place + 1], named[place + 1])
