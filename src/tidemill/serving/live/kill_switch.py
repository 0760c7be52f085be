"""Kill switch of a model: while it is off, the declared fallback responds or nothing does, even if all else is down.

The switch is `switch.json`, a file that every worker watches; it is written first. Where it is missing, `policy.json`
(its name in format 1) is read. The ledger entry follows. While the ledger is unavailable, the entry waits in a spool,
and is written later with the time of the switch. The file is created by the first promotion and has a fixed size, so
that it can be overwritten in place on a full disk.

A model is on only if the file says so and is signed by the ledger's key. A file that says off means off whoever wrote
it; so does a missing, damaged or unsigned one, until `heal_switch` writes it again from the ledger.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import msgspec

from tidemill.core.clock import Clock, to_micros
from tidemill.core.errors import FormatTooNew, KeyMissing, LedgerError, NotServed, SignatureInvalid, nearest
from tidemill.core.identity.account import Account
from tidemill.core.identity.keys import Keys
from tidemill.core.identity.signed_record import decode_signed, sign_record
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.record_format import SignedRecord, decode_json, decode_record
from tidemill.core.storage.checked_json import checked_json, refuse_changed
from tidemill.core.storage.durable_files import write_durably
from tidemill.release import model_folder
from tidemill.release.live_deployment import LIVE, promoted_models
from tidemill.serving.live.state_files import file_stamp, is_disk_full, overwrite_in_place

_log = logging.getLogger(__name__)

FILE = "switch.json"
#: The name of the file in format 1; read where there is no `switch.json`.
OLD_FILE = "policy.json"
SPOOL = "spool.jsonl"
#: Bytes of a switch file, padded with spaces: it fits one block of any file system, and its size never grows.
_SIZE_BYTES = 1_024

#: Status of a switch's ledger entry: in the ledger, in the spool, or lost because the disk was full.
Line = Literal["written", "waiting", "lost"]


class SwitchState(SignedRecord, frozen=True):
    """Whether a model is off; since when (microseconds); `who` switched it and `why`."""

    KIND: ClassVar[str] = "kill switch"
    REQUIRED: ClassVar[tuple[str, ...]] = ("off",)

    off: bool = True
    since: int = 0
    who: str = ""
    why: str = ""


class WatchedSwitch:
    """The switch in a model's folder, read again when it has changed; `public` is the ledger's public key."""

    def __init__(self, folder: Path, public: str) -> None:
        self._folder = folder
        self._public = public
        self._stamp: object = ()
        self.off = True

    def poll(self) -> bool:
        """Load a changed switch, and return whether it has changed; costs one `stat`."""
        stamp = _stamp(self._folder / FILE) or _stamp(self._folder / OLD_FILE)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        self.off = stamp is None or _read(self._folder, self._public).state.off
        return True


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        return file_stamp(path)
    except OSError:
        return None


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


class _FoundSwitch(msgspec.Struct, frozen=True):
    """What a model's switch file says, whether it is signed, and what is wrong with it."""

    state: SwitchState
    is_signed: bool = False
    problem: str = ""


def _read(folder: Path, public: str) -> _FoundSwitch:
    for path in (folder / FILE, folder / OLD_FILE):
        try:
            body = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            return _unusable(f"cannot be read: {error.strerror}")
        try:
            return _FoundSwitch(decode_signed(body, SwitchState, public, folder.name), is_signed=True)
        except SignatureInvalid:
            state = decode_record(body, SwitchState)
            return _FoundSwitch(state) if state.off else _unusable("says on, but is not signed with this project's key")
        except (msgspec.DecodeError, FormatTooNew):
            return _unusable("cannot be read")
    return _unusable("is missing")


def _exists(folder: Path) -> bool:
    return any((folder / name).exists() for name in (FILE, OLD_FILE))


def _unusable(problem: str) -> _FoundSwitch:
    why = f"its switch file {problem}; `tidemill on` and `tidemill off` replace it"
    return _FoundSwitch(SwitchState(off=True, why=why), problem=f"its file {problem}")


def switch_state(serving_root: Path, model: str, public: str) -> SwitchState:
    """The state of the switch; a model that was never promoted is on. `public` is the ledger's public key in hex."""
    folder = model_folder(serving_root, model)
    if not (folder / LIVE).exists() and not _exists(folder):
        return SwitchState(off=False)
    return _read(folder, public).state


def heal_switch(serving_root: Path, model: str, ledger: Ledger) -> str:
    """Write the switch file of `model` again, as the ledger has it, where it is missing, damaged, unsigned or older.

    Returns a sentence about the correction; empty if the file is right or new. A file that says off stays off.
    """
    folder, last = model_folder(serving_root, model), _last_entry(ledger, model)
    is_new = last is None and not _exists(folder)
    with _lock(folder):
        found = _read(folder, ledger.keys.public)
        waiting = [entry for entry in spooled(serving_root) if entry.about == f"model:{model}"]
        said = _state_of(waiting[-1]) if waiting else last or SwitchState(off=False)
        is_outdated = said.off and not found.state.off and not waiting and said.since > found.state.since
        if found.is_signed and not is_outdated:
            return _recorded(ledger, model, found.state) if found.state.since > said.since else ""
        wanted = found.state if found.state.off and not found.problem else said
        _write(folder, sign_record(_fitted(wanted), ledger.keys, model))
    if is_new:
        return ""
    why = found.problem or ("its file was older" if is_outdated else "its file was not signed")
    return f"{model}: the kill switch was set to {'off' if wanted.off else 'on'}; {why}"


