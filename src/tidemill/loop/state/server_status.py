"""Server status from the state files of its processes, without the ledger."""

from __future__ import annotations

import os
from pathlib import Path

from tidemill.core.errors import TidemillError
from tidemill.core.record_format import Record
from tidemill.core.records.deployment import Deployment
from tidemill.release import model_folder, read_deployment
from tidemill.serving import is_serving, swap_state, switch_state
from tidemill.serving.live.state_files import read_state
from tidemill.serving.process.worker_site import WORKERS, WorkerReport


class ServedModel(Record, frozen=True):
    """One model as served."""

    model: str
    #: The serving release and the promoted one; they differ during a swap and after a failed swap.
    release: str | None
    promoted: str | None
    #: Number of workers that serve `release`, and of all workers; 0 of 0 if no server runs.
    here: int
    workers: int
    off: bool
    off_since: int | None
    #: Why the pointer cannot be read, or why the promoted release did not start.
    problem: str | None
    #: Whether `problem` is about the pointer.
    unreadable: bool = False
    #: The reason given for switching it off.
    off_why: str = ""


def served(serving_root: Path, model: str, public: str) -> ServedModel:
    """The state of `model` on the server, and whether all workers have swapped to it.

    `public` is the ledger's public key in hex.
    """
    try:
        model_folder(serving_root, model)
    except TidemillError as error:  # a name that cannot be a folder is not served, and the page says so
        return ServedModel(
            model=model,
            release=None,
            promoted=None,
            here=0,
            workers=0,
            off=False,
            off_since=None,
            problem=error.message,
        )
    running = workers(serving_root)
    live, problem = _deployment(serving_root, model, public)
    unreadable = problem is not None
    promoted = live.champion.release.name if live else None
    swap = swap_state(serving_root, model) if running else None
    release = (swap.serving or None) if swap else promoted
    if swap is not None and swap.state == "failed" and not unreadable:
        problem = f"{swap.wanted} did not go live: {swap.why}"
    switch = switch_state(serving_root, model, public)
    return ServedModel(
        model=model,
        release=release,
        promoted=promoted,
        here=sum(1 for worker in running if release and worker.live.get(model) == release),
        workers=len(running),
        off=switch.off,
        off_since=switch.since if switch.off else None,
        off_why=switch.why if switch.off else "",
        problem=problem,
        unreadable=unreadable,
    )


def workers(serving_root: Path) -> list[WorkerReport]:
    """The workers of the running server, by file name; none if no server runs."""
    if is_serving(serving_root) is None:
        return []
    found = [read_state(path, WorkerReport) for path in sorted((serving_root / WORKERS).glob("*.json"))]
    return [worker for worker in found if worker is not None and _alive(worker.pid)]


def _deployment(serving_root: Path, model: str, public: str) -> tuple[Deployment | None, str | None]:
    try:
        return read_deployment(serving_root, model, public), None
    except TidemillError as error:
        return None, error.message


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
