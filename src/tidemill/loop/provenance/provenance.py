"""Provenance of a training: commit, environment and machine, and the stored code and environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tidemill.core.canonical import fingerprint
from tidemill.core.errors import TidemillError
from tidemill.core.installed_packages import installed_packages
from tidemill.loop.project.stores import Stores
from tidemill.loop.provenance.code_snapshot import CHANGES, git_output, keep_changes, keep_code
from tidemill.loop.provenance.code_snapshot import KIND as CODE
from tidemill.loop.provenance.environment_lock import KIND as ENVIRONMENT
from tidemill.loop.provenance.environment_lock import environment_lock, keep_environment
from tidemill.training import RunTracker

_CPU = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Provenance:
    """The provenance of a run in the ledger."""

    #: `None` outside a git checkout; `changed` is whether files differ from the commit.
    commit: str | None
    changed: bool
    #: sha256 over the name and version of every installed distribution.
    environment: str
    #: A sentence: the number of cores and the processor.
    machine: str


def collect_provenance(project: Path) -> Provenance:
    """The provenance of this process, for the code in `project`."""
    commit = (git_output(project, "rev-parse", "HEAD") or "").strip() or None
    # If git cannot report differences, the commit is not reliable.
    changed = commit is not None and git_output(project, "status", "--porcelain") != ""
    return Provenance(commit, changed, environment(), machine())


def keep_code_of(stores: Stores, run: RunTracker, around: Provenance) -> None:
    """Store the project's current code with a starting run, and its diff to the commit.

    If it cannot be stored, the training continues and the run has a note.
    """
    model = run.name.partition("#")[0]
    try:
        run.keep(CODE, f"{CODE}:{model}@{keep_code(stores.blobs, stores.project)}")
        changes = keep_changes(stores.blobs, stores.project, around.commit) if around.commit and around.changed else ""
    except (TidemillError, SyntaxError, OSError) as problem:
        run.note(f"its code could not be stored, so it cannot be reproduced: {_message(problem)}")
        return
    if changes:
        run.keep(CHANGES, f"{CHANGES}:{model}@{changes}")


def keep_environment_of(stores: Stores, run: RunTracker) -> None:
    """Store the environment with an ending run, when every library that it needed is loaded."""
    model = run.name.partition("#")[0]
    try:
        kept = keep_environment(stores.blobs, environment_lock(stores.project))
    except (TidemillError, OSError) as problem:
        run.note(f"its environment could not be stored: {_message(problem)}")
        return
    run.keep(ENVIRONMENT, f"{ENVIRONMENT}:{model}@{kept}")


def artefact_id(run_artefacts: Mapping[str, str], what: str) -> str:
    """The name of a run's artifact: 64 hex digits, empty if there is none.

    >>> artefact_id({"code": "code:for_you@4be1"}, "code")
    '4be1'
    """
    return run_artefacts.get(what, "").rpartition("@")[2]


def _message(problem: Exception) -> str:
    return problem.message if isinstance(problem, TidemillError) else type(problem).__name__


def environment() -> str:
    """sha256 over the name and version of every installed distribution."""
    installed = sorted({f"{found.name}=={found.version}" for found in installed_packages()})
    return fingerprint({"installed": installed})


def machine() -> str:
    """The number and type of the cores of this process: `on 2 cores of Intel(R) Xeon(R) CPU`."""
    try:
        named = re.search(r"^model name\s*:\s*(.+)$", _CPU.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        named = None
    return f"on {len(os.sched_getaffinity(0))} cores of {named[1] if named else 'an unknown processor'}"
