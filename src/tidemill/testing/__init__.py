"""Testing: contract suites for back-ends, and a check that a project's graph runs, for use in other test suites.

A contract suite is a class of tests with one method to override, which opens the back-end. Third-party back-ends run
the same suites as the built-in ones. This package may import every other one; none imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

if TYPE_CHECKING:
    from tidemill.testing.blobs import BlobsSuite as BlobsSuite
    from tidemill.testing.engine import EngineSuite as EngineSuite
    from tidemill.testing.event_log import EventLogSuite as EventLogSuite
    from tidemill.testing.latest import LatestSuite as LatestSuite
    from tidemill.testing.leases import LeasesSuite as LeasesSuite
    from tidemill.testing.ledger_store import LedgerStoreSuite as LedgerStoreSuite
    from tidemill.testing.objects import ObjectsSuite as ObjectsSuite
    from tidemill.testing.project import check_project as check_project
    from tidemill.testing.source import SourceSuite as SourceSuite
    from tidemill.testing.tables import TablesSuite as TablesSuite
    from tidemill.testing.vault_store import VaultStoreSuite as VaultStoreSuite
    from tidemill.testing.vector_search import SearchSuite as SearchSuite
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "blobs": "BlobsSuite",
            "engine": "EngineSuite",
            "event_log": "EventLogSuite",
            "latest": "LatestSuite",
            "leases": "LeasesSuite",
            "ledger_store": "LedgerStoreSuite",
            "objects": "ObjectsSuite",
            "project": "check_project",
            "vector_search": "SearchSuite",
            "source": "SourceSuite",
            "tables": "TablesSuite",
            "vault_store": "VaultStoreSuite",
        },
    )
