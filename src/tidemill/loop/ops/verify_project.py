"""Verification of a project: reads everything that tidemill has stored for it, store by store.

Each store verifies itself, and is listed once in `STORES`. They are opened one by one, so that a store that cannot be
opened is a finding and does not stop the others. Files below the state folder that no store claims are reported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from tidemill.core.clock import Clock
from tidemill.core.errors import LedgerError, LedgerMissing, TidemillError
from tidemill.core.identity.account import local_account
from tidemill.core.identity.keys import Keys
from tidemill.core.identity.surrogates import Vault
from tidemill.core.ledger.head_file import HeadFile
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ports import Blobs, LedgerStore
from tidemill.core.record_format import Record
from tidemill.core.settings import Settings
from tidemill.core.storage.verification import StoreReport, VerifiableStore, Verification
from tidemill.core.storage.verify_segments import verify_segments
from tidemill.feedback import OUTCOMES, PREDICTIONS
from tidemill.governance import verify_ledger
from tidemill.lake import Lake
from tidemill.loop.ingest.arrivals import stream_position
from tidemill.loop.online.feature_metadata_files import METADATA_FILES
from tidemill.loop.project.existing_vault import ExistingVault
from tidemill.loop.project.open_port import PortOpener
from tidemill.loop.project.source_states import PREFIX, SourceStates
from tidemill.loop.project.stores import CHECKPOINTS, HEAD, STATE, MillIdentity, identity, known_heads, project_keys
from tidemill.loop.refresh.count_store import PLACE as COUNTS
from tidemill.loop.refresh.count_store import verify_counts
from tidemill.loop.state.code_items import CODE_ITEMS_FILE
from tidemill.release import Releases, verify_blobs, verify_releases
from tidemill.serving.events.streams import FILE as STREAMS
from tidemill.serving.live.kill_switch import switch_problems
from tidemill.serving.process.verify_state import verify_state

#: Folders in which a training or a refresh works, and files that are being written.
_TEMPORARY = ("learn-*", "fresh-*", "choose-*", "*.partial")


class ProjectVerification(Record, frozen=True):
    """The results of all stores."""

    stores: tuple[StoreReport, ...] = ()

    @property
    def problems(self) -> list[str]:
        """Every problem as `store: message`."""
        return [f"{one.store}: {problem.text}" for one in self.stores for problem in one.problems]


def verify_project(settings: Settings, clock: Clock) -> ProjectVerification:
    """Read every store of the project, to the end, whatever is found. Nothing is changed."""
    opened = _Stores(settings, clock)
    results = []
    for name, verify in STORES.items():
        found = Verification(name)
        with found.attempt(name):
            verify(opened, found)
        results.append(found)
    results.append(_others(opened.state, results))
    return ProjectVerification(stores=tuple(found.report() for found in results))


class _Stores:
    """The stores of a project, each opened when it is needed, and none created."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings, self.clock = settings, clock
        self.state = settings.project / STATE
        self.ports = PortOpener(settings)

    @cached_property
    def identity(self) -> MillIdentity:
        return identity(self.settings.project, None)

    @cached_property
    def keys(self) -> Keys:
        return project_keys(self.settings)

    @cached_property
    def lines(self) -> LedgerStore:
        return self.ports.ledger(create=False)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger for reading; its signatures can only be compared with the mill's own `keys`."""
        try:
            keys = self.keys
        except TidemillError:
            keys = Keys(self.settings.project, *(os.urandom(32) for _ in range(4)))
        return Ledger(self.lines, keys, self.clock, local_account())

    @cached_property
    def lake(self) -> Lake:
        return Lake(self.ports.tables(), self.ports.engine(), self.ledger, self.ports.objects())

    @cached_property
    def blobs(self) -> Blobs:
        return self.ports.blobs()


def _keys(opened: _Stores, found: Verification) -> None:
    found.base = opened.state
    found.content("mill.json")
    line = opened.ledger.last("open") if opened.ports.ledger_exists() else None
    if line is not None and (line.details["mill"], line.details["id"]) != (opened.identity.name, opened.identity.id):
        found.problem(f"mill.json names another mill than the first entry of the ledger, {line.details['mill']!r}")
    keys = opened.keys
    for file in sorted(keys.folder.iterdir()):
        found.read(str(file), file.stat().st_size)


def _ledger(opened: _Stores, found: Verification) -> None:
    found.base = opened.state
    _claim_database(opened.ports.place("ledger"), found)
    checkpoints = opened.state / CHECKPOINTS
    for path in sorted(checkpoints.glob("*")):
        found.read(f"{CHECKPOINTS}/{path.name}", path.stat().st_size)
    ledger = opened.ledger
    _claim_database(opened.ports.place("ledger"), found)  # opening it may have created its log
    try:
        public = opened.keys.public
    except TidemillError as error:
        found.skip("signatures", f"the keys cannot be used: {error.message}")
        for problem in opened.lines.damage():
            found.problem(problem)
        ledger.find()
        return
    head_file = HeadFile(opened.state / HEAD, public)
    heads = known_heads(opened.state, head_file)
    with found.attempt(HEAD):
        head = head_file.read()
        if head is None:
            found.problem(f"{head_file.path} is missing; the next entry writes it", derived=True)
        else:
            found.read(HEAD, head_file.path.stat().st_size)
    try:
        heads += opened.lake.heads()
    except TidemillError as error:
        found.skip("heads in the commits of the lake", f"they cannot be read: {error.message}")
    for problem in verify_ledger(ledger, checkpoints, heads):
        found.problem(problem)


