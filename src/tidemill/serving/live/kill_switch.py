"""Kill switch of a model: while it is off, the declared fallback responds or nothing does, even if all else is down.

The switch is `switch.json`, a file that every worker watches; it is written first. Where there is none, `policy.json`
counts, its name in format 1. The ledger line follows. While the ledger is unavailable the line waits in a spool, and is
written later with the time at which the switch was used. The file is created with the model and has a fixed size, so
that on a full disk it can be overwritten in place.
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
from tidemill.core.storage.durable_files import sync_folder, write_durably
from tidemill.release import model_folder
from tidemill.serving.live.state_files import WatchedFile, is_disk_full, overwrite_in_place, read_state

FILE = "switch.json"
#: The name of the file in format 1; read where there is no `switch.json`.
OLD_FILE = "policy.json"
SPOOL = "spool.jsonl"
#: Bytes of a switch file, padded with spaces: within one block of any file system, so that its size never grows.
_SIZE_BYTES = 1_024

#: Where the ledger line of a switch is: in the ledger, in the spool, or nowhere, because the disk was full.
Line = Literal["written", "waiting", "lost"]


class SwitchState(msgspec.Struct, frozen=True):
    """Whether a model is off; since when (microseconds); `who` switched it and `why`."""

    off: bool = False
    since: int = 0
    who: str = ""
    why: str = ""
    format: int = 1


class WatchedSwitch:
    """The switch in a model's folder, read again when it has changed; without a file it is on."""

    def __init__(self, folder: Path) -> None:
        self._file = WatchedFile(folder / FILE, SwitchState)
        self._old_file = WatchedFile(folder / OLD_FILE, SwitchState)
        self.off = False

    def poll(self) -> None:
        """Load a changed switch; costs one `stat`."""
        self._file.poll()
        found = self._file.content
        if found is None and not self._file.path.exists():
            self._old_file.poll()
            found = self._old_file.content
        self.off = found is not None and found.off


class SpooledEntry(msgspec.Struct, frozen=True):
    """A ledger line that could not be written yet."""

    act: str
    about: str
    at: int
    who: str
    why: str


class SwitchLedger(Protocol):
    """The part of the ledger that the switch writes to."""

    def append(self, act: str, *, about: str = "", details: Mapping[str, Any] = ...) -> object:
        """Add one line."""
        ...


def switch_state(serving_root: Path, model: str) -> SwitchState:
    """The state of the switch; a model without a file is on."""
    return _state(model_folder(serving_root, model))


def _state(folder: Path) -> SwitchState:
    path = folder / FILE
    return read_state(path if path.exists() else folder / OLD_FILE, SwitchState) or SwitchState()


def create_switch_file(folder: Path) -> None:
    """Create the switch file in a model's folder, unless there is one: a concurrent `switch` wins.

    It is on, or as in the file of format 1.
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
    serving_root: Path, model: str, *, off: bool, who: str, why: str, clock: Clock, ledger: SwitchLedger | None
) -> Line:
    """Switch `model` off or on, and return where its ledger line is.

    Raises `NotServed` for a model that was never promoted here. A ledger that is missing, locked or damaged does not
    delay the switch: pass `None` where it cannot be opened. Nor does a full disk, on which the line may be lost, and
    so may what does not fit into the switch file: the `why`, then the `who`.
    """
    folder = model_folder(serving_root, model)
    if not folder.is_dir():
        raise NotServed(f"no model {model!r} was promoted here", tip=nearest(model, served(serving_root)))
    at = to_micros(clock.now())
    _write(folder, SwitchState(off, at, who, why))
    try:
        _spool(serving_root, SpooledEntry("off" if off else "on", f"model:{model}", at, who, why))
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
    """Replace the file atomically, or overwrite the existing one where the disk has no room for another one."""
    try:
        write_durably(folder / FILE, _padded(state))
    except OSError as error:
        existing = next((folder / name for name in (FILE, OLD_FILE) if (folder / name).exists()), None)
        if not is_disk_full(error) or existing is None:
            raise
        overwrite_in_place(existing, _fitted(state))


def _fitted(state: SwitchState) -> bytes:
    """The content of the file within its size; what does not fit is left out: the `why`, then the `who`."""
    shorter = (state, SwitchState(state.off, state.since, state.who), SwitchState(state.off, state.since))
    return next(text for text in map(_padded, shorter) if len(text) <= _SIZE_BYTES)


def _padded(state: SwitchState) -> bytes:
    return msgspec.json.encode(state).ljust(_SIZE_BYTES)


def served(serving_root: Path) -> list[str]:
    """The models that have a pointer here."""
    return sorted(path.parent.name for path in serving_root.glob("*/live.json"))


def flush_spool(serving_root: Path, ledger: SwitchLedger) -> int:
    """Write the waiting lines, oldest first; how many were written. A line that fails stays in the spool.

    A line is written before it leaves the spool: a crash in between writes it twice rather than never.
    """
    written = 0
    with _spool_lock(serving_root):
        waiting = spooled(serving_root)
        for line in waiting:
            try:
                ledger.append(
                    line.act, about=line.about, details={"thrown_at": line.at, "who": line.who, "why": line.why}
                )
            except (LedgerError, OSError):
                break
            written += 1
            _write_spool(serving_root / SPOOL, waiting[written:])
    return written


def spooled(serving_root: Path) -> list[SpooledEntry]:
    """The lines that wait for the ledger."""
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
