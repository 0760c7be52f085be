"""Ports: the interfaces between tidemill and storage or compute technologies, each implemented by back-ends.

The URL of a setting selects the back-end. A setting without a scheme is a path relative to the project, which the
embedded back-end opens. With a scheme (`redis://cache:6379`), the scheme names an entry point in the port's group.
`tidemill.core.backend` describes how a back-end is opened from its URL; docs/backends.md has an example.

A port is stable once it has two real back-ends. Today Engine has Polars and Spark; all other ports are provisional.
Arrow types are imported only for the type checker, so importing this module loads nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

if TYPE_CHECKING:
    from tidemill.core.ports.blobs import Blobs as Blobs
    from tidemill.core.ports.engine import Engine as Engine
    from tidemill.core.ports.engine import EngineStage as EngineStage
    from tidemill.core.ports.engine import PersistedFrame as PersistedFrame
    from tidemill.core.ports.event_log import DamagedPlace as DamagedPlace
    from tidemill.core.ports.event_log import EventBatch as EventBatch
    from tidemill.core.ports.event_log import EventLog as EventLog
    from tidemill.core.ports.event_log import EventWriter as EventWriter
    from tidemill.core.ports.event_log import LoggedEvent as LoggedEvent
    from tidemill.core.ports.external_table import ExternalTable as ExternalTable
    from tidemill.core.ports.latest import Latest as Latest
    from tidemill.core.ports.latest import LatestWriter as LatestWriter
    from tidemill.core.ports.latest import MendableLatest as MendableLatest
    from tidemill.core.ports.leases import Lease as Lease
    from tidemill.core.ports.leases import Leases as Leases
    from tidemill.core.ports.ledger_store import LedgerStore as LedgerStore
    from tidemill.core.ports.ledger_store import StoredEntry as StoredEntry
    from tidemill.core.ports.objects import Objects as Objects
    from tidemill.core.ports.source import Source as Source
    from tidemill.core.ports.source import SplitSource as SplitSource
    from tidemill.core.ports.tables import FileStager as FileStager
    from tidemill.core.ports.tables import FileStamp as FileStamp
    from tidemill.core.ports.tables import StagedFile as StagedFile
    from tidemill.core.ports.tables import TableCommit as TableCommit
    from tidemill.core.ports.tables import Tables as Tables
    from tidemill.core.ports.vault_store import VaultStore as VaultStore
    from tidemill.core.ports.vector_search import VectorIndex as VectorIndex
    from tidemill.core.ports.vector_search import VectorSearch as VectorSearch
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "blobs": "Blobs",
            "engine": "Engine EngineStage PersistedFrame",
            "event_log": "DamagedPlace EventBatch EventLog EventWriter LoggedEvent",
            "external_table": "ExternalTable",
            "latest": "Latest LatestWriter MendableLatest",
            "leases": "Lease Leases",
            "ledger_store": "LedgerStore StoredEntry",
            "objects": "Objects",
            "source": "Source SplitSource",
            "tables": "FileStager FileStamp StagedFile TableCommit Tables",
            "vault_store": "VaultStore",
            "vector_search": "VectorIndex VectorSearch",
        },
    )
