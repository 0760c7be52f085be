"""The switch of a model: off answers by the declared fallback or not at all, whatever else is down.

The switch is a file that every worker watches, written first. Its ledger line follows; while the ledger is away the
line waits in a spool and is written when it is back, with the time at which the switch was thrown. The file is there
from the model's first day on and takes a fixed room, so that on a full disk it is written over where it stands.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from tidemill.core.clock import Clock, micros
from tidemill.core.durable import sync_folder, write_durably
from tidemill.core.errors import LedgerError, NotServed, nearest
from tidemill.release import model_folder
from tidemill.serving.files import load, no_room, overwrite

POLICY = "policy.json"
SPOOL = "spool.jsonl"
#: Bytes of a policy file, filled up with spaces: within one block of any file system, and never more later.
_ROOM = 1_024

#: Where the ledger line of a thrown switch is: in the ledger, in the spool, or nowhere, because a disk was full.
Line = Literal["written", "waiting", "lost"]


class Policy(msgspec.Struct, frozen=True):
    """How a model answers: `off` by its fallback; `since` in microseconds; `who` threw the switch and `why`."""

    off: bool = False
    since: int = 0
    who: str = ""
    why: str = ""


class Waiting(msgspec.Struct, frozen=True):
    """A ledger line that could not be written yet."""

    act: str
    about: str
    at: int
    who: str
    why: str


class Lines(Protocol):
    """The part of the ledger that the switch writes to."""

    def append(self, act: str, *, about: str = "", details: Mapping[str, Any] = ...) -> object:
        """Add one line."""
        ...


def policy(serving_root: Path, model: str) -> Policy:
    """The policy in force; a model without a file is on."""
    return load(model_folder(serving_root, model) / POLICY, Policy) or Policy()


def make_room(folder: Path) -> None:
    """Put the policy file "on" into a model's folder, unless there is one: who throws the switch meanwhile wins."""
    path = folder / POLICY
    if path.exists():
        return
    ready = folder / f".{POLICY}.{os.getpid()}"
    try:
        write_durably(ready, _filled(Policy()))
        with suppress(FileExistsError):
            os.link(ready, path)
    finally:
        ready.unlink(missing_ok=True)
    sync_folder(folder)


def switch(
    serving_root: Path, model: str, *, off: bool, who: str, why: str, clock: Clock, ledger: Lines | None
) -> Line:
    """Throw the switch of `model` and say where its ledger line is.

    Raises `NotServed` for a model that was never promoted here. A ledger that is gone, locked or damaged does not
    hold the switch up: hand in `None` where it does not even open. Nor does a full disk, which may cost the line, and
    of the policy file what does not fit into it: the `why`, then the `who`.
    """
    folder = model_folder(serving_root, model)
    if not folder.is_dir():
        raise NotServed(f"no model {model!r} was promoted here", tip=nearest(model, served(serving_root)))
    at = micros(clock.now())
    _put(folder / POLICY, Policy(off, at, who, why))
    try:
        _spool(serving_root, Waiting("off" if off else "on", f"model:{model}", at, who, why))
    except OSError as error:
        if not no_room(error):
            raise
        return "lost"
    try:
        return "written" if ledger is not None and settle(serving_root, ledger) else "waiting"
    except OSError as error:
        if not no_room(error):
            raise
        return "waiting"


def _put(path: Path, policy: Policy) -> None:
    """Replace the file at once, or write over it where the disk has no room for another one."""
    try:
        write_durably(path, _filled(policy))
    except OSError as error:
        if not no_room(error) or not path.exists():
            raise
        shorter = (policy, Policy(policy.off, policy.since, policy.who), Policy(policy.off, policy.since))
        overwrite(path, next(text for text in map(_filled, shorter) if len(text) <= _ROOM))


def _filled(policy: Policy) -> bytes:
    return msgspec.json.encode(policy).ljust(_ROOM)


def served(serving_root: Path) -> list[str]:
    """The models that have a pointer here."""
    return sorted(path.parent.name for path in serving_root.glob("*/live.json"))


def settle(serving_root: Path, ledger: Lines) -> int:
    """Write the waiting lines, oldest first, and say how many; what fails keeps waiting.

    A line is written before it leaves the spool: a crash in between writes it twice rather than never.
    """
    written = 0
    with _alone(serving_root):
        waiting = spooled(serving_root)
        for line in waiting:
            try:
                ledger.append(
                    line.act, about=line.about, details={"thrown_at": line.at, "who": line.who, "why": line.why}
                )
            except (LedgerError, OSError):
                break
            written += 1
            _keep(serving_root / SPOOL, waiting[written:])
    return written


def spooled(serving_root: Path) -> list[Waiting]:
    """The lines that wait for the ledger."""
    try:
        lines = (serving_root / SPOOL).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [msgspec.json.decode(line, type=Waiting) for line in lines if line]


def _spool(serving_root: Path, waiting: Waiting) -> None:
    with _alone(serving_root):
        _keep(serving_root / SPOOL, [*spooled(serving_root), waiting])


def _keep(path: Path, waiting: list[Waiting]) -> None:
    write_durably(path, b"".join(msgspec.json.encode(line) + b"\n" for line in waiting))


@contextmanager
def _alone(serving_root: Path) -> Iterator[None]:
    """One process at a time on the spool; the kernel frees it."""
    fd = os.open(serving_root / f"{SPOOL}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
