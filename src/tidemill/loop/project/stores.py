"""The stores of a project, opened once from its settings and passed as arguments."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import msgspec

from tidemill.core.clock import Clock
from tidemill.core.errors import LedgerCorrupt, LedgerMissing, ProjectMissing
from tidemill.core.identity.account import Account, local_account
from tidemill.core.identity.keys import Keys
from tidemill.core.identity.surrogates import Surrogates, Vault
from tidemill.core.ledger import checkpoint
from tidemill.core.ledger.head_file import HeadFile
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ledger.ledger_entry import LedgerHead
from tidemill.core.ports import Blobs, Engine, LatestWriter, Leases, Objects, Tables, VectorSearch
from tidemill.core.record_format import VersionedRecord, decode_record
from tidemill.core.records.deployment import Deployment
from tidemill.core.settings import Settings
from tidemill.core.storage.durable_files import private_folder, write_durably
from tidemill.lake import Lake
from tidemill.loop.project.existing_vault import ExistingVault
from tidemill.loop.project.open_port import PortOpener
from tidemill.loop.project.source_states import SourceStates
from tidemill.release import Releases
from tidemill.release.live_deployment import LIVE
from tidemill.serving.live.state_files import read_state
from tidemill.training import Runs

#: The folder of a project for all files that tidemill writes, except the keys.
STATE = ".tidemill"
#: The file with the ledger's newest head, and the folder of its checkpoints.
HEAD, CHECKPOINTS = "ledger.head", "checkpoints"


class MillIdentity(VersionedRecord, frozen=True, kw_only=True):
    """The name of a mill, and the random id under which its keys are stored."""

    KIND: ClassVar[str] = "mill identity"
    REQUIRED: ClassVar[tuple[str, ...]] = ("id", "name")

    id: str = ""
    name: str = ""
    #: Key -> its result for a fixed text, only used to detect another key.
    keys: dict[str, str] = msgspec.field(default_factory=dict)


@dataclass
class Stores:
    """An opened project."""

    project: Path
    identity: MillIdentity
    settings: Settings
    clock: Clock
    keys: Keys
    surrogates: Surrogates
    vault: Vault
    ledger: Ledger
    leases: Leases
    engine: Engine
    tables: Tables
    objects: Objects
    lake: Lake
    latest: LatestWriter
    blobs: Blobs
    releases: Releases
    #: Sentences from the recovery when the project was opened.
    recovered: list[str] = field(default_factory=list)

    @property
    def state(self) -> Path:
        """The folder for all files that tidemill writes."""
        return self.project / STATE

    @property
    def serving_root(self) -> Path:
        """The folder of pointers, kill switches and the server's clock."""
        return self.state / "serving"

    @property
    def code_items_file(self) -> Path:
        """The action items of the code, as the last run found them."""
        return self.serving_root / "code_items.json"

    @cached_property
    def runs(self) -> Runs:
        """The runs: trainings, searches and evaluations."""
        return Runs(self.ledger, self.clock)

    @cached_property
    def source_states(self) -> SourceStates:
        """The stored states of the sources of each stream."""
        return SourceStates(self.objects)

    def search(self) -> VectorSearch:
        """The nearest-neighbour back-end of the settings."""
        return PortOpener(self.settings).search()


def identity(project: Path, name: str | None) -> MillIdentity:
    """The mill's identity; created on first opening if a name is given."""
    file = project / STATE / "mill.json"
    if file.is_file():
        return _identity(file)
    found = traces(project / STATE)
    if found:
        raise ProjectMissing(
            f"{file} is missing, but this project has run before: there is {found[0].relative_to(project)}",
            tip="restore it from a backup: it names the folder of the project's keys; nothing was written",
        )
    if name is None:
        raise ProjectMissing(f"nothing has run in {project} yet", tip="`tidemill run` ingests the first day")
    return _kept(file, MillIdentity(id=secrets.token_hex(8), name=name))


