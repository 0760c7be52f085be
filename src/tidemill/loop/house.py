"""The stores of a project, opened once from its settings and handed to whoever needs them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata, util
from pathlib import Path
from typing import Any

import msgspec

from tidemill.core.clock import Clock
from tidemill.core.durable import write_durably
from tidemill.core.errors import BackendMissing, FormatTooNew, LedgerMissing, ProjectMissing, nearest
from tidemill.core.keys import Keys
from tidemill.core.lease import FileLeases
from tidemill.core.ledger import Ledger
from tidemill.core.ports import Blobs, Engine, LatestWriter, Objects, Search, Tables, VaultStore
from tidemill.core.settings import Settings
from tidemill.core.subjects import Surrogates, Vault
from tidemill.lake import Lake
from tidemill.release import Releases
from tidemill.training import Runs

FORMAT = 1
#: Everything that tidemill writes of a project lies in this folder of it; only the keys lie elsewhere.
STATE = ".tidemill"


class Identity(msgspec.Struct, kw_only=True):
    """What a mill is called, and the random id that its keys are kept under."""

    format: int
    id: str
    name: str
    #: What each key does to a fixed text: tells another key from the mill's own, and nothing else.
    keys: dict[str, str] = {}


@dataclass
class House:
    """An opened project."""

    project: Path
    identity: Identity
    settings: Settings
    clock: Clock
    keys: Keys
    surrogates: Surrogates
    vault: Vault
    ledger: Ledger
    leases: FileLeases
    engine: Engine
    tables: Tables
    objects: Objects
    lake: Lake
    latest: LatestWriter
    blobs: Blobs
    releases: Releases
    #: Sentences from recovery when the project was opened.
    recovered: list[str] = field(default_factory=list)

    @property
    def state(self) -> Path:
        """The folder that holds everything tidemill writes."""
        return self.project / STATE

    @property
    def serving_root(self) -> Path:
        """Pointers, switches and the server's clock."""
        return self.state / "serving"

    @cached_property
    def runs(self) -> Runs:
        """What was learned, searched and measured."""
        return Runs(self.ledger, self.clock)

    def search(self) -> Search:
        """The nearest-neighbour back-end of the settings."""
        return search_of(self.settings)


def backend(group: str, name: str) -> Any:
    """The class that fills a port, by entry point; `BackendMissing` names what there is."""
    found = {point.name: point for point in metadata.entry_points(group=f"tidemill.{group}")}
    if name not in found:
        raise BackendMissing(f"no back-end {name!r} for {group}", tip=nearest(name, found))
    try:
        return found[name].load()
    except ImportError as error:
        raise BackendMissing(
            f"the back-end {name!r} needs {error.name}, which is not installed", tip=f"pip install 'tidemill[{name}]'"
        ) from error


def search_of(settings: Settings) -> Search:
    """The nearest-neighbour back-end of the settings; the exact scan where FAISS is only the default and not there."""
    name = settings.search
    if name == "faiss" and settings.origin("search") == "default" and util.find_spec("faiss") is None:
        name = "exact"
    made: Search = backend("search", name)()
    return made


def engine_of(url: str) -> Engine:
    """`polars`, `spark` (local), `spark://…` or a Spark Connect URL."""
    scheme, found, _ = url.partition(":")
    engine: Engine = backend("engines", scheme)(url) if found else backend("engines", scheme)()
    return engine


def identity(project: Path, name: str | None) -> Identity:
    """The mill's identity; made on first opening when a name is given."""
    file = project / STATE / "mill.json"
    if file.is_file():
        known = msgspec.json.decode(file.read_bytes(), type=Identity)
        if known.format > FORMAT:
            raise FormatTooNew(f"{file.name} has format {known.format}, and this tidemill knows {FORMAT}")
        return known
    if name is None:
        raise ProjectMissing(f"nothing has run in {project} yet", tip="`tidemill run` brings in the first day")
    return _kept(file, Identity(format=FORMAT, id=secrets.token_hex(8), name=name))


def _kept(file: Path, made: Identity) -> Identity:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_durably(file, msgspec.json.encode(made))
    return made


def _keys(project: Path, settings: Settings, known: Identity, *, fresh: bool) -> Keys:
    """The mill's own keys: made with it, and refused where they are others than those."""
    keys = Keys.open(settings.keys_folder(known.id), create=fresh)
    if known.keys:
        keys.agree(known.keys)
    else:
        known.keys = keys.marks()
        _kept(project / STATE / "mill.json", known)
    return keys


def open_house(
    project: Path, settings: Settings, clock: Clock, *, name: str | None = None, actor: str = "local"
) -> House:
    """Open a project's stores. `name` is the mill's name, needed when it is opened for the first time."""
    known = identity(project, name)
    state = project / STATE
    fresh = not settings.path("ledger").exists()
    if fresh and known.keys:
        raise LedgerMissing(
            f"{settings.path('ledger')} is gone, and mill {known.name!r} has lived before",
            tip="restore it from its backup; nothing was begun in its place",
        )
    keys = _keys(project, settings, known, fresh=fresh)
    lines = backend("ledgers", "sqlite")(settings.path("ledger"))
    ledger = Ledger(lines, keys, clock, actor)
    if fresh:
        ledger.append("open", about=f"mill:{known.name}", details={"mill": known.name, "id": known.id})
    store: VaultStore = backend("vaults", "sqlite")(settings.path("vault"))
    engine = engine_of(settings.engine)
    lake_root = settings.path("lake")
    tables = backend("tables", "delta")(lake_root)
    blobs = backend("blobs", "folder")(settings.path("blobs"))
    objects = backend("objects", "folder")(lake_root)
    return House(
        project=project,
        identity=known,
        settings=settings,
        clock=clock,
        keys=keys,
        surrogates=Surrogates(keys.subject),
        vault=Vault(store, keys),
        ledger=ledger,
        leases=FileLeases(state, lines),
        engine=engine,
        tables=tables,
        objects=objects,
        lake=Lake(tables, engine, ledger, objects),
        latest=backend("latest", "lmdb")(settings.path("latest")),
        blobs=blobs,
        releases=Releases(blobs, ledger, state / "serving", clock),
    )