def _recorded(ledger: Ledger, model: str, state: SwitchState) -> str:
    """Append the entry of a signed switch that neither the ledger nor the spool has: the spool was lost."""
    last = _last_entry(ledger, model)  # read again: another process may have written the entry meanwhile
    if last is not None and last.since >= state.since:
        return ""
    details, account = {"thrown_at": state.since, "why": state.why}, Account(name=state.who)
    ledger.append("off" if state.off else "on", about=f"model:{model}", details=details, account=account)
    return f"{model}: the ledger had no entry of the last use of the kill switch, by {state.who}; it was added"


def switch_problems(serving_root: Path, ledger: Ledger) -> list[str]:
    """A sentence for each switch that is damaged, unsigned, or differs from the ledger's last entry about it."""
    problems = []
    waiting = {entry.about for entry in spooled(serving_root)}
    for model in promoted_models(serving_root):
        found = _read(model_folder(serving_root, model), ledger.keys.public)
        said = _last_entry(ledger, model) or SwitchState(off=False)
        if not found.is_signed:
            problems.append(f"{model}: the kill switch is off: {found.problem or 'its file is not signed'}")
        elif f"model:{model}" not in waiting and found.state.off != said.off:
            ours, theirs = ("off" if state.off else "on" for state in (found.state, said))
            problems.append(f"{model}: the kill switch is {ours}, but {theirs} in the ledger")
        elif f"model:{model}" not in waiting and found.state.since > said.since:
            problems.append(
                f"{model}: the ledger has no entry of the last use of the kill switch, by {found.state.who}"
            )
    return problems


def _last_entry(ledger: Ledger, model: str) -> SwitchState | None:
    """The state that the ledger's last entry about the switch records."""
    found = (ledger.last(act, f"model:{model}") for act in ("off", "on"))
    last = max((entry for entry in found if entry is not None), key=lambda entry: entry.seq, default=None)
    if last is None:
        return None
    since = int(last.details.get("thrown_at", last.at))
    return SwitchState(off=last.act == "off", since=since, who=str(last.account), why=str(last.details.get("why", "")))


def _state_of(waiting: SpooledEntry) -> SwitchState:
    return SwitchState(off=waiting.act == "off", since=waiting.at, who=waiting.who, why=waiting.why)


def switch(
    serving_root: Path,
    model: str,
    *,
    off: bool,
    account: Account,
    why: str,
    clock: Clock,
    keys: Keys | None,
    ledger: SwitchLedger | None,
) -> Line:
    """Switch `model` off or on for `account`, and return the status of its ledger entry.

    Raises `NotServed` for a model that was never promoted here, and `KeyMissing` without the keys that sign the file;
    switching off works without them. A missing, locked or damaged ledger does not delay the switch: pass `None` where
    it cannot be opened. Nor does a full disk, on which the entry may be lost, and also text that does not fit into the
    switch file: first `why`, then `who`.
    """
    folder = model_folder(serving_root, model)
    if not folder.is_dir():
        raise NotServed(f"no model {model!r} was promoted here", tip=nearest(model, promoted_models(serving_root)))
    if keys is None and not off:
        raise KeyMissing(
            f"{model} stays off: the file that switches it on is signed with the project's keys, which are missing",
            tip="restore their folder from its backup, or set `keys` to its location",
        )
    at, who = to_micros(clock.now()), str(account)
    state = _fitted(SwitchState(off=off, since=at, who=who, why=why))
    with _lock(folder):  # until the entry waits, so that it is not taken for a lost one
        _write(folder, sign_record(state, keys, model) if keys else state)
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
        overwrite_in_place(existing, _padded(state))


def _fitted(state: SwitchState) -> SwitchState:
    """The state without the text that does not fit into the fixed size of the file: first `why`, then `who`."""
    room = _SIZE_BYTES - 128  # for the signature
    shorter = (state, msgspec.structs.replace(state, why=""), msgspec.structs.replace(state, why="", who=""))
    return next(state for state in shorter if len(msgspec.json.encode(state)) <= room)


def _padded(state: SwitchState) -> bytes:
    return msgspec.json.encode(state).ljust(_SIZE_BYTES)


def flush_spool(serving_root: Path, ledger: SwitchLedger) -> int:
    """Write the waiting entries, oldest first; returns how many were written. Failed entries stay in the spool.

    An entry is written before it is removed from the spool: after a crash in between it is written twice, never lost.
    """
    written = 0
    with _lock(serving_root):
        waiting, damaged = _spooled(serving_root)
        if damaged:
            _write_spool(serving_root / SPOOL, waiting)
        for problem in damaged:
            _log.error("%s; it is removed, and the last use of each switch is known from its file", problem)
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
    return _spooled(serving_root)[0]


def spool_problems(serving_root: Path) -> list[str]:
    """A sentence for each entry that cannot be read; the last one of each model is in its switch file, too."""
    return _spooled(serving_root)[1]


def _spooled(serving_root: Path) -> tuple[list[SpooledEntry], list[str]]:
    path = serving_root / SPOOL
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return [], []
    found, problems = [], []
    for number, line in enumerate(lines, 1):
        try:
            refuse_changed(line)
            found.append(decode_json(line, SpooledEntry))
        except msgspec.DecodeError as error:
            problems.append(f"{path}, line {number}: a switch entry that waits for the ledger is damaged: {error}")
    return found, problems


def _spool(serving_root: Path, waiting: SpooledEntry) -> None:
    with _lock(serving_root):
        _write_spool(serving_root / SPOOL, [*spooled(serving_root), waiting])


def _write_spool(path: Path, waiting: list[SpooledEntry]) -> None:
    write_durably(path, b"".join(checked_json(line) + b"\n" for line in waiting))


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Lock `folder` for this process; the kernel releases the lock if the process dies. It needs no disk space."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