def _identity(file: Path) -> MillIdentity:
    try:
        return decode_record(file.read_bytes(), MillIdentity, file.name)
    except msgspec.DecodeError as error:
        raise ProjectMissing(
            f"{file} cannot be read: {error}",
            tip="restore it from a backup: it names the folder of the project's keys",
        ) from error


def traces(state: Path) -> list[Path]:
    """What shows that a project has run before, whatever else is missing in its folder `state`."""
    patterns = (HEAD, "checkpoints/*.json", "serving/*/live.json", "lake/*/_delta_log")
    return [path for pattern in patterns for path in sorted(state.glob(pattern))[:1]]


def _kept(file: Path, made: MillIdentity) -> MillIdentity:
    private_folder(file.parent)
    write_durably(file, msgspec.json.encode(made))
    return made


def project_keys(settings: Settings) -> Keys:
    """The keys of a project that has run; raises `ProjectMissing` or `KeyMissing`."""
    known = identity(settings.project, None)
    keys = Keys.open(settings.keys_folder(known.id), create=False)
    keys.agree(known.keys)
    return keys


def _keys(project: Path, settings: Settings, known: MillIdentity, *, fresh: bool) -> Keys:
    """The mill's keys: created with it, and refused if they belong to another mill."""
    keys = Keys.open(settings.keys_folder(known.id), create=fresh)
    if known.keys:
        keys.agree(known.keys)
    else:
        _kept(project / STATE / "mill.json", msgspec.structs.replace(known, keys=keys.marks()))
    return keys


def known_heads(state: Path, head_file: HeadFile) -> list[LedgerHead]:
    """Heads that the ledger must have: the head file's, the newest checkpoint's, and those of what is live.

    Files that are damaged are left to `audit`.
    """
    found: list[LedgerHead] = []
    with suppress(LedgerCorrupt):
        found += filter(None, [head_file.read()])
    found += checkpoint.read(state / CHECKPOINTS, newest=1)[0]
    for path in (state / "serving").glob(f"*/{LIVE}"):
        deployment = read_state(path, Deployment, head_file.public)
        if deployment is not None and deployment.entry_hash:
            found.append(LedgerHead(deployment.entry, deployment.entry_hash))
    return found


def open_stores(
    project: Path, settings: Settings, clock: Clock, *, name: str | None = None, account: Account | None = None
) -> Stores:
    """Open a project's stores. `name` is the mill's name, needed on first opening; `account` is by default the
    operating system's user.
    """
    known = identity(project, name)
    private_folder(project / STATE)
    state = project / STATE
    ports = PortOpener(settings)
    lines = ports.ledger(create=False) if ports.ledger_exists() else None
    fresh = lines is None or lines.last() is None
    if fresh and (name is None or traces(state)):
        raise LedgerMissing(
            f"the ledger {settings.ledger} is {'missing' if lines is None else 'empty'}, but mill "
            f"{known.name!r} has run before",
            tip="restore it from a backup; no new ledger was created",
        )
    keys = _keys(project, settings, known, fresh=fresh and not known.keys)
    if fresh:  # before the ledger, so that each project that has run has a vault
        ports.vault(create=True)
    lines = lines or ports.ledger(create=True)
    head_file = HeadFile(state / HEAD, keys.public)
    ledger = Ledger(
        lines,
        keys,
        clock,
        account or local_account(),
        head_file=head_file,
        known=lambda: known_heads(state, head_file),
    )
    if fresh:
        ledger.append("open", about=f"mill:{known.name}", details={"mill": known.name, "id": known.id})
    engine = ports.engine()
    tables, objects = ports.tables(), ports.objects()
    blobs = ports.blobs()
    return Stores(
        project=project,
        identity=known,
        settings=settings,
        clock=clock,
        keys=keys,
        surrogates=Surrogates(keys.subject),
        vault=Vault(ExistingVault.from_settings(settings), keys),
        ledger=ledger,
        leases=ports.leases(lines),
        engine=engine,
        tables=tables,
        objects=objects,
        lake=Lake(tables, engine, ledger, objects),
        latest=ports.latest(),
        blobs=blobs,
        releases=Releases(blobs, ledger, state / "serving", clock),
    )
