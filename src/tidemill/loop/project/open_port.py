"""Opens ports by URL: the only place where a process of a project gets its stores.

A setting without a scheme is the embedded back-end of its port, with a path relative to the project. A scheme names the
entry point of a back-end in the group `tidemill.PORT`. `core.backend` describes how to write a back-end.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any, cast

from tidemill.core.backend import BackendContext, LedgerBackend, split_scheme
from tidemill.core.errors import BackendMissing, nearest
from tidemill.core.installed_packages import entry_points, only_one
from tidemill.core.ports import (
    Blobs,
    Engine,
    EventLog,
    LatestWriter,
    Leases,
    LedgerStore,
    Objects,
    Tables,
    VaultStore,
    VectorSearch,
)
from tidemill.core.settings import Settings

#: Port -> the back-end of a setting without a scheme. For a port with "", the setting itself is the back-end's name.
EMBEDDED = {
    "ledger": "sqlite",
    "vault": "sqlite",
    "tables": "delta",
    "objects": "folder",
    "blobs": "folder",
    "latest": "lmdb",
    "events": "segments",
    "leases": "file",
    "engine": "",
    "search": "",
    "external": "",
}
#: Scheme -> the extra of the package that installs its client, if the names differ.
_EXTRAS = {"postgresql": "postgres", "rediss": "redis", "valkey": "redis", "faiss": "learn", "sc": "spark"}


def find_backend(group: str, name: str) -> Any:
    """The class behind the entry point `name` of `tidemill.GROUP`; `BackendMissing` lists the installed ones."""
    found = entry_points(f"tidemill.{group}")
    if name not in found:
        raise BackendMissing(
            f"there is no back-end {name!r} for `{group}`: {_hint(name, found)}",
            tip=_install(name, group),
        )
    point = only_one(found[name], "back-end")
    try:
        return point.load()
    except (ModuleNotFoundError, AttributeError) as error:  # another ImportError: it is there and cannot be loaded
        missing = error.name if isinstance(error, ModuleNotFoundError) and error.name else point.value
        raise BackendMissing(
            f"the back-end {name!r} for `{group}` needs {missing}, which is not installed", tip=_install(name, group)
        ) from error


def open_port(port: str, url: str, project: Path, *, create: bool = True, lines: LedgerStore | None = None) -> Any:
    """The store of `port` at `url`, opened. Relative paths start at `project`.

    With `create=False` a store that does not exist is not created: the ledger raises `LedgerMissing`. `lines` is the
    ledger that the port `leases` takes its numbers from. Raises `BackendMissing` for an unknown scheme.
    """
    return _backend(port, url).from_url(url, BackendContext(project=project, create=create, lines=lines))


def _backend(port: str, url: str) -> Any:
    scheme = split_scheme(url)[0] or EMBEDDED[port] or url.partition("?")[0]
    backend = find_backend(port, scheme)
    if not hasattr(backend, "from_url"):
        raise BackendMissing(
            f"the back-end {scheme!r} for `{port}` has no `from_url(url, context)`",
            tip="docs/backends.md describes the contract",
        )
    return backend


def _hint(name: str, found: dict[str, Any]) -> str:
    """The nearest name, and the installed ones."""
    suggestion, installed = nearest(name, found), f"installed: {', '.join(sorted(found))}"
    if not found:
        return "none is installed"
    return f"{suggestion} {installed}" if suggestion.startswith("did") else installed


def _install(name: str, group: str) -> str:
    extra = _EXTRAS.get(name, name)
    extras = metadata.metadata("tidemill").get_all("Provides-Extra") or []
    if extra in extras:
        return f"pip install 'tidemill[{extra}]'"
    return f"install a package that has an entry point {name!r} in the group `tidemill.{group}`"


@dataclass(frozen=True)
class PortOpener:
    """The ports of one project, opened by the URLs of its settings."""

    settings: Settings

    def place(self, setting: str) -> Path | None:
        """The path of an embedded store by its setting, `lake` for example; `None` for a store on a server."""
        url = self._url(setting)
        embedded = split_scheme(url)[0] in ("", EMBEDDED["tables" if setting == "lake" else setting])
        return BackendContext(project=self.settings.project).path(url) if embedded else None

    def ledger(self, *, create: bool) -> LedgerStore:
        """The ledger's store; raises `LedgerMissing` if it does not exist and may not be created."""
        return cast("LedgerStore", self._open("ledger", self.settings.ledger, create=create))

    def ledger_exists(self) -> bool:
        """Whether the project's ledger exists now."""
        url = self.settings.ledger
        backend: LedgerBackend = _backend("ledger", url)
        return backend.exists(url, BackendContext(project=self.settings.project, create=False))

    def leases(self, lines: LedgerStore) -> Leases:
        """The leases, with their increasing numbers from the ledger's store."""
        return cast("Leases", open_port("leases", self.settings.leases, self.settings.project, lines=lines))

    def vault(self, *, create: bool) -> VaultStore:
        """The store of sealed identities; raises `LedgerMissing` if it does not exist and may not be created."""
        return cast("VaultStore", self._open("vault", self.settings.vault, create=create))

    def tables(self) -> Tables:
        """The lake's tables."""
        return cast("Tables", self._open("tables", self.settings.lake))

    def objects(self) -> Objects:
        """The objects stored next to the lake's tables."""
        return cast("Objects", self._open("objects", self.settings.lake))

    def blobs(self) -> Blobs:
        """The store of bundles."""
        return cast("Blobs", self._open("blobs", self._url("blobs")))

    def latest(self) -> LatestWriter:
        """The store of the newest row of each key."""
        return cast("LatestWriter", self._open("latest", self.settings.latest))

    def events(self) -> EventLog:
        """The log of posted events."""
        return cast("EventLog", self._open("events", self.settings.events))

    def engine(self) -> Engine:
        """The engine that runs table functions."""
        return cast("Engine", self._open("engine", self.settings.engine))

    def search(self) -> VectorSearch:
        """The nearest-neighbour search; the exact scan if FAISS is only the default and is not installed."""
        url = self.settings.search
        if url == "faiss" and self.settings.origin("search") == "default" and util.find_spec("faiss") is None:
            url = "exact"
        return cast("VectorSearch", self._open("search", url))

    def _url(self, setting: str) -> str:
        """The setting. Blobs that are not set lie in the lake if it is on a server that has a place for them."""
        url: str = getattr(self.settings, setting)
        if setting == "blobs" and self.settings.origin("blobs") == "default":
            scheme = split_scheme(self.settings.lake)[0]
            if scheme != EMBEDDED["tables"] and scheme in entry_points("tidemill.blobs"):
                return self.settings.lake
        return url

    def _open(self, port: str, url: str, *, create: bool = True) -> Any:
        return open_port(port, url, self.settings.project, create=create)
