"""What a training was done with: the commit of the code, the installed libraries, the machine."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tidemill.core.canonical import fingerprint

_CPU = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Surroundings:
    """What the ledger keeps of them."""

    #: `None` outside of a git checkout; `changed` is whether files differ from the commit.
    commit: str | None
    changed: bool
    #: sha256 over the name and version of every installed distribution.
    environment: str
    #: A sentence: how many cores of what.
    machine: str


def surroundings(project: Path) -> Surroundings:
    """The surroundings of this process, for the code in `project`."""
    commit = _git(project, "rev-parse", "HEAD") or None
    # Where git cannot say what differs, nobody may rely on the commit.
    changed = commit is not None and _git(project, "status", "--porcelain") != ""
    return Surroundings(commit, changed, environment(), machine())


def environment() -> str:
    """sha256 over the name and version of every installed distribution."""
    installed = sorted({f"{found.name}=={found.version}" for found in metadata.distributions()})
    return fingerprint({"installed": installed})


def machine() -> str:
    """How many cores of what this process may use: `on 2 cores of Intel(R) Xeon(R) CPU`."""
    try:
        named = re.search(r"^model name\s*:\s*(.+)$", _CPU.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        named = None
    return f"on {len(os.sched_getaffinity(0))} cores of {named[1] if named else 'an unnamed processor'}"


def _git(project: Path, *words: str) -> str | None:
    """What git says; `None` where there is none, or no checkout."""
    try:
        found = subprocess.run(
            ["git", "-C", str(project), *words], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
