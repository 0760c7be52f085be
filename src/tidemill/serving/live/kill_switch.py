"""Kill switch of a model: while it is off, the declared fallback responds or nothing does, even if all else is down.

The switch is `switch.json`, a file that every worker watches; it is written first. Where it is missing, `policy.json`
(its name in format 1) is read. The ledger entry follows. While the ledger is unavailable, the entry waits in a spool,
and is written later with the time of the switch. The file is created with the model and has a fixed size, so that it
can be overwritten in place on a full disk. A file that cannot be read means off.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from tidemill.core.clock import Clock, to_micros
from tidemill.core.errors import LedgerError, NotServed, nearest
from tidemill.core.identity.account import Account
from tidemill.core.storage.durable_files import sync_folder, write_durably
from tidemill.release import model_folder
from tidemill.serving.live.state_files import WatchedFile, is_disk_full, overwrite_in_place, read_state

FILE = "switch.json"
#: The name of the file in format 1; read where there is no `switch.json`.
OLD_FILE = "policy.json"
SPOOL = "spool.jsonl"
#: Bytes of a switch file, padded with spaces: it fits one block of any file system, and its size never grows.
_SIZE_BYTES = 1_024

#: Status of a switch's ledger entry: in the ledger, in the spool, or lost because the disk was full.
Line = Literal["written", "waiting", "lost"]


class SwitchState(msgspec.Struct, frozen=True):
    """Whether a model is off; since when (microseconds); `who` switched it and `why`."""

    off: bool
    since: int = 0
    who: str = ""
    why: str = ""
    format: int = 1


_UNREADABLE = SwitchState(off=True, why="its switch file cannot be read; `tidemill on` and `tidemill off` replace it")


class WatchedSwitch:
    """The switch in a model's folder, read again when it has changed; without a file the model is on."""

    def __init__(self, folder: Path) -> None:
        self._files = [WatchedFile(folder / name, SwitchState) for name in (FILE, OLD_FILE)]
        self.off = False

    def poll(self) -> None:
        """Load a changed switch; costs one `stat`."""
        for file in self._files:
            file.poll()
            if file.exists:
                self.off = file.content is None or file.is_unreadable or file.content.off
                return
        self.off = False


class SpooledEntry(msgspec.Struct, frozen=True):
    """A ledger entry that could not be written yet."""

    act: str
    about: str
    at: int
    #: The name of the account.
    who: str
    why: str
    #: `None` in a spool of an older version.
    account: Account | None = None


class SwitchLedger(Protocol):
    """The part of the ledger that the switch writes to."""

    def append(
        self, act: str, *, about: str = "", details: Mapping[str, Any] = ..., account: Account | None = None
    ) -> object:
        """Add one entry."""
        ...


def switch_state(serving_root: Path, model: str) -> SwitchState:
    """The state of the switch; a model without a file is on."""
    return _state(model_folder(serving_root, model))


def _state(folder: Path) -> SwitchState:
    for path in (folder / FILE, folder / OLD_FILE):
        if path.exists():
            return read_state(path, SwitchState) or _UNREADABLE
    return SwitchState(off=False)


def create_switch_file(folder: Path) -> None:
    """Create the switch file in a model's folder, unless it exists: a concurrent `switch` has priority.

    The state is on, or that of the file of format 1.
    """
    path = folder / FILE
    if path.exists():
        return
    temporary = folder / f".{FILE}.{os.getpid()}"
    try:
        write_durably(temporary, _fitted(_state(folder)))
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(folder)


def switch(
    serving_root: Path, model: str, *, off: bool, account: Account, why: str, clock: Clock, ledger: SwitchLedger | None
) -> Line:
    """Switch `model` off or on for `account`, and return the status of its ledger entry.

    Raises `NotServed` for a model that was never promoted here. A missing, locked or damaged ledger does not delay the
    switch: pass `None` where it cannot be opened. Nor does a full disk, on which the entry may be lost, and also text
    that does not fit into the switch file: first `why`, then `who`.
    """
    folder = model_folder(serving_root, model)
    if not folder.is_dir():
        raise NotServed(f"no model {model!r} was promoted here", tip=nearest(model, served(serving_root)))
    at, who = to_micros(clock.now()), str(account)
    _write(folder, SwitchState(off, at, who, why))
    try:
        _spool(serving_root, SpooledEntry("off" if off else "on", f"model:{model}", at, who, why, account))
    except OSError as error:
        if not is_disk_full(error):
            raise
        return "lost"
    try:
        return "written" if ledger is not None and flush_spool(serving_root, ledger) else "waiting"
    except OSError as error:
        if not is_disk_full(error):
            raise
        return "waiting"


def _write(folder: Path, state: SwitchState) -> None:
    """Replace the file atomically, or overwrite the existing one where the disk has no space for a second file."""
    try:
        write_durably(folder / FILE, _padded(state))
    except OSError as error:
        existing = next((folder / name for name in (FILE, OLD_FILE) if (folder / name).exists()), None)
        if not is_disk_full(error) or existing is None:
            raise
        overwrite_in_place(existing, _fitted(state))


def _fitted(state: SwitchState) -> bytes:
    """The content of the file within its fixed size; text that does not fit is omitted: first `why`, then `who`."""
    shorter = (state, SwitchState(state.off, state.since, state.who), SwitchState(state.off, state.since))
    return next(text for text in map(_padded, shorter) if len(text) <= _SIZE_BYTES)


def _padded(state: SwitchState) -> bytes:
    return msgspec.json.encode(state).ljust(_SIZE_BYTES)


def served(serving_root: Path) -> list[str]:
    """The models that have a pointer here."""
    return sorted(path.parent.name for path in serving_root.glob("*/live.json"))


def flush_spool(serving_root: Path, ledger: SwitchLedger) -> int:
    """Write the waiting entries, oldest first; returns how many were written. Failed entries stay in the spool.

    An entry is written before it is removed from the spool: after a crash in between it is written twice, never lost.
    """
    written = 0
    with _spool_lock(serving_root):
        waiting = spooled(serving_root)
        for entry in waiting:
            try:
                ledger.append(
                    entry.act,
                    about=entry.about,
                    details={"thrown_at": entry.at, "why": entry.why},
                    account=entry.account or Account(name=entry.who),
                )
            except (LedgerError, OSError):
                break
            written += 1
            _write_spool(serving_root / SPOOL, waiting[written:])
    return written


def spooled(serving_root: Path) -> list[SpooledEntry]:
    """The entries that wait for the ledger."""
    try:
        lines = (serving_root / SPOOL).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [msgspec.json.decode(line, type=SpooledEntry) for line in lines if line]


def _spool(serving_root: Path, waiting: SpooledEntry) -> None:
    with _spool_lock(serving_root):
        _write_spool(serving_root / SPOOL, [*spooled(serving_root), waiting])


def _write_spool(path: Path, waiting: list[SpooledEntry]) -> None:
    write_durably(path, b"".join(msgspec.json.encode(line) + b"\n" for line in waiting))


@contextmanager
def _spool_lock(serving_root: Path) -> Iterator[None]:
    """Lock the spool for this process; the kernel releases the lock if the process dies."""
    fd = os.open(serving_root / f"{SPOOL}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