def _lake(opened: _Stores, found: Verification) -> None:
    found.base = opened.ports.place("lake")
    if not opened.ports.ledger_exists():
        raise LedgerMissing(f"the ledger {opened.settings.ledger} is missing: nothing says what is published")
    lake = opened.lake
    lake.verify(found)
    states = SourceStates(opened.ports.objects())
    try:
        streams = lake.streams()
    except LedgerError as error:
        found.skip(PREFIX, f"the ledger cannot be read: {error.message}")
        return
    for stream in streams:
        with found.attempt(f"the source state of {stream!r}"):
            state = stream_position(opened.ledger, stream).state
            if state is not None:
                states.verify(stream, state, found)


def _vault(opened: _Stores, found: Verification) -> None:
    file = opened.ports.place("vault")
    found.base = file.parent if file else None
    _claim_database(file, found)
    Vault(ExistingVault.from_settings(opened.settings), opened.keys).verify(found)
    _claim_database(file, found)


def _blobs(opened: _Stores, found: Verification) -> None:
    found.base = opened.ports.place("blobs")
    verify_blobs(opened.blobs, found)
    verify_releases(opened.ledger, opened.blobs, found)


def _latest(opened: _Stores, found: Verification) -> None:
    found.base = opened.ports.place("latest")
    latest = opened.ports.latest()
    if not isinstance(latest, VerifiableStore):
        found.skip("online values", "this back-end cannot verify itself; a run makes them again from the tables")
        return
    latest.verify(found)


def _serving(opened: _Stores, found: Verification) -> None:
    found.base = opened.state / "serving"
    try:
        public = opened.keys.public
    except TidemillError as error:
        found.skip("signatures", f"the keys cannot be used: {error.message}")
        public = ""
    verify_state(found, public, {**METADATA_FILES, **CODE_ITEMS_FILE})
    with found.attempt(STREAMS):
        if opened.ledger.last("publish") and not (found.base / STREAMS).is_file():
            found.problem(f"{found.base / STREAMS} is missing", derived=True)
    with found.attempt("pointers"):
        releases = Releases(opened.blobs, opened.ledger, found.base, opened.clock)
        for problem in releases.pointer_problems():
            found.problem(problem, derived=True)
    with found.attempt("switches"):
        for problem in switch_problems(found.base, opened.ledger):
            found.problem(problem, derived=True)


def _events(opened: _Stores, found: Verification) -> None:
    found.base = opened.ports.place("events")
    if found.base is None:
        found.skip("posted events", "they are on a server, which keeps its own checksums")
        return
    for folder in _folders(found.base):
        verify_segments(found.base, folder.name, found)


def _log(opened: _Stores, found: Verification) -> None:
    found.base = opened.state / "log"
    for kind in (PREDICTIONS, OUTCOMES):
        verify_segments(found.base, kind, found)


def _counts(opened: _Stores, found: Verification) -> None:
    found.base = opened.state / COUNTS
    verify_counts(found.base, found)


#: Name -> how it is verified, in the order of the report.
STORES: dict[str, Callable[[_Stores, Verification], None]] = {
    "keys": _keys,
    "ledger": _ledger,
    "lake": _lake,
    "vault": _vault,
    "blobs": _blobs,
    "online values": _latest,
    "serving": _serving,
    "posted events": _events,
    "prediction log": _log,
    "counts": _counts,
}


def _others(state: Path, results: list[Verification]) -> Verification:
    """The files of the state folder that belong to no store: locks, files of work in progress, and unknown ones."""
    found = Verification("other files", state)
    claimed = {
        os.path.normpath(base / place)
        for one in results
        for place in [*one.places, *one.unread]
        if (base := one.base) is not None
    }
    for path in _files(state, claimed):
        place = str(path.relative_to(state))
        parts = [Path(part) for part in path.relative_to(state).parts]
        if path.suffix == ".lock":
            found.skip(place, "a lock file has no content")
        elif parts[0].name == "cache":
            found.skip(place, "a copy, which is compared with its hash when it is used")
        elif any(part.match(pattern) for part in parts for pattern in _TEMPORARY):
            found.skip(place, "a file of work in progress, or left by a process that was killed")
        else:
            found.skip(place, "no store claims it")
    return found


def _files(folder: Path, claimed: set[str]) -> Iterator[Path]:
    """The files below a folder that are not claimed, themselves or by their folder."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if os.path.normpath(path) in claimed:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path, claimed)
        else:
            yield path


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _claim_database(file: Path | None, found: Verification) -> None:
    """Record a SQLite file with its write-ahead log; its store reads them."""
    assert found.base is not None or file is None
    for path in (file, Path(f"{file}-wal"), Path(f"{file}-shm")) if file else ():
        if path.is_file():
            found.read(os.path.relpath(path, found.base), path.stat().st_size)
